"""The simulator's device, for real: it loads by starting a process and unloads by ending it, at a policy's word.

So a policy that was compared in simulated time can be measured on the real engine, by the very same code.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from typing import Any, cast

from modelway.backends.base import Backend, ChatCall, LoadCall
from modelway.events import BackendEvent
from modelway.testing.simulator import Device, Policy, Request, SimModel


class Clock:
    """The time of policies: seconds that pass by themselves."""

    @property
    def now_s(self) -> float:
        return time.perf_counter()


class RealDevice:
    """``models`` on ``backend``, which has ``capacity_bytes`` for them, commanded by ``policy``.

    It has what a policy may ask of the simulator's ``Device``, under the same names. A load or unload that fails ends
    ``tasks``, and with them the measurement.
    """

    def __init__(
        self,
        capacity_bytes: int,
        models: Iterable[SimModel],
        backend: Backend,
        policy: Policy,
        tasks: asyncio.TaskGroup,
    ):
        self.capacity_bytes = capacity_bytes
        self.models = {model.name: model for model in models}
        self.agenda = Clock()
        self._backend = backend
        self._policy = policy
        self._tasks = tasks
        #: What takes memory; True: ready.
        self._held: dict[str, bool] = {}
        self._users: Counter[str] = Counter()
        self._turns: dict[Request, asyncio.Future[None]] = {}
        policy.attach(cast(Device, self))

    def memory_in_use(self) -> int:
        return sum(self.models[name].memory_bytes for name in self._held)

    def ready(self) -> list[str]:
        return sorted(name for name, is_ready in self._held.items() if is_ready)

    def is_ready(self, model: str) -> bool:
        return self._held.get(model, False)

    def users(self, model: str) -> int:
        return self._users[model]

    def load(self, model: str) -> None:
        self._held[model] = False
        self._tasks.create_task(self._load(model))

    def unload(self, model: str) -> None:
        self._held[model] = False
        self._tasks.create_task(self._unload(model))

    def send(self, request: Request) -> None:
        self._users[request.model] += 1
        self._turns.pop(request).set_result(None)

    async def stream(
        self, model: str, messages: list[dict[str, str]], options: dict[str, Any]
    ) -> AsyncGenerator[BackendEvent, None]:
        """One request: it waits until the policy sends it, and is answered by the model's process."""
        request = Request(model, None, 1.0, 0, self.agenda.now_s)
        turn = self._turns[request] = asyncio.get_running_loop().create_future()
        self._policy.on_arrival(request)
        await turn
        async with aclosing(self._backend.stream(ChatCall(model, model, messages, options))) as events:
            async for event in events:
                yield event
        self._users[model] -= 1
        self._policy.on_finished(request)

    async def _load(self, model: str) -> None:
        await self._backend.load(LoadCall(model, model))
        self._held[model] = True
        self._policy.on_loaded(model)

    async def _unload(self, model: str) -> None:
        await self._backend.unload(LoadCall(model, model))
        del self._held[model]
        self._policy.on_unloaded(model)


@asynccontextmanager
async def commanded(
    capacity_bytes: int, models: Iterable[SimModel], backend: Backend, policy: Policy
) -> AsyncIterator[RealDevice]:
    async with asyncio.TaskGroup() as tasks:
        yield RealDevice(capacity_bytes, models, backend, policy, tasks)
