"""A manager over a backend whose loads and unloads end when the test says so."""

from __future__ import annotations

import asyncio
from typing import Any, Self

from modelway.backends.base import LoadCall, RunningModel
from modelway.config import Config
from modelway.errors import BackendError
from modelway.residency import GpuMemoryManager
from modelway.residency.machine import Machine
from modelway.router import ModelRouter
from modelway.types import RequestOutcome
from modelway.waiters import Permit, Waiters

GB = 10**9


def config_text(capacity: int | None = 10, more: str = "", **sizes: int) -> str:
    """Models of so many GB on one Ollama backend of so many."""
    room = "" if capacity is None else f"memory_bytes = {capacity * GB}\n"
    models = "".join(f'[[models]]\nid = "{name}"\nmemory_bytes = {size * GB}\n' for name, size in sizes.items())
    return f'{more}[[backends]]\nname = "box"\nkind = "ollama"\nurl = "http://127.0.0.1:9"\n{room}{models}'


class FakeBackend:
    """``go``: actions end once it is set. ``fails``: what a model's next actions raise. ``there``: name -> bytes."""

    def __init__(self) -> None:
        self.there: dict[str, int] = {}
        self.sizes: dict[str, int] = {}
        self.done: list[tuple[str, str]] = []
        self.fails: dict[str, list[Exception]] = {}
        self.go = asyncio.Event()
        self.go.set()
        self.vram: dict[str, int] = {}
        self.cannot_tell = False

    async def load(self, call: LoadCall) -> None:
        await self._step("load", call)
        self.there[call.model] = self.sizes.get(call.model, 0)

    async def unload(self, call: LoadCall) -> None:
        await self._step("unload", call)
        self.there.pop(call.model, None)

    async def running(self) -> list[RunningModel]:
        await asyncio.sleep(0)
        if self.cannot_tell:
            raise BackendError("box: nobody there", kind="connect")
        return [RunningModel(name, size or None, self.vram.get(name)) for name, size in self.there.items()]

    async def _step(self, what: str, call: LoadCall) -> None:
        self.done.append((what, call.model))
        await asyncio.sleep(0)
        await self.go.wait()
        if self.fails.get(call.model):
            raise self.fails[call.model].pop(0)


class CountingRouter(ModelRouter):
    """Notes every report."""

    def __init__(self, _: Config) -> None:
        self.reports: list[tuple[str, str]] = []

    def model_loaded(self, model: str, **known: Any) -> Any:
        self.reports.append(("loaded", model))
        return super().model_loaded(model, **known)

    def model_not_loaded(self, model: str, **known: Any) -> Any:
        self.reports.append(("not loaded" if known.get("memory_bytes") is None else "did not fit", model))
        return super().model_not_loaded(model, **known)

    def model_unloaded(self, model: str) -> Any:
        self.reports.append(("unloaded", model))
        return super().model_unloaded(model)


class Box:
    """The manager with all that it works with."""

    def __init__(self, text: str, machine: Machine | None = None) -> None:
        self.router = CountingRouter(Config.from_toml(text))
        self.waiters = Waiters(self.router)
        vars(self.router)["waiters"] = self.waiters
        self.backend = FakeBackend()
        self.manager = GpuMemoryManager(
            self.router, self.waiters, self._in_force, machine=lambda: machine or Machine(None, has_gpu=True)
        )

    async def __aenter__(self) -> Self:
        await self.manager.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.manager.aclose()

    async def _in_force(self) -> Any:
        return _Entered(self.backend)

    def ask(self, model: str) -> Permit:
        return self.waiters.admit(model)

    def held(self) -> dict[str, str]:
        return {one.model: one.state for one in self.router.residents("box")}

    async def serve(self, model: str) -> None:
        """One request, from its beginning to its end."""
        with self.ask(model) as permit:
            await permit.granted()
            permit.finish(RequestOutcome(True))

    async def steps(self, count: int = 30) -> None:
        """So many turns of the loop; by default so many that only what is held is still under way."""
        for _ in range(count):
            await asyncio.sleep(0)


class _Entered:
    def __init__(self, backend: FakeBackend) -> None:
        self._backend = backend

    def backend(self, _: str) -> Any:
        return self._backend

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


def too_large(model: str) -> BackendError:
    return BackendError(f"{model} on box: CUDA error: out of memory", kind="server_error", model=model)


def broken(model: str) -> BackendError:
    return BackendError(f"{model} on box: the file is damaged", kind="server_error", model=model)
