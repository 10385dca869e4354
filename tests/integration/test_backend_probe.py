"""``Backend.probe``: one free request that says whether the server answers, of each kind of backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from availability_kit import silent_server

from modelway.backends.base import PROBE_S, Backend
from modelway.backends.factory import make_backend
from modelway.backends.mock import MockModelConfig, MultiModelMockBackend
from modelway.config import Config
from modelway.config.settings import resolve
from modelway.errors import BackendError
from modelway.pools import PoolManager


@asynccontextmanager
async def opened(keys: str) -> AsyncIterator[Backend]:
    settings = resolve(Config.from_toml(f'[[backends]]\nname = "local"\n{keys}\n[deadlines]\nconnect_ms = 500\n'))
    pools = PoolManager()
    backend = make_backend(settings.backends[0], settings.models, pools, settings.backends[0].deadlines)
    try:
        yield backend
    finally:
        await backend.aclose()
        await pools.aclose()


@pytest.fixture
async def server() -> AsyncIterator[MultiModelMockBackend]:
    async with MultiModelMockBackend({"m": MockModelConfig()}) as server:
        yield server


@pytest.mark.parametrize(
    ("kind", "route"), [("ollama", "/api/version"), ("openai", "/v1/models"), ("mock", "/api/version")]
)
async def test_a_probe_is_one_request_that_loads_nothing(server, kind: str, route: str) -> None:
    async with opened(f'kind = "{kind}"\nurl = "{server.url}"') as backend:
        await backend.probe()
        assert server.path_counts == {route: 1}
        assert server.request_history == []
        await server.down()
        with pytest.raises(BackendError, match="is the server running"):
            await backend.probe()


@pytest.mark.parametrize("kind", ["llama_cpp", "mock"])
async def test_where_there_is_no_server_nothing_is_asked_or_started(kind: str) -> None:
    async with opened(f'kind = "{kind}"') as backend:
        before = asyncio.all_tasks()
        await backend.probe()
        assert asyncio.all_tasks() == before


async def test_a_key_that_is_not_set_is_told_without_a_connection(server, monkeypatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    async with opened(f'kind = "openai"\nurl = "{server.url}"\napi_key_env = "NO_SUCH_KEY"') as backend:
        with pytest.raises(BackendError) as caught:
            await backend.probe()
    assert (caught.value.kind, caught.value.status) == ("unauthorized", None)
    assert server.connections == 0


@pytest.mark.parametrize("kind", ["ollama", "openai"])
async def test_a_server_that_says_nothing_is_given_up_in_time(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"modelway.backends.{'openai_compat' if kind == 'openai' else kind}.backend.PROBE_S", 0.05)
    assert PROBE_S <= 2.0
    async with silent_server() as url, opened(f'kind = "{kind}"\nurl = "{url}"') as backend:
        with pytest.raises(BackendError) as caught:
            await backend.probe()
    assert caught.value.kind == "timeout"
