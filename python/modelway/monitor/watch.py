"""The monitor: a task that asks the backends on this device how they do, and tells what lasts.

It hears of troubles from the core's alerts and from its own checks. A check never closes a circuit: it brings the
circuit's probe forward, so that the next request tries what has come back. A server elsewhere is never asked.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from modelway.errors import UnknownBackend
from modelway.monitor.alerts import AlertBook, Trouble
from modelway.monitor.checks import LIST_S, Seen, listed, presence, probed
from modelway.monitor.command import AlertCommand
from modelway.monitor.completion import Completion
from modelway.monitor.watchers import Watchers

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from modelway.backends.base import Backend
    from modelway.config import Config
    from modelway.config.settings import ResolvedBackend
    from modelway.events import AvailabilityChanged
    from modelway.router import ModelRouter
    from modelway.types import Alert, Effects
    from modelway.waiters import Waiters

_log = logging.getLogger("modelway.monitor")

#: How long whoever enters a conductor waits for the first answers: a server on this device answers at once or not soon.
FIRST_LOOK_S = 0.5
#: What the monitor's tasks are called.
TASK_NAME = "modelway monitor"
#: A list of models younger than this says what another one would.
_FRESH_S = 1.0


class Backends(Protocol):
    """The backends in force, kept open until the block is left."""

    def backend(self, name: str) -> Backend: ...


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """How one backend does. ``reachable`` None: it was never asked; ``since_s``: for how long it has been so."""

    name: str
    location: str
    state: str
    reachable: bool | None
    since_s: float | None


@dataclass(slots=True)
class _Watched:
    """What is known of one backend; times are those of the monitor's clock."""

    reachable: bool | None = None
    since: float = 0.0
    due: float = -math.inf
    list_due: float = -math.inf
    listed_at: float = -math.inf
    is_being_asked: bool = False


