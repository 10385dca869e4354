"""A monitor over scripted backends and a clock that only the test moves."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any, Self

from modelway.backends.base import ServedModel
from modelway.config import Config
from modelway.errors import BackendError
from modelway.monitor import Monitor
from modelway.router import ModelRouter
from modelway.types import RequestOutcome
from modelway.waiters import Waiters

TWO_MODELS = """
[defaults]
general = "big"
code = "coder"
[fallbacks]
code = ["general"]
[[backends]]
name = "ollama"
kind = "ollama"
url = "http://127.0.0.1:9"
[[models]]
id = "big"
strengths = ["general"]
[[models]]
id = "coder"
strengths = ["code"]
[[models]]
id = "spare"
"""


class FakeBackend:
    """Answers, refuses, breaks or hangs as it is told, and notes what it was asked."""

    def __init__(self) -> None:
        self.has("big", "coder", "spare")
        self.fails_with: Exception | None = None
        self.hangs = False
        self.turns = 0  # of the loop, before it answers
        self.asked: list[str] = []
        self.was_asked = asyncio.Event()

    def has(self, *names: str) -> None:
        self.served_models = [ServedModel(name) for name in names]

    async def probe(self) -> None:
        await self._answer("probe")

    async def served(self) -> list[ServedModel]:
        await self._answer("list")
        return self.served_models

    async def _answer(self, what: str) -> None:
        self.asked.append(what)
        self.was_asked.set()
        if self.hangs:
            await asyncio.Event().wait()
        for _ in range(self.turns):
            await asyncio.sleep(0)
        if self.fails_with is not None:
            raise self.fails_with

    def down(self) -> None:
        self.fails_with = BackendError("nobody there", kind="connect")

    def up(self) -> None:
        self.fails_with = None


class FakeBackends(defaultdict[str, FakeBackend]):
    def __init__(self) -> None:
        super().__init__(FakeBackend)

    def backend(self, name: str) -> Any:
        return self[name]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


class Bench:
    """``rounds`` drives the monitor as its task would, from one moment at which something is due to the next."""

    def __init__(self, text: str = TWO_MODELS, *, owns_config: bool = False) -> None:
        config = Config.from_toml(text)
        self.clock = 0.0
        self.router = ModelRouter(config)
        self.waiters = Waiters(self.router)
        self.backends = FakeBackends()

        async def in_force() -> FakeBackends:
            return self.backends

        self.monitor = Monitor(
            self.router, self.waiters, in_force, config if owns_config else None, now=lambda: self.clock
        )
        self.monitor._loop = asyncio.get_running_loop()
        self.waiters.listen(self.monitor._hear)  # as ``start`` does
        self.told: list[tuple[str, str | None, bool, float]] = []
        self.monitor._watchers.publish = lambda alert: self.told.append(  # type: ignore[method-assign]
            (alert.what, alert.model, alert.is_over, alert.lasted_s)
        )

    @property
    def ollama(self) -> FakeBackend:
        return self.backends["ollama"]

    async def round(self) -> None:
        """What is due at this moment, to its end, and what that has caused."""
        await asyncio.sleep(0)  # alerts come by the loop
        while checks := self.monitor.begin_due():
            await asyncio.wait(checks.values())
            await asyncio.sleep(0)

    async def rounds(self, until_s: float) -> None:
        """All rounds up to this time."""
        await self.round()
        while (next_s := self.clock + self.monitor._pause_s()) <= until_s:
            self.clock = next_s
            await self.round()
        self.clock = until_s

    def fail(self, model: str, kind: str = "connect", times: int = 5) -> None:
        """So many requests to ``model`` fail."""
        for _ in range(times):
            admitted = self.router.admit(model)
            self.waiters.apply(self.router.finish(admitted.ticket, RequestOutcome(False, kind=kind)))
