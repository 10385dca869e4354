"""Many streams to one backend: no hidden cap, connections kept, none left behind."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from conductor_kit import CODE, config_text, replies
from gateway_support import CHAT, HELLO, client_of, gateway_over, sse
from gateway_support import text_of as text_of_sse

from modelway.backends.base import ChatCall, Deadlines
from modelway.backends.mock import MultiModelMockBackend
from modelway.backends.openai_compat import OpenAICompatBackend
from modelway.events import TextDelta
from modelway.pools import PoolManager

#: Server and client live in one process, so a stream takes two sockets; through the gateway four.
DESCRIPTORS = 4_096


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = max(soft, min(DESCRIPTORS, hard)) if hard != resource.RLIM_INFINITY else max(soft, DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("streams", [256, 1_000])
async def test_streams_to_one_backend_really_run_at_once(server: MultiModelMockBackend, streams: int) -> None:
    gate = server.hold(after=1)
    pools = PoolManager()
    backend = OpenAICompatBackend("local", server.url, pools=pools, deadlines=Deadlines(connect_s=4.0))
    call = ChatCall("code-model", "code-model", HELLO)

    async def ask() -> str:
        return "".join([event.text async for event in backend.stream(call) if isinstance(event, TextDelta)])

    tasks = [asyncio.create_task(ask()) for _ in range(streams)]
    await server.wait_for(lambda: gate.waiting == streams, timeout_s=4.0)
    (stats,) = pools.stats()
    assert (stats.open, stats.in_use, stats.idle, stats.waiting) == (streams, streams, 0, 0)
    gate.release()
    assert set(await asyncio.gather(*tasks)) == {"code-model says so"}
    (stats,) = pools.stats()
    assert (stats.opened, stats.in_use, stats.failed) == (streams, 0, 0)
    await backend.aclose()


async def test_256_streams_through_the_gateway_really_run_at_once(server, conductor):
    gate = server.hold(after=1)
    body = {"model": "code-model", "messages": HELLO, "stream": True}
    async with gateway_over(conductor) as url, client_of(url, limit=0) as client:

        async def ask() -> str:
            async with client.post(CHAT, json=body) as answer:
                assert answer.status == 200
                return text_of_sse(sse(await answer.text()))

        tasks = [asyncio.create_task(ask()) for _ in range(256)]
        await server.wait_for(lambda: gate.waiting == 256, timeout_s=4.0)
        gate.release()
        assert set(await asyncio.gather(*tasks)) == {"code-model says so"}


@pytest.mark.parametrize("kind", ["ollama", "openai"])
async def test_l7_eight_clients_reuse_their_connections_and_leave_none(open_conductor, kind):
    async with MultiModelMockBackend(replies()) as server:
        text = config_text(server.url, kind).replace('name = "local"\n', 'name = "local"\nkeep_alive_s = 0.2\n')
        conductor = open_conductor(text)
        left = iter(range(500))

        async def client() -> None:
            for _ in left:
                assert (await conductor.complete(CODE)).text == "code-model says so"

        await asyncio.gather(*(client() for _ in range(8)))
        (stats,) = conductor.pool_stats()
        assert server.request_counts["code-model"] == 500
        assert stats.reuse > 0.9
        assert (stats.in_use, stats.failed, stats.stale) == (0, 0, 0)
        assert stats.open <= 8, "none leaked"
        while conductor.pool_stats()[0].open:  # noqa: ASYNC110  (the idle ones close by themselves, and tell nobody)
            await asyncio.sleep(0)


SOMAXCONN = Path("/proc/sys/net/core/somaxconn")


@pytest.mark.skipif(not SOMAXCONN.exists() or int(SOMAXCONN.read_text()) < 1_000, reason="the system allows fewer")
async def test_a_thousand_clients_may_connect_to_the_gateway_in_one_moment(conductor):
    async with gateway_over(conductor) as url:
        port = int(url.rpartition(":")[2])
        with ExitStack() as sockets:
            clients = [sockets.enter_context(socket.socket()) for _ in range(1_000)]
            # The loop, and so the gateway, does not get to run in between.
            for client in clients:
                client.setblocking(False)
                client.connect_ex(("127.0.0.1", port))
            assert all(client.getpeername() for client in clients)
