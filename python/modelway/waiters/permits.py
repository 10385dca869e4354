"""Requests that wait for the router's admission, and the permits of those that were let in."""

from __future__ import annotations

import asyncio
import threading
import time
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from modelway.errors import ModelwayError
from modelway.types import Admitted, Effects, RequestOutcome
from modelway.waiters.wakes import Wakes, disown_in_children

if TYPE_CHECKING:
    from modelway._core import CoreRouter


class Waiters:
    """Whoever waits for one router's admission, on any number of event loops and threads.

    One router has one ``Waiters``: who calls ``router.admit``, ``finish``, ``cancel`` or ``tick`` beside it must hand
    their effects to :meth:`apply`. Listeners are called with effects that hold alerts, or models to be loaded or
    unloaded, on whatever thread caused them; they must not raise.

    >>> waiters = Waiters(router)                                     # doctest: +SKIP
    >>> with waiters.admit("phi3:mini", "ann", tokens=800) as permit:  # doctest: +SKIP
    ...     while not await permit.granted(within_s=1.0):
    ...         print("position", permit.place())
    ...     permit.finish(RequestOutcome(True), tokens=912)
    """

    def __init__(self, router: CoreRouter) -> None:
        self.router = router
        self._listeners: tuple[Callable[[Effects], None], ...] = ()
        self._wakes = Wakes()
        self._alarms: dict[asyncio.AbstractEventLoop, _Alarm] = {}
        self._lock = threading.RLock()  # a permit may be dropped, and so cancelled, at any line
        self._is_forked = False
        disown_in_children(self)

    def admit(
        self,
        model: str,
        user: str | None = None,
        *,
        tokens: int = 0,
        deadline_s: float | None = None,
        is_retry: bool = False,
    ) -> Permit:
        """Let a request in, or into the queue; waits for nothing, and is called on the event loop that will await it.

        Raises ``RateLimited``, ``QueueFull`` or ``NoModelAvailable``; then nothing was taken.
        """
        if self._is_forked:
            raise ModelwayError(
                "this router's waiters were made before the process forked, and live in the parent; make a new router "
                "in the child"
            )
        loop = asyncio.get_running_loop()
        try:
            answer = self.router.admit(model, user, tokens=tokens, deadline_s=deadline_s, is_retry=is_retry)
        except ModelwayError:
            self._arm()  # what time has caused until now is told by the next tick
            raise
        if isinstance(answer, Admitted):
            permit = Permit(self, model, answer.ticket)
        else:
            claim = _Claim(self, answer.ticket)
            permit = Permit(self, model, answer.ticket, loop, self._wakes.enrol(answer.ticket, loop, claim))
            with self._lock:
                self._alarms.setdefault(loop, _Alarm(self, loop)).waiting += 1
        self.apply(answer.effects)
        return permit

    def apply(self, effects: Effects) -> None:
        """Wake those whom a call to the router let go on, and tell those whom it refused."""
        if self._is_forked:
            return
        if effects:
            for ticket in self._wakes.wake(effects.granted) or ():
                if not self.router.holds(ticket):
                    self._wakes.forget(ticket)
            for ticket, error in effects.refused:
                self._wakes.wake((ticket,), error)
            if effects.alerts or effects.load or effects.evicted:
                for listener in self._listeners:
                    listener(effects)
        self._arm()

    def listen(self, listener: Callable[[Effects], None]) -> None:
        with self._lock:
            self._listeners = (*self._listeners, listener)

    def unlisten(self, listener: Callable[[Effects], None]) -> None:
        """Nothing happens where it does not listen."""
        with self._lock:
            self._listeners = tuple(other for other in self._listeners if other != listener)

    def tick(self) -> None:
        """Let those go on who waited for time to pass. Called by itself in time; after a change of limits at once."""
        self.apply(self.router.tick())

    def disown(self) -> None:
        """The process has forked: whoever waits, waits in the parent."""
        self._is_forked = True

    def cancel(self, ticket: int) -> None:
        self.apply(self.router.cancel(ticket))

    def left(self, ticket: int, loop: asyncio.AbstractEventLoop) -> None:
        """A ticket waits no more."""
        self._wakes.forget(ticket)
        with self._lock:
            alarm = self._alarms.get(loop)
            if alarm is not None:
                alarm.waiting -= 1
                if not alarm.waiting:
                    del self._alarms[loop]
                    alarm.stop()

    def _arm(self) -> None:
        """See to it that each loop on which somebody waits ticks when there is something to do."""
        if not self._alarms:
            return
        wake_s = self.router.next_wake_s()
        if wake_s is None:
            return
        due = time.monotonic() + wake_s
        with self._lock:
            for loop, alarm in list(self._alarms.items()):
                try:
                    alarm.set(due)
                except RuntimeError:  # closed: whoever waited on it is cancelled when met
                    del self._alarms[loop]


