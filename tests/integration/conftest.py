"""Conductors over the mock server.

Every conductor opened by ``open_conductor`` is checked after its test: each request that was admitted or waited
ended exactly once, and nothing is held.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from conductor_kit import SHORT, BookkeepingRouter, OpenConductor, config_text, replies

from modelway.backends.mock import MultiModelMockBackend
from modelway.conductor import Conductor
from modelway.config import Config


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
