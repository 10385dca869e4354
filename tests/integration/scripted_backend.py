"""A backend that plays a script a model, so that a test says what happens at each await of the conductor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

from modelway.backends.base import ChatCall, ServedModel
from modelway.conductor import Conductor
from modelway.errors import BackendError
from modelway.events import BackendEvent, Ended, Usage

DONE = Ended("stop", Usage(7, 2))
#: A step of a script at which the loop turns once.
PAUSE = object()

#: An event, an error, PAUSE, an ``asyncio.Event`` to wait for, or a list: the script of one request, the next of which
#: goes to the next request.
Step = object


class ScriptedBackend:
    """Plays a script a model: events are yielded, errors raised, events of asyncio waited for."""

    name = "local"

    def __init__(self, scripts: dict[str, Sequence[Step]]) -> None:
        self.scripts = scripts
        self.calls: list[ChatCall] = []
        self.running = 0
        self.closed = 0

    def unsupported_options(self, call: ChatCall) -> tuple[str, ...]:
        return tuple(name for name in call.options if name == "min_p")

    async def stream(self, call: ChatCall) -> AsyncGenerator[BackendEvent, None]:
        self.calls.append(call)
        self.running += 1
        try:
            for step in self._script(call.model_id):
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif step is PAUSE:
                    await asyncio.sleep(0)
                else:
                    yield step  # type: ignore[misc]
        finally:
            self.running -= 1

    async def served(self) -> list[ServedModel]:
        return [ServedModel(name) for name in self.scripts]

    async def probe(self) -> None:
        pass

    async def aclose(self) -> None:
        self.closed += 1

    def _script(self, model: str) -> Sequence[Step]:
        steps = self.scripts[model]
        if not steps or not isinstance(steps[0], list):
            return steps
        before = sum(call.model_id == model for call in self.calls) - 1
        script = steps[min(before, len(steps) - 1)]
        assert isinstance(script, list)
        return script


Script = Callable[..., tuple[Conductor, ScriptedBackend]]


def failure(kind: str, **facts: float) -> BackendError:
    return BackendError(f"scripted {kind}", kind=kind, model="code-model", backend="local", **facts)  # type: ignore[arg-type]