class _Alarm:
    """The timer of one event loop. ``due`` is in monotonic seconds, as the clocks of loops differ."""

    def __init__(self, waiters: Waiters, loop: asyncio.AbstractEventLoop) -> None:
        self.waiting = 0
        self._waiters = waiters
        self._loop = loop
        self._due: float | None = None
        self._handle: asyncio.TimerHandle | None = None

    def set(self, due: float) -> None:
        """Ring at ``due`` at the latest. Raises ``RuntimeError`` where the loop is closed."""
        if self._due is not None and self._due <= due:
            return
        if self._loop is asyncio._get_running_loop():
            self._due = due
            self._start()
        else:
            self._loop.call_soon_threadsafe(self._start)
            self._due = due

    def _start(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        if self._due is not None:
            self._handle = self._loop.call_later(max(0.0, self._due - time.monotonic()), self._ring)

    def _ring(self) -> None:
        self._due = self._handle = None
        self._waiters.tick()

    def stop(self) -> None:
        self._due = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class _Claim:
    """What wakes know of a ticket: not the permit itself, so that one that is dropped is noticed."""

    __slots__ = ("_ticket", "_waiters")

    def __init__(self, waiters: Waiters, ticket: int) -> None:
        self._waiters = waiters
        self._ticket = ticket

    def release(self) -> None:
        self._waiters.cancel(self._ticket)


class Permit:
    """One request's right to be served, from its place in the queue to its end.

    ``with`` gives it back, as if it had never been, unless ``finish`` did before with how it ended. One that is dropped
    is given back with a ``ResourceWarning``.
    """

    __slots__ = ("_future", "_is_over", "_loop", "_waiters", "model", "ticket")

    def __init__(
        self,
        waiters: Waiters,
        model: str,
        ticket: int,
        loop: asyncio.AbstractEventLoop | None = None,
        future: asyncio.Future[BaseException | None] | None = None,
    ) -> None:
        self.model = model
        self.ticket = ticket
        self._waiters = waiters
        self._loop = loop
        self._future = future
        self._is_over = False

    @property
    def is_waiting(self) -> bool:
        """Whether it has yet to be granted, or to take up what it was granted."""
        return self._future is not None

    def place(self) -> tuple[int, float | None] | None:
        """Position (1: the next) and expected seconds; None: it does not wait."""
        return self._waiters.router.place(self.ticket)

    async def granted(self, within_s: float | None = None, *, or_until: asyncio.Future[None] | None = None) -> bool:
        """Wait until the model may be asked, ``within_s`` at most and until ``or_until`` is done; whether it may.

        Raises what refused it: ``RateLimited`` where limits became too small for it, ``NoModelAvailable`` where the
        circuit opened while it waited.
        """
        if self._future is None:
            return True
        until: set[asyncio.Future[Any]] = {self._future} if or_until is None else {self._future, or_until}
        await asyncio.wait(until, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        if not self._future.done():
            return False
        refused = self._future.result()
        self._leave()
        if refused is not None:
            self._is_over = True
            raise refused
        self._waiters.router.begin_admitted(self.ticket)
        return True

    def finish(self, outcome: RequestOutcome, tokens: int | None = None) -> None:
        """Give it back with how it ended, and with the tokens really read and written (None: as was thought)."""
        if not self._is_over:
            self._is_over = True
            self._waiters.apply(self._waiters.router.finish(self.ticket, outcome, tokens))
            self._leave()

    def cancel(self) -> None:
        """Give it back as if it had never been."""
        if not self._is_over:
            self._is_over = True
            self._waiters.cancel(self.ticket)
            self._leave()

    def _leave(self) -> None:
        if self._future is not None and self._loop is not None:
            self._future = None
            self._waiters.left(self.ticket, self._loop)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    def __del__(self) -> None:
        if not self._is_over:
            warnings.warn(f"{self!r} was dropped; finish it, or use `with`", ResourceWarning, stacklevel=2, source=self)
            self.cancel()

    def __repr__(self) -> str:
        return f"Permit({self.ticket}, model={self.model!r}, is_waiting={self.is_waiting})"
