"""Whoever follows the alerts, each with a bounded queue: one that does not read costs nobody else anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable

from modelway.events import AvailabilityChanged

#: How many alerts wait for one watcher; then the oldest is left out.
MOST_WAITING = 256

_Queue = asyncio.Queue[AvailabilityChanged | None]


class Watchers:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._queues: set[_Queue] = set()
        self._is_closed = False

    async def watch(
        self, in_force: Callable[[], Iterable[AvailabilityChanged]]
    ) -> AsyncGenerator[AvailabilityChanged, None]:
        """The alerts ``in_force``, then each one published, until ``close``."""
        queue: _Queue = asyncio.Queue(MOST_WAITING)
        self._queues.add(queue)
        try:
            for alert in list(in_force()):
                yield alert
            while not (self._is_closed and queue.empty()):
                published = await queue.get()
                if published is None:
                    return
                yield published
        finally:
            self._queues.discard(queue)

    def publish(self, alert: AvailabilityChanged) -> None:
        for queue in self._queues:
            _put(queue, alert)

    def close(self) -> None:
        """Every watcher gets what waits for it, and ends."""
        self._is_closed = True
        for queue in self._queues:
            _put(queue, None)


def _put(queue: _Queue, alert: AvailabilityChanged | None) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(alert)
