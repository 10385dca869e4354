"""So many requests in so much time."""

from __future__ import annotations

import asyncio
from types import TracebackType

from modelway._core import CoreRateLimiter


class RateLimiter(CoreRateLimiter):
    """At most ``requests`` in ``per_s`` seconds, up to ``burst`` of them at once (default: all).

    The generic cell rate algorithm: tokens come back one by one, not all at the end of a window. Usable from any number
    of event loops and threads at once, with or without asyncio.

    >>> limiter = RateLimiter(requests=60, per_s=60.0, burst=10)
    >>> limiter.try_acquire()  # 0.0: it passed; else the seconds until it may
    0.0
    >>> async def ask():
    ...     async with limiter.acquire():
    ...         ...

    ``acquire`` takes its turn when it is entered and sleeps until then: turns are given out in the order of asking. Who
    gives up before its turn gives it back. Raises ``RateLimited`` where ``cost`` is more than the burst.
    """

    def __new__(cls, requests: int, per_s: float = 1.0, burst: int | None = None) -> RateLimiter:
        return super().__new__(cls, requests, per_s, burst)

    def acquire(self, cost: int = 1) -> _Turn:
        """For ``async with``: returns from its beginning when ``cost`` may pass."""
        return _Turn(self, cost)


class _Turn:
    __slots__ = ("_cost", "_limiter")

    def __init__(self, limiter: RateLimiter, cost: int) -> None:
        self._limiter = limiter
        self._cost = cost

    async def __aenter__(self) -> None:
        delay_s = self._limiter.reserve(self._cost)
        if delay_s == 0.0:
            return
        try:
            await asyncio.sleep(delay_s)
        except BaseException:
            self._limiter.give_back(self._cost)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What has passed has passed."""
