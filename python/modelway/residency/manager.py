"""``GpuMemoryManager``: does what the router says of memory, and tells it what is so.

The router plans; this loads and unloads, one task an action, and each action ends in exactly one report, also where it
crashes, is cancelled, or never begins. A load goes on when whoever waited for it has left: others may wait, and it is
paid for. What a server loads and unloads by itself, or for somebody else, is noticed and reported, not undone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import TYPE_CHECKING, Protocol

from modelway.backends.base import LoadCall
from modelway.errors import UnknownBackend, UnknownModel
from modelway.residency.action import Action, Loaded, NotLoaded, Outcome, Unloaded, in_memory, loaded, unloaded
from modelway.residency.capacity import managed_memory
from modelway.residency.fit import Fit
from modelway.residency.load_time import learned_load_s
from modelway.residency.machine import Machine, read_machine
from modelway.residency.names import Names
from modelway.residency.sizes import Sizes
from modelway.types import RequestOutcome

if TYPE_CHECKING:
    from modelway.backends.base import Backend, RunningModel
    from modelway.config.settings import ResolvedModel, Settings
    from modelway.router import ModelRouter
    from modelway.types import Effects
    from modelway.waiters import Waiters

_log = logging.getLogger("modelway.residency")

#: What the manager's tasks are called.
TASK_NAME = "modelway memory"
#: How long a server may take to say what it has in memory, and how long that is waited for at the start.
_LOOK_S, _FIRST_LOOK_S = 5.0, 0.5


class Backends(Protocol):
    """The backends in force, kept open until the block is left."""

    def backend(self, name: str) -> Backend: ...


class GpuMemoryManager:
    """Manages the memory of ``router``'s backends; belongs to one event loop.

    ``backends`` gives those in force. Of several managers of one router the first that was started does the work.
    ``machine`` reads what there is, on a thread of its own; None: ``read_machine``. ``now`` is a clock in seconds.
    """

    def __init__(
        self,
        router: ModelRouter,
        waiters: Waiters,
        backends: Callable[[], Awaitable[AbstractAsyncContextManager[Backends]]],
        *,
        machine: Callable[[], Machine] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._router = router
        self._waiters = waiters
        self._backends = backends
        self._read_machine = machine or read_machine
        self._now = now
        self._machine: Machine | None = None
        self._settings: Settings | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._actions: dict[str, Action] = {}
        self._tasks: set[asyncio.Task[Outcome] | asyncio.Task[None]] = set()
        #: When something was last done with a model: what a server said before is not held against it.
        self._touched: dict[str, float] = {}
        self._known: dict[str, ResolvedModel] = {}
        self._known_of: Settings | None = None
        self._sizes = Sizes()
        self._fit = Fit(router, self._sizes)
        self._changes: dict[str, asyncio.Future[None]] = {}

    # What requests want to know.

    def is_loading(self, model: str) -> bool:
        action = self._actions.get(model)
        return action is not None and action.is_load

    def change_of(self, model: str) -> asyncio.Future[None]:
        """Done when the model begins or ceases to be loaded or unloaded the next time. Not to be cancelled."""
        if model not in self._changes:
            self._changes[model] = asyncio.get_running_loop().create_future()
        return self._changes[model]

    def did_not_fit(self, model: str) -> bool:
        """Whether its last load failed for want of memory."""
        return self._fit.did_not_fit(model)

    def split(self, model: str) -> tuple[int, int] | None:
        """Bytes in all and in graphics memory of a model that is not wholly there, though it could be."""
        return self._sizes.split(model)

    def reduced_context(self, model: str) -> tuple[int, int] | None:
        """The tokens of context that were asked for and those that there are, where its server gave it fewer."""
        return self._sizes.reduced_context(model)

    def needs_as_much(self, model: str, failed: str) -> tuple[int, int] | None:
        """See :meth:`Fit.needs_as_much`; None also for a model that was never configured."""
        one, other = self._model(model), self._model(failed)
        return None if one is None or other is None else self._fit.needs_as_much(one, other)

    # Its life.

    async def start(self) -> None:
        """Begin to manage what the configuration leaves to be managed, and look at what is in memory already."""
        if self._router.memory_manager is not None:
            return
        self._loop = asyncio.get_running_loop()
        self._router.memory_manager = self
        self._waiters.listen(self._hear)
        await self._take_over()
        if looks := [self._look_soon(backend) for backend in self._router.managed]:
            await asyncio.wait(looks, timeout=_FIRST_LOOK_S)

    async def aclose(self) -> None:
        """Leave each server alone with what it has; no task is left, and nobody waits for a load. Idempotent."""
        if self._router.memory_manager is not self:
            return
        self._loop = None
        self._router.memory_manager = None
        self._router.manage({})
        self._waiters.unlisten(self._hear)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def look(self, backend: str) -> None:
        """Ask a backend what it has in memory, and report what is otherwise than the router thinks."""
        if self._loop is None:
            return
        if self._router.settings is not self._settings:
            await self._take_over()
        if backend not in self._router.managed:
            return
        began = self._now()
        with suppress(TimeoutError, LookupError):  # of a backend that is not configured any more
            async with asyncio.timeout(_LOOK_S), await self._backends() as backends:
                running = await in_memory(backends.backend(backend))
            if running is not None:
                self._compare(backend, running, began)

    async def _take_over(self) -> None:
        """Manage the backends of the settings in force."""
        self._settings = settings = self._router.settings
        if self._machine is None:
            self._machine = await asyncio.to_thread(self._read_machine)
            self._sizes.has_gpu = self._machine.has_gpu
        managed = managed_memory(settings, self._machine)
        # It may have been closed while the machine was read.
        if managed != self._router.managed and self._loop is not None:
            self._router.manage(managed)

    # What the router says.

    def _hear(self, effects: Effects) -> None:
        """On any thread. On its own the actions begin at once, so that whoever caused them sees them."""
        if (effects.load or effects.evicted) and self._loop is not None and not self._loop.is_closed():
            if asyncio._get_running_loop() is self._loop:
                self._begin(effects)
            else:
                self._loop.call_soon_threadsafe(self._begin, effects)

    def _begin(self, effects: Effects) -> None:
        for model in effects.evicted:
            self._act(model, is_load=False)
        for model in effects.load:
            self._act(model, is_load=True)

    def _act(self, model: str, *, is_load: bool) -> None:
        resolved = self._model(model)
        if resolved is None or resolved.backend not in self._router.managed:
            return  # left alone meanwhile, or never loaded by anybody here
        action = Action(model, resolved.backend, is_load, self._now())
        self._actions[model] = action
        self._touch(model)
        task = asyncio.create_task(self._carry_out(action, resolved), name=TASK_NAME)
        self._tasks.add(task)
        # A callback runs also for a task that was cancelled before its first step.
        task.add_done_callback(lambda task: self._ended(action, task))

    async def _carry_out(self, action: Action, model: ResolvedModel) -> Outcome:
        load_s = learned_load_s(self._router.health(model.id).load_ms, self._router.settings.deadlines.load_ms)
        call = LoadCall(model.name, model.id, model.num_ctx, load_s)
        async with await self._backends() as backends:
            backend = backends.backend(model.backend)
            if not action.is_load:
                return await unloaded(backend, call)
            return await loaded(backend, call, self._now)

    def _ended(self, action: Action, task: asyncio.Task[Outcome]) -> None:
        """The one report of an action."""
        self._tasks.discard(task)
        if task.cancelled():
            outcome = action.broken_off()
        elif crash := task.exception():
            outcome = action.broken_off()
            _log.error("%s of %s crashed", "loading" if action.is_load else "unloading", action.model, exc_info=crash)
        else:
            outcome = task.result()
        # What the report causes may be the next action with this very model.
        if self._actions.get(action.model) is action:
            del self._actions[action.model]
        self._touch(action.model)
        with suppress(UnknownModel):  # the configuration was replaced meanwhile
            self._report(action, outcome)
        if self._loop is not None and self._router.settings is not self._settings:
            # It was begun under another configuration: the backend of this name may be another server now.
            self._look_soon(action.backend)

    def _report(self, action: Action, outcome: Outcome) -> None:
        model, router = action.model, self._router
        match outcome:
            case Loaded(load_ms, running):
                self._fit.loaded(model)
                names = Names(self._models().values(), action.backend)
                own = next((one for one in running or () if model in names.of(one.name)), None)
                size = None if own is None else self._sizes.note(self._models()[model], own)
                self._waiters.apply(router.model_loaded(model, memory_bytes=size, load_ms=load_ms))
                if running is not None:
                    self._compare(action.backend, running, action.began)
            case NotLoaded(error):
                size = self._fit.failed(model, action.backend, error)
                self._waiters.apply(router.model_not_loaded(model, memory_bytes=size))
                if size is None and error is not None:
                    _log.warning("%s", error)
                    # Alerts are the monitor's, which looks at circuits itself.
                    router.record_outcome(model, RequestOutcome(False, kind=error.kind))
            case Unloaded(is_sure):
                self._sizes.gone(model)
                self._waiters.apply(router.model_unloaded(model))
                if not is_sure and self._loop is not None:
                    self._look_soon(action.backend)

    # What servers say.

    def _compare(self, backend: str, running: Sequence[RunningModel], asked_at: float) -> None:
        """Report what ``running``, asked for at ``asked_at``, says otherwise than the router thinks."""
        names = Names(self._models().values(), backend)
        there = {model: one for one in running for model in names.of(one.name)}
        with suppress(UnknownModel, UnknownBackend):
            held = {one.model: one for one in self._router.residents(backend)}
            for model in {*there, *held}:
                if model in self._actions or self._touched.get(model, asked_at) > asked_at:
                    continue
                if model not in there:
                    self._sizes.gone(model)
                    self._waiters.apply(self._router.model_unloaded(model))
                    continue
                size = self._sizes.note(self._models()[model], there[model])
                # Less than at its beginning is what the system has put aside, and comes back with the next request.
                if model not in held or (size is not None and size > held[model].memory_bytes):
                    self._waiters.apply(self._router.model_loaded(model, memory_bytes=size))

    def _look_soon(self, backend: str) -> asyncio.Task[None]:
        task = asyncio.create_task(self.look(backend), name=TASK_NAME)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _touch(self, model: str) -> None:
        self._touched[model] = self._now()
        if change := self._changes.pop(model, None):
            change.set_result(None)

    def _model(self, model: str) -> ResolvedModel | None:
        return self._models().get(model)

    def _models(self) -> Mapping[str, ResolvedModel]:
        """The models that are or were configured: what was loaded is still to be unloaded."""
        if self._router.settings is not self._known_of:
            self._known_of = self._router.settings
            self._known |= {model.id: model for model in self._known_of.models}
        return self._known