class Monitor:
    """Watches the backends of ``router``'s configuration; belongs to one event loop.

    ``backends`` gives those in force. ``config``: the written configuration, which is completed with what the servers
    say until somebody else replaces it; None: the router's is left alone. ``look`` is called with the name of each
    backend that has told its models. ``now`` is a clock in seconds.
    """

    def __init__(
        self,
        router: ModelRouter,
        waiters: Waiters,
        backends: Callable[[], Awaitable[AbstractAsyncContextManager[Backends]]],
        config: Config | None,
        *,
        look: Callable[[str], Awaitable[None]] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._router = router
        self._waiters = waiters
        self._backends = backends
        self._look = look
        self._completion = Completion(router, config)
        self._now = now
        self._watched: dict[str, _Watched] = {}
        self._book = AlertBook()
        self._watchers = Watchers()
        self._command: AlertCommand | None = None
        self._checks: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._crashes: set[tuple[str, str]] = set()

    async def start(self) -> None:
        """Begin to watch. Where it completes the configuration, it waits ``FIRST_LOOK_S`` at most for what servers say,
        and for the heads of model files to be read.

        What is amiss by then is told in the log, and no command is run for it: whoever starts a program reads that.
        """
        if self._task is not None:
            return
        self._loop = asyncio.get_running_loop()
        self._waiters.listen(self._hear)
        first = self.begin_due()
        self._task = asyncio.create_task(self._run(), name=TASK_NAME)
        if first and self._completion.is_ours:
            await asyncio.wait(first.values(), timeout=FIRST_LOOK_S)
            managed = [backend.name for backend in self._router.settings.backends if backend.url is None]
            if reading := [first[name] for name in managed if name in first]:
                await asyncio.wait(reading, timeout=LIST_S)
            self._completion.put_in_force()
        self._take_stock()
        self._command = AlertCommand()

    async def aclose(self) -> None:
        """Stop watching; no task and no process is left. Idempotent."""
        if self._task is not None:
            self._waiters.unlisten(self._hear)
            tasks = {self._task, *self._checks}
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if self._command is not None:
            await self._command.aclose()
        self._watchers.close()

    def watch(self) -> AsyncGenerator[AvailabilityChanged, None]:
        """The alerts in force, then each as it comes, until the monitor is closed."""
        return self._watchers.watch(self._book.in_force)

    @property
    def config(self) -> Config | None:
        """The configuration as the servers' answers complete it; None where the router's is left alone."""
        return self._completion.config

    def status(self) -> list[BackendStatus]:
        """Every backend of the configuration, in its order."""
        return [self._status(backend) for backend in self._router.settings.backends]

    def is_reachable(self, backend: str) -> bool | None:
        """Whether it answered when it was asked last; None: it was never asked, or there is nothing to ask."""
        watched = self._watched.get(backend)
        return None if watched is None else watched.reachable

    def begin_due(self) -> dict[str, asyncio.Task[None]]:
        """Begin to ask every backend whose time has come, and tell what is to be told; the checks begun, by backend."""
        now = self._now()
        backends = self._router.settings.backends
        own = {backend.name: backend for backend in backends if backend.is_own}
        self._watched = {name: self._watched.get(name) or _Watched() for name in own}
        begun: dict[str, asyncio.Task[None]] = {}
        for name, watched in self._watched.items():
            if watched.due <= now and not watched.is_being_asked:
                watched.due = math.inf
                watched.is_being_asked = True
                begun[name] = asyncio.create_task(self._check(own[name], watched), name=TASK_NAME)
        for check in begun.values():
            self._checks.add(check)
            check.add_done_callback(self._checks.discard)
        self._take_stock()
        return begun

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            self.begin_due()
            try:
                async with asyncio.timeout(self._pause_s()):
                    await self._woken.wait()
            except TimeoutError:
                pass  # something is due

    def _pause_s(self) -> float:
        """Until the next check or alert is due. Circuits change with time alone, so nothing is left for long."""
        now = self._now()
        settings = self._router.settings
        times = [watched.due for watched in self._watched.values()]
        alert_due = self._book.next_due(settings, now)
        times += [now + settings.health.check_ms / 1000, *([] if alert_due is None else [alert_due])]
        return max(0.0, min(times) - now)

    async def _check(self, backend: ResolvedBackend, watched: _Watched) -> None:
        try:
            await self._ask(backend, watched)
        except Exception as error:
            self._note_crash(f"asking {backend.name}", error)
        finally:
            health = self._router.settings.health
            pause_ms = health.recheck_ms if self._is_in_trouble(backend.name, watched) else health.check_ms
            watched.due = min(watched.due, self._now() + pause_ms / 1000)
            watched.is_being_asked = False
            self._woken.set()
        if not any(other.is_being_asked for other in self._watched.values()):
            self._completion.put_in_force()

    async def _ask(self, backend: ResolvedBackend, watched: _Watched) -> None:
        async with await self._backends() as backends:
            asked = backends.backend(backend.name)
            if self._is_in_trouble(backend.name, watched):
                if backend.url is None:
                    return  # only a request can tell: it starts the engine
                self._saw(backend, watched, await probed(asked))
                if not watched.reachable or self._now() < watched.list_due:
                    return
            watched.list_due = self._now() + self._router.settings.health.check_ms / 1000
            self._saw(backend, watched, await listed(asked))
        if self._look is not None and watched.reachable:
            await self._look(backend.name)

    def _is_in_trouble(self, name: str, watched: _Watched) -> bool:
        return watched.reachable is False or self._circuit_of(name) != "closed"

    def _circuit_of(self, backend: str) -> str:
        try:
            return self._router.backend_health(backend).state
        except UnknownBackend:  # it has no model yet, so nothing was asked of it
            return "closed"

    def _saw(self, backend: ResolvedBackend, watched: _Watched, seen: Seen) -> None:
        """Tell the core, and note whether the backend is in trouble."""
        if seen.reachable is None:
            return
        now = self._now()
        if watched.reachable is not seen.reachable:
            watched.reachable, watched.since = seen.reachable, now
            watched.list_due = -math.inf  # it may have come back with other models
        present: list[str] = []
        missing: list[str] = []
        if seen.served is not None:
            watched.listed_at = now
            present, missing = presence(self._router.settings.models, backend, seen.served)
            self._completion.note(backend, seen.served)
        effects = self._router.observe(backend.name, reachable=seen.reachable, present=present, missing=missing)
        self._waiters.apply(effects)
        self._note_trouble(Trouble("unreachable", backend.name), is_on=not seen.reachable)

    def _hear(self, effects: Effects) -> None:
        """On any thread. By the loop in every case: nothing that goes wrong here is to reach who caused it."""
        if effects.alerts and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._note_alerts, effects.alerts)

    def _note_alerts(self, alerts: Iterable[Alert]) -> None:
        """Whoever is in trouble is asked at once. Circuits are looked at themselves, so these only wake for them."""
        now = self._now()
        backends = {model.id: model.backend for model in self._router.settings.models}
        for alert in alerts:
            name = alert.backend or backends.get(alert.model or "")
            watched = self._watched.get(name or "")
            if name is None or watched is None:
                continue  # not configured any more
            if alert.what != "circuit":
                self._note_trouble(Trouble(alert.what, name, alert.model), is_on=not alert.is_over)
            if alert.is_over or alert.what == "unauthorized":
                continue
            if alert.what == "circuit" or now >= watched.listed_at + _FRESH_S:
                watched.due = now
        self._woken.set()

    def _note_trouble(self, trouble: Trouble, *, is_on: bool) -> None:
        if end := self._book.note(trouble, self._now(), is_on=is_on):
            self._tell(end)

    def _take_stock(self) -> None:
        """Look at all circuits, and tell what has lasted long enough. Never raises: all else goes on."""
        try:
            self._look_at_circuits()
        except Exception as error:
            self._note_crash("looking at circuits", error)

    def _look_at_circuits(self) -> None:
        settings = self._router.settings
        now = self._now()
        states = {Trouble("circuit", backend.name): self._circuit_of(backend.name) for backend in settings.backends}
        for model in settings.models:
            states[Trouble("circuit", model.backend, model.id)] = self._router.health(model.id).state
        for trouble, state in states.items():
            self._note_trouble(trouble, is_on=state != "closed")
        for end in self._book.forget_gone(settings, now):
            self._tell(end)
        untried = {trouble for trouble, state in states.items() if state == "half_open"}
        untried |= {Trouble("unreachable", name) for name, watched in self._watched.items() if watched.is_being_asked}
        for alert in self._book.due(settings, self._defaults(), untried, now):
            self._tell(alert)

    def _defaults(self) -> set[str]:
        return {self._router.resolve(name) for name in self._router.settings.defaults.values()}

    def _tell(self, alert: AvailabilityChanged) -> None:
        _log.log(logging.INFO if alert.is_over else logging.WARNING, "%s", alert.message)
        self._watchers.publish(alert)
        command = self._router.settings.health.alert_command
        if command and self._command is not None:
            self._command.run(command, alert)

    def _note_crash(self, doing: str, error: Exception) -> None:
        """A fault of ours. Logged once: the next round would meet it again."""
        fault = (doing, type(error).__name__)
        if fault not in self._crashes:
            self._crashes.add(fault)
            _log.error("the monitor failed in %s and goes on", doing, exc_info=error)

    def _status(self, backend: ResolvedBackend) -> BackendStatus:
        watched = self._watched.get(backend.name)
        reachable = None if watched is None else watched.reachable
        since_s = None if watched is None or reachable is None else self._now() - watched.since
        return BackendStatus(backend.name, backend.location, self._circuit_of(backend.name), reachable, since_s)
