"""Simulated time: what happens next, and when."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Agenda:
    """A clock that jumps from one event to the next; events of one instant happen in the order they were entered."""

    def __init__(self) -> None:
        #: Seconds since the beginning, in whole microseconds: sums of the same terms are equal in any order.
        self.now_s = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._entered = 0

    def after(self, delay_s: float, act: Callable[[], None]) -> None:
        """Do ``act`` in ``delay_s`` seconds; 0: when all that was entered for this instant is done."""
        self._entered += 1
        heapq.heappush(self._events, (round(self.now_s + delay_s, 6), self._entered, act))

    def run(self) -> None:
        """Until nothing is left to happen."""
        while self._events:
            self.now_s, _, act = heapq.heappop(self._events)
            act()
