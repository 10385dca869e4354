"""Slots that users take in fair turns."""

from __future__ import annotations

from modelway._core import CoreFairQueue
from modelway.waiters.wakes import Wakes, disown_in_children


class FairQueue(CoreFairQueue):
    """So many slots, and before them a queue in which every user gets the same, however many requests each has sent.

    What a user gets is counted in costs (tokens, for instance): an estimate when it comes, the real one by
    ``place.correct``. Two users that wait differ by at most twice the largest cost. Usable from any number of event
    loops and threads at once.

    >>> queue = FairQueue(slots=4)
    >>> async def serve(user: str, prompt: str):
    ...     async with queue.enter(user, cost=len(prompt) // 4) as place:
    ...         ...
    ...         place.correct(1_234)

    At most ``max_waiting`` wait, each further ``enter`` raises ``QueueFull``; of users that don't wait at most as many
    are remembered. ``place.position`` and ``place.eta_s`` can be read at any time.
    """

    def __new__(cls, slots: int, *, max_waiting: int = 512) -> FairQueue:
        queue = super().__new__(cls, slots, max_waiting, Wakes())
        disown_in_children(queue)
        return queue
