"""What the mock server was asked, and waiting for it: tests wait for facts, never for time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(eq=False, slots=True)
class ModelRequest:
    """One request to one model, kept up to date while it is served.

    ``model`` is the key in ``models`` where there is one, else the name as asked; ``asked`` is always the
    latter. ``started``, ``struck`` (when its fault did) and ``ended`` are ``time.monotonic()`` seconds. A
    request ends in one of three ways: ``finished`` (what the fault, if any, allowed went out, error answers
    too), ``cancelled`` (the client left), or neither (the server broke it off, on purpose where ``reset``).
    ``held``: it waits at a gate or stalls. ``repr`` shows nothing of what was asked.
    """

    model: str
    asked: str
    protocol: str
    path: str
    body: dict[str, Any] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    started: float
    status: int | None = None
    pieces_sent: int = 0
    held: bool = False
    reset: bool = False
    cancelled: bool = False
    finished: bool = False
    struck: float | None = None
    ended: float | None = None

    @property
    def running(self) -> bool:
        return self.ended is None


class Changes:
    """Wakes whoever waits for a condition, each time something changed. Belongs to one event loop."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()

    def note(self) -> None:
        """Something changed: every waiter looks again."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, predicate: Callable[[], bool], timeout_s: float) -> None:
        """Return once ``predicate`` holds. Raises ``TimeoutError`` after ``timeout_s`` seconds."""
        async with asyncio.timeout(timeout_s):
            while not predicate():
                waiter = asyncio.get_running_loop().create_future()
                self._waiters.add(waiter)
                try:
                    await waiter
                finally:
                    self._waiters.discard(waiter)


class Gate:
    """A barrier that holds requests at one place of their answer until it is released.

    ``model`` None holds every model's requests. ``after`` counts the pieces sent before it: at 0 not even
    the headers have gone. ``waiting`` is how many requests it holds now.
    """

    def __init__(self, changes: Changes, model: str | None = None, after: int = 0):
        self.model = model
        self.after = after
        self.waiting = 0
        self._changes = changes
        self._open = asyncio.Event()

    @property
    def is_open(self) -> bool:
        return self._open.is_set()

    def release(self) -> None:
        """Let through those that wait, and all that come."""
        self._open.set()

    async def pass_through(self, record: ModelRequest) -> None:
        """Wait until released; the request counts as ``held`` meanwhile."""
        if self.is_open:
            return
        self.waiting += 1
        record.held = True
        self._changes.note()
        try:
            await self._open.wait()
        finally:
            self.waiting -= 1
            record.held = False
            self._changes.note()
