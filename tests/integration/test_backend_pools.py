"""Connections, against a server that is nothing but a socket: stale ones, broken ones, wrong ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from socket_kit import OK, ORIGIN, Socket, post

from modelway.backends.base import ChatCall, Deadlines
from modelway.backends.openai_compat import OpenAICompatBackend
from modelway.errors import BackendError
from modelway.events import Ended, TextDelta
from modelway.pools import ConnectionConfig, ConnectionPool, PoolManager


@pytest.fixture
async def server() -> AsyncIterator[Socket]:
    server = Socket()
    await server.start()
    yield server
    await server.aclose()


@pytest.fixture
async def pool() -> AsyncIterator[ConnectionPool]:
    pool = ConnectionPool("local", ConnectionConfig())
    yield pool
    await pool.aclose()


async def test_a_stale_connection_costs_one_silent_retry(server, pool):
    # The second request on any connection finds it closed.
    server.script = lambda connection, request: [OK] if request == 1 else [None]
    for _ in range(3):
        assert await post(pool, server) == b"ok"
    # One pooled connection, its stale second use, and a fresh one that is not kept; and so on.
    assert server.requests == [(1, 1), (1, 2), (2, 1), (3, 1)]


async def test_the_retry_is_one(server, pool):
    server.script = lambda connection, request: [OK if (connection, request) == (1, 1) else None]
    assert await post(pool, server) == b"ok"
    with pytest.raises(BackendError) as caught:
        await post(pool, server)
    assert caught.value.kind == "reset"
    assert server.requests == [(1, 1), (1, 2), (2, 1)]


async def test_a_fresh_connection_that_breaks_is_not_retried(server, pool):
    server.script = lambda connection, request: [None]
    with pytest.raises(BackendError) as caught:
        await post(pool, server)
    assert caught.value.kind == "reset"
    assert server.requests == [(1, 1)]


async def test_no_retry_once_a_byte_of_the_answer_came(server, pool):
    server.script = lambda connection, request: [OK] if request == 1 else [b"HTTP/1.1 200 OK\r\nContent-Le", None]
    assert await post(pool, server) == b"ok"
    with pytest.raises(BackendError) as caught:
        await post(pool, server)
    assert caught.value.kind == "reset"
    assert server.requests == [(1, 1), (1, 2)]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: oops\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok", "malformed"),
    ],
)
async def test_what_is_no_plain_http_is_malformed(server, pool, answer, kind):
    server.script = lambda connection, request: [answer]
    with pytest.raises(BackendError) as caught:
        await post(pool, server)
    assert caught.value.kind == kind


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(server, pool, status):
    head = f"HTTP/1.1 {status} Moved\r\nLocation: {server.url}/elsewhere\r\nContent-Length: 0\r\n\r\n"
    server.script = lambda connection, request: [head.encode()]
    answer = await pool.post(server.url, b"secret", {}, ORIGIN)
    assert answer.status == status
    assert len(server.requests) == 1
    answer.close()


async def test_no_proxy_of_the_environment_is_asked(server, pool, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert await post(pool, server) == b"ok"


async def test_requests_ask_for_no_compression_and_bring_no_cookies_back(server, pool):
    server.script = lambda connection, request: [OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=b\r\n\r\n")]
    await post(pool, server)
    await post(pool, server)
    for head in server.heads:
        assert b"Accept-Encoding: identity\r\n" in head
        assert b"User-Agent: modelway\r\n" in head
        assert b"Cookie" not in head


async def test_what_had_come_is_read_before_the_break_is_told(server, pool):
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    server.script = lambda connection, request: [head, b"5\r\nhello\r\n", None]
    answer = await pool.post(server.url, b"", {}, ORIGIN)
    while answer._response.content.exception() is None:  # noqa: ASYNC110  (the client library tells nobody)
        await asyncio.sleep(0)
    assert await answer.burst() == b"hello"
    for _ in range(2):
        with pytest.raises(BackendError) as caught:
            await answer.burst()
        assert caught.value.kind == "interrupted"
    answer.close()


async def test_the_connect_deadline_covers_tls(server):
    pool = ConnectionPool("local", ConnectionConfig(connect_s=0.1))
    with pytest.raises(BackendError, match=r"0\.1 s") as caught:
        await pool.post(server.url.replace("http:", "https:"), b"", {}, ORIGIN)
    assert caught.value.kind == "timeout"
    await pool.aclose()
    await server.client_gone.wait()


async def test_tls_to_a_server_without_it_is_no_connection(server, pool):
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    plain = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = plain.sockets[0].getsockname()[1]
    with pytest.raises(BackendError, match="TLS") as caught:
        await pool.post(f"https://127.0.0.1:{port}", b"", {}, ORIGIN)
    assert caught.value.kind == "connect"
    plain.close()


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http://", "nonsense"])
async def test_an_address_that_is_none(pool, url):
    with pytest.raises(BackendError, match="url") as caught:
        await pool.post(url, b"", {}, ORIGIN)
    assert caught.value.kind == "connect"


async def test_a_short_request_has_a_deadline_for_all_of_it(server, pool):
    server.script = lambda connection, request: [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhal"]
    with pytest.raises(BackendError, match=r"0\.1 s") as caught:
        await pool.fetch("GET", server.url, ORIGIN, timeout_s=0.1)
    assert caught.value.kind == "timeout"
    await server.client_gone.wait()


async def test_no_error_carries_the_key_or_the_answer(server, pool):
    secret = "CANARY-5e1f"
    bad = [b"HTTP/1.1 200 OK\r\nContent-Length: CANARY-5e1f\r\n\r\n"]
    torn = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nCANARY-5e1f\r\n", None]
    for script in (bad, torn, [None]):
        server.script = lambda connection, request, script=script: script
        with pytest.raises(BackendError) as caught:
            await post(pool, server, secret.encode(), secret)
        error = caught.value
        assert secret not in f"{error!r} {error.detail} {error.__cause__!r} {error.__context__!r}"


async def test_an_answer_that_goes_on_after_its_end_is_let_go(server):
    body = b'data: {"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    server.script = lambda connection, request: [head + body]
    pools = PoolManager()
    backend = OpenAICompatBackend("local", server.url, pools=pools, deadlines=Deadlines())
    call = ChatCall("m", "m", [{"role": "user", "content": "Hi"}])
    events = [event async for event in backend.stream(call)]
    assert [type(event) for event in events] == [TextDelta, Ended]
    # The server never ends the body; it is not waited for.
    await server.client_gone.wait()
    await pools.aclose()


@pytest.mark.parametrize("end", [None, b""], ids=["broken off", "never ends"])
async def test_a_refusal_counts_also_where_its_explanation_does_not_come(server, end):
    head = b"HTTP/1.1 429 Slow Down\r\nRetry-After: 7\r\nContent-Length: 100\r\n\r\n{"
    server.script = lambda connection, request: [head, end]
    pools = PoolManager()
    deadlines = Deadlines(first_token_s=0.1)
    backend = OpenAICompatBackend("local", server.url, pools=pools, deadlines=deadlines)
    with pytest.raises(BackendError) as caught:
        await anext(backend.stream(ChatCall("m", "m", [{"role": "user", "content": "Hi"}])))
    assert (caught.value.kind, caught.value.retry_after_s) == ("rate_limited", 7.0)
    await pools.aclose()


async def test_owners_of_one_name_do_not_close_each_others_pool(server):
    server.script = lambda connection, request: [OK]
    pools = PoolManager()
    one, two = pools.pool("local"), pools.pool("local", ConnectionConfig(max_connections=2))
    assert await post(one, server) == await post(two, server) == b"ok"
    assert [(stats.name, stats.max_connections, stats.opened) for stats in pools.stats()] == [
        ("local", 0, 1),
        ("local", 2, 1),
    ]
    await one.aclose()
    await server.client_gone.wait()
    assert await post(two, server) == b"ok"
    assert server.requests == [(1, 1), (2, 1), (2, 2)]
    assert [stats.max_connections for stats in pools.stats()] == [2]
    await pools.aclose()
    await pools.aclose()
    assert pools.stats() == []


async def test_a_closed_pool_refuses_and_opens_nothing(server, pool):
    await pool.aclose()
    with pytest.raises(BackendError, match="closed") as caught:
        await post(pool, server)
    assert caught.value.kind == "reset"
    assert server.requests == []
