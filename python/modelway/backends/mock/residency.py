"""Which mock models are in memory, scheduled as Ollama does it.

A request to a model in memory uses it at once, and waits there for a slot as long as it takes. All others wait in one
line, whose head is served to the end before the next is looked at: a victim goes, then the model is loaded, one load
at a time. The victim is an idle model before a busy one, of those the one with the shortest keep-alive, of equals the
first by name. A keep-alive of 0 tells it to leave as soon as it is idle; a request to it that brings another keep-alive
takes that back, and the line waits: the trap.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field

from modelway.backends.mock.config import MockModelConfig, OllamaLimits
from modelway.backends.mock.wire import Refusal, Setup

QUEUE_FULL = "server busy, please try again.  maximum pending requests exceeded"


@dataclass(eq=False, slots=True)
class _Runner:
    """A model in memory."""

    name: str
    setup: Setup
    size_bytes: int
    keep_alive_s: float
    slots: contextlib.AbstractAsyncContextManager[object]
    users: int = 0
    #: While it is busy: since when it was idle last, or loaded.
    idle_since: float = field(default_factory=time.monotonic)
    expiry: asyncio.TimerHandle | None = None

    @property
    def left_s(self) -> float:
        return self.idle_since + self.keep_alive_s - time.monotonic()


@dataclass(eq=False, slots=True)
class _Waiting:
    """A request that waits for a load."""

    name: str
    setup: Setup
    keep_alive_s: float | None
    runner: asyncio.Future[_Runner]


class Residency:
    """The loaded models of one server. Belongs to the event loop in which requests use it.

    ``models`` say how long each loads and what it takes; ``on_load`` hears the name of each that begins to load,
    ``note`` of every change.
    """

    def __init__(
        self,
        models: Mapping[str, MockModelConfig],
        limits: OllamaLimits,
        *,
        on_load: Callable[[str], None],
        note: Callable[[], None],
    ):
        self._models = models
        self._limits = limits
        self._on_load = on_load
        self._note = note
        self._ready: dict[str, _Runner] = {}
        self._line: deque[_Waiting] = deque()
        self._head: _Waiting | None = None
        self._load: asyncio.TimerHandle | None = None
        #: A victim was told to leave: until something has left, the line stands still.
        self._makes_room = False
        self._is_closed = False

    @contextlib.asynccontextmanager
    async def use(self, name: str, setup: Setup, keep_alive_s: float | None) -> AsyncIterator[None]:
        """A slot of the model, loaded first if need be. Raises Refusal where the line for loads is full."""
        runner = await self._acquire(name, setup, keep_alive_s)
        try:
            async with runner.slots:
                yield
        finally:
            self._release(runner)

    def expire(self, name: str) -> None:
        """The model leaves as soon as nobody uses it; one that is not loaded is no error."""
        if name in self._ready:
            self._dismiss(self._ready[name])
            self._advance()

    def loaded(self) -> dict[str, float]:
        """Name -> seconds until it leaves, the longest first. What is being loaded is not there yet."""
        left = {name: runner.left_s for name, runner in self._ready.items()}
        return dict(sorted(left.items(), key=lambda item: -item[1]))

    def context_of(self, name: str) -> int:
        """The context that a loaded model was loaded with, in tokens."""
        (context,) = (value for option, value in self._ready[name].setup if option == "num_ctx")
        return int(str(context))

    @property
    def waiting(self) -> int:
        """Requests that wait for a load, the one it is made for included."""
        return len(self._line) + (self._head is not None)

    def close(self) -> None:
        """The process is gone: nothing happens by itself any more, and nobody in line is served."""
        self._is_closed = True
        for runner in self._ready.values():
            _cancel(runner.expiry)
        _cancel(self._load)

    async def _acquire(self, name: str, setup: Setup, keep_alive_s: float | None) -> _Runner:
        runner = self._ready.get(name)
        if runner is not None and runner.setup == setup:
            return self._used(runner, keep_alive_s)
        if len(self._line) >= self._limits.max_queue:
            raise Refusal(503, QUEUE_FULL)
        waiting = _Waiting(name, setup, keep_alive_s, asyncio.get_running_loop().create_future())
        self._line.append(waiting)
        self._advance()
        self._note()
        try:
            return await waiting.runner
        except asyncio.CancelledError:
            self._give_up(waiting)
            raise

    def _give_up(self, waiting: _Waiting) -> None:
        """Its client has left: a load for it is aborted, but who was told to leave for it still does."""
        if waiting.runner.done() and not waiting.runner.cancelled():
            self._release(waiting.runner.result())
        elif waiting is self._head:
            _cancel(self._load)
            self._load = None
            self._advance()
        self._note()

    def _advance(self) -> None:
        """Serve the line as far as it goes without waiting."""
        while not (self._load or self._makes_room or self._is_closed):
            if self._head is None or self._head.runner.cancelled():
                if not self._line:
                    self._head = None
                    return
                self._head = self._line.popleft()
            else:
                self._serve(self._head)

    def _serve(self, head: _Waiting) -> None:
        """Go one step towards what the head wants."""
        runner = self._ready.get(head.name)
        config = self._models.get(head.name, MockModelConfig())  # it may have been taken from the server meanwhile
        if runner is not None and runner.setup == head.setup:
            head.runner.set_result(self._used(runner, head.keep_alive_s))
            self._head = None
        elif runner is None and self._has_room(config):
            self._on_load(head.name)
            if config.load_s:
                loop = asyncio.get_running_loop()
                self._load = loop.call_later(config.load_s, self._loaded, head, config)
            else:  # nobody else gets into the line meanwhile
                self._make_ready(head, config)
        else:
            self._makes_room = True
            self._dismiss(runner or min(self._ready.values(), key=_rank_of_victims))

    def _has_room(self, config: MockModelConfig) -> bool:
        if not self._ready:
            return True
        taken = sum(runner.size_bytes for runner in self._ready.values()) + config.size_bytes
        limits = self._limits
        return not (0 < limits.max_loaded <= len(self._ready) or 0 < limits.memory_bytes < taken)

    def _loaded(self, head: _Waiting, config: MockModelConfig) -> None:
        self._load = None
        self._make_ready(head, config)
        self._advance()
        self._note()

    def _make_ready(self, head: _Waiting, config: MockModelConfig) -> None:
        slots = asyncio.Semaphore(self._limits.slots) if self._limits.slots else contextlib.nullcontext()
        keep_alive_s = self._limits.keep_alive_s if head.keep_alive_s is None else head.keep_alive_s
        self._ready[head.name] = _Runner(head.name, head.setup, config.size_bytes, keep_alive_s, slots)

    def _used(self, runner: _Runner, keep_alive_s: float | None) -> _Runner:
        runner.users += 1
        _cancel(runner.expiry)
        if keep_alive_s is not None:
            runner.keep_alive_s = keep_alive_s
        return runner

    def _release(self, runner: _Runner) -> None:
        """A request ended, however it did."""
        runner.users -= 1
        if not runner.users:
            runner.idle_since = time.monotonic()
            if self._is_closed:
                return
            if runner.keep_alive_s <= 0:
                self._unload(runner)
            elif runner.keep_alive_s < math.inf:
                loop = asyncio.get_running_loop()
                runner.expiry = loop.call_later(runner.keep_alive_s, self._expired, runner)
            self._advance()
        self._note()

    def _expired(self, runner: _Runner) -> None:
        self._unload(runner)
        self._advance()
        self._note()

    def _dismiss(self, runner: _Runner) -> None:
        runner.keep_alive_s = 0.0
        if not runner.users:
            self._unload(runner)

    def _unload(self, runner: _Runner) -> None:
        _cancel(runner.expiry)
        del self._ready[runner.name]
        self._makes_room = False


def _rank_of_victims(runner: _Runner) -> tuple[bool, float, str]:
    return runner.users > 0, runner.keep_alive_s, runner.name


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
