"""When connections are kept, when they are given up, and what a pool tells of it."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from socket_kit import OK, ORIGIN, Socket, post

from modelway.backends.base import ChatCall, Deadlines
from modelway.backends.openai_compat import OpenAICompatBackend
from modelway.errors import BackendError
from modelway.events import Ended, TextDelta
from modelway.pools import ConnectionConfig, ConnectionPool, PoolManager, PoolStats

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
TORN = [CHUNKED, b"5\r\nhello\r\n", None]
#: What llama.cpp's server answers to a streamed request: it promises to keep the connection.
STREAM = (
    b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=100\r\nContent-Type: text/event-stream\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
    b'4b\r\ndata: {"choices":[{"delta":{"content":"hello"},"finish_reason":"stop"}]}\n\n\r\n'
    b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
)


@pytest.fixture
async def server() -> AsyncIterator[Socket]:
    server = Socket()
    await server.start()
    yield server
    await server.aclose()


@asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[ConnectionPool]:
    pool = ConnectionPool("local", ConnectionConfig(**options))
    try:
        yield pool
    finally:
        await pool.aclose()


def counts(stats: PoolStats) -> dict[str, int]:
    """Those that are not 0."""
    names = ("opened", "reused", "stale", "failed", "recycled", "open", "idle", "in_use", "waiting")
    return {name: count for name in names if (count := getattr(stats, name))}


async def at_once(pool: ConnectionPool, server: Socket, requests: int) -> None:
    assert await asyncio.gather(*(post(pool, server) for _ in range(requests))) == [b"ok"] * requests


async def test_a_kept_connection_carries_one_request_after_the_other(server):
    async with opened() as pool:
        assert counts(pool.stats()) == {}
        assert pool.stats().reuse == 0.0
        for _ in range(10):
            assert await post(pool, server) == b"ok"
        assert counts(pool.stats()) == {"opened": 1, "reused": 9, "open": 1, "idle": 1}
        assert pool.stats().reuse == 0.9


async def test_without_keep_alive_each_request_has_its_own(server):
    async with opened(keep_alive=False, max_age_s=1e-9) as pool:
        for _ in range(3):
            assert await post(pool, server) == b"ok"
        await server.until(lambda: server.gone == {1, 2, 3})
        assert counts(pool.stats()) == {"opened": 3}


async def test_an_idle_connection_is_closed(server):
    async with opened(keep_alive_s=0.02) as pool:
        await at_once(pool, server, 3)
        await server.until(lambda: server.gone == {1, 2, 3})
        assert counts(pool.stats()) == {"opened": 3}


async def test_a_connection_in_use_is_no_idle_one(server):
    server.script = lambda connection, request: [CHUNKED]
    async with opened(keep_alive_s=0.02) as pool:
        answer = await pool.post(server.url, b"", {}, ORIGIN)
        assert counts(pool.stats()) == {"opened": 1, "open": 1, "in_use": 1}
        server.send(1, b"2\r\nok\r\n0\r\n\r\n")
        assert await answer.body(10) == b"ok"
        assert counts(pool.stats()) == {"opened": 1, "open": 1, "idle": 1}
        answer.close()
        assert pool.stats().in_use == 0, "an answer ends once"


async def test_an_answer_that_is_left_takes_its_connection_along(server):
    server.script = lambda connection, request: [CHUNKED]
    async with opened() as pool:
        answer = await pool.post(server.url, b"", {}, ORIGIN)
        answer.close()
        await server.until(lambda: server.gone == {1})
        assert counts(pool.stats()) == {"opened": 1}


async def test_connections_are_given_up_by_age(server):
    async with opened(max_age_s=1e-9) as pool:
        for _ in range(3):
            assert await post(pool, server) == b"ok"
        await server.until(lambda: server.gone == {1, 2})
        assert server.requests == [(1, 1), (2, 1), (3, 1)]
        assert counts(pool.stats()) == {"opened": 3, "recycled": 2, "open": 1, "idle": 1}


async def test_one_stale_connection_retires_all_that_were_kept_beside_it(server):
    async with opened() as pool:
        await at_once(pool, server, 5)
        # As if the server had been restarted: nothing of before is known there.
        server.script = lambda connection, request: [OK] if connection > 5 else [None]
        for _ in range(3):
            assert await post(pool, server) == b"ok"
        await server.until(lambda: server.gone >= {1, 2, 3, 4, 5})
        asked_in_vain = [(connection, request) for connection, request in server.requests if request == 2]
        assert len(asked_in_vain) == 2, "one before the server came back, and one on a new connection"
        assert pool.stats().stale == 1
        assert pool.stats().recycled == 1


async def test_requests_that_find_their_connections_stale_together_are_all_answered(server):
    async with opened() as pool:
        await at_once(pool, server, 5)
        server.script = lambda connection, request: [OK] if connection > 5 else [None]
        await at_once(pool, server, 5)
        await at_once(pool, server, 5)
        assert (pool.stats().stale, pool.stats().recycled, pool.stats().failed) == (5, 1, 0)
        assert pool.stats().reuse == 0.0


async def test_a_stale_connection_counts_also_where_the_library_asks_again_by_itself(server):
    server.script = lambda connection, request: [OK] if request == 1 else [None]
    async with opened() as pool:
        for _ in range(2):
            fetched = await pool.fetch("GET", server.url, ORIGIN, timeout_s=1.0)
            assert fetched.body == b"ok"
        assert server.requests == [(1, 1), (1, 2), (2, 1)]
        assert (pool.stats().opened, pool.stats().stale, pool.stats().recycled) == (2, 1, 1)


async def test_a_connection_that_breaks_takes_the_idle_ones_along_and_no_answer_under_way(server):
    async with opened() as pool:
        await at_once(pool, server, 3)
        server.script = lambda connection, request: [CHUNKED]
        running = await pool.post(server.url, b"", {}, ORIGIN)
        (carrier, _) = server.requests[-1]
        server.script = lambda connection, request: list(TORN)
        with pytest.raises(BackendError) as caught:
            await post(pool, server)
        assert caught.value.kind == "interrupted"
        assert (pool.stats().failed, pool.stats().recycled) == (1, 1)
        server.script = lambda connection, request: [OK]
        assert await post(pool, server) == b"ok"
        assert server.requests[-1] == (4, 1), "no request more on what is given up"
        server.send(carrier, b"2\r\nok\r\n0\r\n\r\n")
        assert await running.body(10) == b"ok"
        await server.until(lambda: server.gone == {1, 2, 3})
        assert counts(pool.stats()) == {
            "opened": 4,
            "reused": 2,
            "failed": 1,
            "recycled": 1,
            "open": 1,
            "idle": 1,
        }


async def test_a_server_that_is_gone_closes_what_is_kept_of_it(server):
    async with opened() as pool:
        await at_once(pool, server, 2)
        with pytest.raises(BackendError) as caught:
            await pool.post("http://127.0.0.1:1", b"", {}, ORIGIN)
        assert caught.value.kind == "connect"
        await server.until(lambda: server.gone == {1, 2})
        with pytest.raises(BackendError):
            await pool.post("http://127.0.0.1:1", b"", {}, ORIGIN)
        # With nothing kept there is nothing to give up.
        assert counts(pool.stats()) == {"opened": 2, "failed": 2, "recycled": 1}


async def test_closing_breaks_off_what_is_under_way_and_blames_no_server(server):
    server.script = lambda connection, request: [CHUNKED] if connection == 1 else []
    pool = ConnectionPool("local", ConnectionConfig())
    answer = await pool.post(server.url, b"", {}, ORIGIN)
    pending = [asyncio.create_task(pool.post(server.url, b"", {}, ORIGIN)), asyncio.create_task(answer.burst())]
    while len(server.requests) < 2:  # noqa: ASYNC110  (the server has no more to tell)
        await asyncio.sleep(0)
    await pool.aclose()
    await pool.aclose()
    for task, kind in zip(pending, ("reset", "interrupted"), strict=True):
        with pytest.raises(BackendError) as caught:
            await task
        assert caught.value.kind == kind
    with pytest.raises(BackendError):
        await answer.burst()
    await server.until(lambda: server.gone == {1, 2})
    assert counts(pool.stats()) == {"opened": 2}


async def test_closing_at_any_turn_of_the_loop_leaves_no_request_hanging(server):
    server.script = lambda connection, request: [CHUNKED]
    ended: set[str] = set()
    for turns in range(60):
        pool = ConnectionPool("local", ConnectionConfig())
        task = asyncio.create_task(post(pool, server))
        for _ in range(turns):
            await asyncio.sleep(0)
        await pool.aclose()
        with pytest.raises(BackendError) as caught:
            await task
        ended.add(caught.value.kind)
        assert (pool.stats().open, pool.stats().in_use, pool.stats().failed) == (0, 0, 0)
    assert ended == {"reset", "interrupted"}, "before the answer's headers, and after them"


@pytest.mark.parametrize("moment", ["connecting", "waiting for the answer"])
async def test_a_request_that_is_cancelled_holds_nothing(server, moment):
    server.script = lambda connection, request: []
    async with opened() as pool:
        task = asyncio.create_task(pool.post(server.url, b"", {}, ORIGIN))
        reached: Callable[[], bool] = {
            "connecting": lambda: pool.stats().open == 1,
            "waiting for the answer": lambda: bool(server.requests),
        }[moment]
        while not reached():  # noqa: ASYNC110  (nobody tells)
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while pool.stats().open:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert pool.stats().in_use == 0


async def test_streams_that_wait_for_a_slot_are_counted(server):
    async with opened(max_connections=1) as pool:

        async def wait(wait_s: float) -> int:
            async with pool.slot(ORIGIN, wait_s):
                return pool.stats().waiting

        async with pool.slot(ORIGIN, 1.0):
            waiters = [asyncio.create_task(wait(1.0)) for _ in range(2)]
            await asyncio.sleep(0)
            assert (pool.stats().waiting, pool.stats().max_connections) == (2, 1)
            with pytest.raises(BackendError, match="max_connections"):
                await wait(0.01)
        assert await asyncio.gather(*waiters) == [1, 0]


async def test_a_server_that_closes_after_each_streamed_answer_costs_one_reconnect_in_two_requests(server):
    server.script = lambda connection, request: [STREAM] if request == 1 else [None]
    pools = PoolManager()
    backend = OpenAICompatBackend("local", server.url, pools=pools, deadlines=Deadlines())
    for _ in range(10):
        call = ChatCall("m", "m", [{"role": "user", "content": "Hi"}])
        events = [event async for event in backend.stream(call)]
        assert [type(event) for event in events] == [TextDelta, Ended]
    (stats,) = pools.stats()
    assert (stats.stale, stats.failed) == (5, 0)
    assert [request for _, request in server.requests] == [1, 2, 1] * 5
    await backend.aclose()


Addresses = list[str]


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], list[str]]:
    """Lets the running loop look up hosts by what is given; returns the list of hosts that are looked up."""

    def set_up(answer: Callable[[], Any]) -> list[str]:
        asked: list[str] = []

        async def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
            asked.append(host)
            kinds = {"::1": socket.AF_INET6}
            addresses = await answer()
            return [
                (kinds.get(address, socket.AF_INET), socket.SOCK_STREAM, 6, "", (address, port))
                for address in addresses
            ]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        return asked

    return set_up


async def at_loopback() -> Addresses:
    return ["127.0.0.1"]


def named(server: Socket) -> str:
    return server.url.replace("127.0.0.1", "models.test")


async def test_the_connect_deadline_covers_a_slow_lookup(server, resolved):
    never = asyncio.Event()

    async def hangs() -> Addresses:
        await never.wait()
        return []

    resolved(hangs)
    before = asyncio.all_tasks()
    async with opened(connect_s=0.05) as pool:
        with pytest.raises(BackendError, match=r"0\.05 s") as caught:
            await pool.post(named(server), b"", {}, ORIGIN)
        assert caught.value.kind == "timeout"
        assert counts(pool.stats()) == {"failed": 1}
    assert asyncio.all_tasks() == before


async def test_an_unknown_host_is_no_connection(server, resolved):
    async def unknown() -> Addresses:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    resolved(unknown)
    async with opened() as pool:
        with pytest.raises(BackendError, match="not known") as caught:
            await pool.post(named(server), b"", {}, ORIGIN)
        assert caught.value.kind == "connect"


async def test_a_host_is_looked_up_once_for_many_and_anew_after_a_failure(server, resolved):
    asked = resolved(at_loopback)
    url = named(server)
    async with opened() as pool:
        await asyncio.gather(*(post(pool, server, url=url) for _ in range(5)))
        assert (pool.stats().opened, len(asked)) == (5, 1)
        server.script = lambda connection, request: list(TORN)
        with pytest.raises(BackendError):
            await post(pool, server, url=url)
        server.script = lambda connection, request: [OK]
        assert await post(pool, server, url=url) == b"ok"
        assert len(asked) == 2


async def test_the_next_address_is_tried_where_the_first_refuses(server, resolved):
    async def two() -> Addresses:
        return ["::1", "127.0.0.1"]

    resolved(two)
    async with opened() as pool:
        assert await post(pool, server, url=named(server)) == b"ok"
        assert counts(pool.stats()) == {"opened": 1, "open": 1, "idle": 1}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is no address of this machine")
async def test_the_next_address_is_tried_beside_one_that_does_not_answer(server, resolved):
    async def two() -> Addresses:
        return ["127.0.0.2", "127.0.0.1"]

    resolved(two)
    port = int(server.url.rpartition(":")[2])
    with socket.socket() as deaf, socket.socket() as first, socket.socket() as second:
        deaf.bind(("127.0.0.2", port))
        deaf.listen(0)  # one connection fills its queue; who comes later gets no answer
        first.connect(("127.0.0.2", port))
        second.setblocking(False)
        second.connect_ex(("127.0.0.2", port))
        async with opened(connect_s=2.0) as pool:
            assert await post(pool, server, url=named(server)) == b"ok"
            assert pool.stats().opened == 1
            assert pool.stats().open == 1, "the one that lost is closed"
