"""A semaphore whose permits have weights."""

from __future__ import annotations

from modelway._core import CoreSemaphore
from modelway.waiters.wakes import Wakes, disown_in_children


class WeightedSemaphore(CoreSemaphore):
    """So many units, shared by what takes several of them at once: bytes of memory, tokens, workers.

    A request gets its whole weight or waits. Who waits is served in the order of arrival, but that a lighter one may
    pass those that don't fit yet: each at most 16 times. Usable from any number of event loops and threads at once.

    >>> memory = WeightedSemaphore(capacity=24_000_000_000)
    >>> async def load():
    ...     async with memory.acquire(8_000_000_000):
    ...         ...

    ``acquire`` takes or queues at once and is awaited by ``async with``, which gives back when it is left.
    ``try_acquire`` returns a permit to be released, or None. A permit that is dropped is released with a
    ``ResourceWarning``. ``resize`` grows or shrinks under load: below what is in use nothing new is let in, and who
    waits for more than the new capacity is refused.
    """

    def __new__(cls, capacity: int) -> WeightedSemaphore:
        semaphore = super().__new__(cls, capacity, Wakes())
        disown_in_children(semaphore)
        return semaphore
