"""Conductors over the mock server.

Every conductor opened by ``open_conductor`` is checked after its test: each request that was admitted or waited
ended exactly once, and nothing is held.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from conductor_kit import DEFAULTS, SHORT, BookkeepingRouter, OpenConductor, config_text, replies
from scripted_backend import DONE, Script, ScriptedBackend, Step

from modelway.backends.mock import MultiModelMockBackend
from modelway.conductor import Conductor
from modelway.config import Config
from modelway.events import TextDelta


@pytest.fixture
async def open_conductor() -> AsyncIterator[OpenConductor]:
    """Opens conductors from TOML text; closes them and balances their books when the test is over."""
    conductors: list[Conductor] = []

    def open_(text: str) -> Conductor:
        conductors.append(Conductor(router=BookkeepingRouter(Config.from_toml(text))))
        return conductors[-1]

    yield open_
    for conductor in conductors:
        await conductor.aclose()
        router = conductor.router
        assert isinstance(router, BookkeepingRouter)
        router.check_books()


@pytest.fixture
async def server() -> AsyncIterator[MultiModelMockBackend]:
    async with MultiModelMockBackend(replies()) as server:
        yield server


@pytest.fixture
def conductor(server: MultiModelMockBackend, open_conductor: OpenConductor) -> Conductor:
    return open_conductor(config_text(server.url))


@pytest.fixture(params=["ollama", "openai"])
def either(request: pytest.FixtureRequest, server: MultiModelMockBackend, open_conductor: OpenConductor) -> Conductor:
    """A conductor over either protocol."""
    return open_conductor(config_text(server.url, request.param))


@pytest.fixture(params=["ollama", "openai"])
def hasty(request: pytest.FixtureRequest, server: MultiModelMockBackend, open_conductor: OpenConductor) -> Conductor:
    """A conductor with short deadlines over either protocol."""
    return open_conductor(config_text(server.url, request.param, SHORT))


@pytest.fixture
def scripted(open_conductor: OpenConductor, monkeypatch: pytest.MonkeyPatch) -> Script:
    """A conductor over scripts by model; those without one say hello. ``edit`` changes its configuration. Pauses before
    a model is asked again are as short as can be."""

    def open_(*, edit: Callable[[str], str] = str, **scripts: Sequence[Step]) -> tuple[Conductor, ScriptedBackend]:
        hello = [TextDelta("hello"), DONE]
        backend = ScriptedBackend({name: scripts.get(name.removesuffix("-model"), hello) for name in DEFAULTS.values()})
        monkeypatch.setattr("modelway.conductor.lineup.make_backend", lambda *_: backend)
        named = 'id = "code-model"\nname = "server-side-name"'
        text = config_text("http://127.0.0.1:9").replace('id = "code-model"', named)
        conductor = open_conductor(edit(text))
        conductor._chance = lambda: 1e-9
        return conductor, backend

    return open_
