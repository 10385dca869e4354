"""Tickets to futures: who waits, on which event loop, and how it is woken.

The core says which tickets go on; here each is a future of the loop that awaits it. On that loop's own thread the
future is set at once, from any other by ``call_soon_threadsafe``. A ticket may be granted before its owner has come to
wait, or while its owner gives up: both are met without a lock, as ``dict.setdefault`` is one step of the interpreter.
"""

from __future__ import annotations

import os
import threading
from asyncio import AbstractEventLoop, Future, _get_running_loop, get_running_loop
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar
from weakref import WeakSet

__all__ = ["Owner", "Wakes", "disown_in_children"]


class Owner(Protocol):
    """Who awaits a ticket. ``release`` gives the ticket back, waiting or granted, and wakes whom that lets go on."""

    def release(self) -> None: ...


_Owner = TypeVar("_Owner", bound=Owner)


_Future = Future[BaseException | None]


class Wakes:
    """The waiters of one resource. Any thread may wake; each waiter awaits on its own loop."""

    def __init__(self) -> None:
        #: A waiter's future and owner; or what became of the ticket before its owner came: None, or what refused it.
        self._met: dict[int, tuple[_Future, Owner] | BaseException | None] = {}
        self._orphans: deque[Owner] = deque()
        self._adopting = threading.Lock()
        self._is_forked = False
        disown_in_children(self)

    def __len__(self) -> int:
        """How many wait."""
        return len(self._met)

    async def wait(self, ticket: int, owner: _Owner) -> _Owner:
        """Wait until ``ticket`` is granted. Raises what refused it. On any way out but a grant the owner is released.

        A grant that comes together with a cancellation is passed on.
        """
        try:
            refused = await self.enrol(ticket, get_running_loop(), owner)
        except BaseException:
            owner.release()
            self.forget(ticket)
            raise
        del self._met[ticket]
        if refused is None:
            return owner
        owner.release()
        raise refused

    def enrol(self, ticket: int, loop: AbstractEventLoop, owner: Owner) -> _Future:
        """A future of ``loop`` that becomes None when ``ticket`` is granted, or the error that refused it.

        ``owner`` is released where the loop is closed by then; ``forget`` ends it.
        """
        future = loop.create_future()
        waiter = (future, owner)
        met = self._met.setdefault(ticket, waiter)
        if met is not waiter:
            assert not isinstance(met, tuple)
            future.set_result(met)
        return future

    def forget(self, ticket: int) -> None:
        """Nobody waits for ``ticket`` any more. To be called after the core was told so."""
        self._met.pop(ticket, None)

    def disown(self) -> None:
        """The process has forked: whoever waits, waits in the parent, and its loops are not to be touched."""
        self._is_forked = True

    def wake(self, tickets: Iterable[int], refused: BaseException | None = None) -> list[int] | None:
        """These were granted; or ``refused``, and never will be.

        Returns those whose owner is not here: it comes yet, or has given up at this moment. Which of the two, the core
        knows, and who has been granted tickets that are gone calls ``forget``.
        """
        if self._is_forked:
            return None
        absent = None
        here = _get_running_loop()
        for ticket in tickets:
            waiter = self._met.setdefault(ticket, refused)
            if not isinstance(waiter, tuple):
                absent = [*(absent or ()), ticket]
                continue
            future, owner = waiter
            if future.get_loop() is not here:
                self._wake_elsewhere(future, owner, refused)
            elif not future.done():
                future.set_result(refused)
        return absent

    def _wake_elsewhere(self, future: _Future, owner: Owner, refused: BaseException | None) -> None:
        try:
            future.get_loop().call_soon_threadsafe(_settle, future, refused)
        except RuntimeError:  # its loop is closed, so nobody will ever take up what it was granted
            self._orphans.append(owner)
            self._release_orphans()

    def _release_orphans(self) -> None:
        """Releasing one may grant another: a loop, not a recursion, and never two threads at it."""
        while self._orphans and self._adopting.acquire(blocking=False):
            try:
                while self._orphans:
                    self._orphans.popleft().release()
            finally:
                self._adopting.release()


def _settle(future: _Future, outcome: BaseException | None) -> None:
    if not future.done():  # its owner may have given up meanwhile; then it releases
        future.set_result(outcome)


class _Disownable(Protocol):
    def disown(self) -> None: ...


_mine: WeakSet[_Disownable] = WeakSet()


def disown_in_children(resource: _Disownable) -> None:
    """In a child that forks from this process ``resource.disown`` is called: its waiters live in the parent."""
    _mine.add(resource)


def _disown() -> None:
    for resource in list(_mine):
        resource.disown()


_register: Callable[..., None] | None = getattr(os, "register_at_fork", None)  # Windows has no fork
if _register is not None:
    _register(after_in_child=_disown)
