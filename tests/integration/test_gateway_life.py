"""From start to stop: one ready call, requests, a signal, the end of what still runs."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import aiohttp
import pytest
from gateway_support import CHAT, HELLO, client_of, sse, text_of

from modelway.config import Config
from modelway.errors import ConfigError
from modelway.gateway.app import serve
from modelway.testing import MockModelConfig, MultiModelMockBackend, mock_config

REPLY = "one two three"
BODY = {"model": "auto", "messages": HELLO, "stream": True}


@pytest.fixture
async def server() -> AsyncIterator[MultiModelMockBackend]:
    async with MultiModelMockBackend({"m": MockModelConfig(reply=REPLY)}) as server:
        yield server


@asynccontextmanager
async def served(
    server: MultiModelMockBackend, host: str = "127.0.0.1"
) -> AsyncIterator[tuple[str, asyncio.Task[None]]]:
    """The URL, and the task that ends when the gateway has stopped."""
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(Config.from_toml(mock_config(server)), host, 0, ready=ready.set_result))
    try:
        yield await ready, task
    finally:
        task.cancel()
        await asyncio.wait([task])


@contextmanager
def signal_handler(number: int) -> Iterator[list[int]]:
    """The numbers that reach a handler of the surrounding program."""
    seen: list[int] = []
    before = signal.signal(number, lambda received, _: seen.append(received))
    try:
        yield seen
    finally:
        signal.signal(number, before)


async def refused(url: str) -> None:
    """Return once ``url`` takes no new connection."""
    with suppress(aiohttp.ClientConnectionError):
        while True:
            async with aiohttp.request("GET", url) as response:
                await response.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_new_requests_and_lets_running_streams_finish(
    server: MultiModelMockBackend, number: int
) -> None:
    gate = server.hold("m", after=1)
    async with served(server) as (url, task), client_of(url) as session:
        response = await session.post(CHAT, json=BODY)
        await server.wait_for(lambda: gate.waiting == 1)
        os.kill(os.getpid(), number)
        await refused(f"{url}/health")
        assert not task.done()
        gate.release()
        assert text_of(sse(await response.text())) == REPLY
        await task


async def test_serve_gives_the_signals_back(server: MultiModelMockBackend) -> None:
    async with served(server) as (_, task):
        os.kill(os.getpid(), signal.SIGTERM)
        await task
    with signal_handler(signal.SIGTERM) as seen:
        os.kill(os.getpid(), signal.SIGTERM)
        assert seen == [signal.SIGTERM]


async def test_localhost_is_served_on_both_families(server: MultiModelMockBackend) -> None:
    async with served(server, "localhost") as (url, _), aiohttp.ClientSession() as session:
        addresses = [url, url.replace("127.0.0.1", "[::1]")]
        for address in addresses:
            async with session.get(f"{address}/health") as response:
                assert response.status == 200


async def test_a_host_that_others_reach_is_refused_before_anything_starts(server: MultiModelMockBackend) -> None:
    with pytest.raises(ConfigError, match=r"0\.0\.0\.0"):
        await serve(Config.from_toml(mock_config(server)), "0.0.0.0", 0, ready=lambda url: None)
    assert not server.path_counts
