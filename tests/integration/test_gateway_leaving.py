"""M24 and M25 at the gateway: clients that leave, and clients that stop reading, seen from the model's server."""

from __future__ import annotations

import asyncio
import socket
import time
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from conductor_kit import BookkeepingRouter, OpenConductor, config_text
from gateway_support import CHAT, HELLO, client_of, gateway_over
from leaving import CLOSED_WITHIN_S, SERVED_PHASES, prepared, until_held, within_turns
from yarl import URL

from modelway.gateway import relay
from modelway.gateway.write_timeout import WriteTimeout
from modelway.testing import MockModelConfig, MultiModelMockBackend

PIECE = "~" * 16_384
PIECES = 8_000  # 125 MiB, far more than sockets hold
MIB = 1 << 20


def body(stream: bool) -> dict[str, Any]:
    return {"model": "auto:code", "messages": HELLO, "stream": stream}


@pytest.mark.parametrize("mode", ["streaming", "whole"])
@pytest.mark.parametrize("path", [CHAT, "/api/chat"])
@pytest.mark.parametrize("phase", SERVED_PHASES)
async def test_m24_a_client_that_leaves_closes_the_upstream_within_100_ms(server, open_conductor, phase, path, mode):
    conductor = open_conductor(prepared(server, phase))
    async with gateway_over(conductor) as url, client_of(url) as client:

        async def ask() -> None:
            async with client.post(path, json=body(mode == "streaming")) as response:
                await response.read()

        took_s = []
        for round_ in range(3):
            server.request_history.clear()
            server.path_counts.clear()
            askers = [asyncio.create_task(ask())]
            if phase == "queued":
                await server.wait_for(lambda: bool(server.request_history))
                askers.append(asyncio.create_task(ask()))
            await until_held(server, phase, conductor)
            left_at = time.monotonic()
            for asker in askers:
                asker.cancel()
            await server.wait_for(lambda: not any(record.running for record in server.request_history))
            took_s.append(max(record.ended or 0.0 for record in server.request_history) - left_at)
            await asyncio.gather(*askers, return_exceptions=True)
            left = (round_ + 1) * len(askers)
            await within_turns(lambda left=left: len(conductor.history) == left, turns=1_000)
            assert server.request_history[-1].cancelled
    assert min(took_s) <= CLOSED_WITHIN_S
    assert {record.outcome for record in conductor.history} == {"cancelled"}
    assert isinstance(conductor.router, BookkeepingRouter)
    conductor.router.check_books()


# --- clients that do not read


@pytest.fixture
async def long_winded() -> AsyncIterator[MultiModelMockBackend]:
    """Thinks for long: thoughts are handed on and not kept, so that all memory that grows is buffers."""
    async with MultiModelMockBackend({"code-model": MockModelConfig(thinking=[PIECE] * PIECES, reply="so")}) as server:
        yield server


@pytest.fixture
def watches(monkeypatch: pytest.MonkeyPatch) -> list[WriteTimeout]:
    """What watches the gateway's writes."""
    made: list[WriteTimeout] = []

    class Noted(WriteTimeout):
        def __init__(self, *terms: Any) -> None:
            super().__init__(*terms)
            made.append(self)

    monkeypatch.setattr(relay, "WriteTimeout", Noted)
    return made


@asynccontextmanager
async def asking(url: str, stream: bool = True) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """The connection of a client that has asked and reads no more than it is told to."""
    address = URL(url)
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)  # or the system would read for it
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, (address.host, address.port))
    reader, writer = await asyncio.open_connection(sock=raw, limit=2_048)
    data = orjson.dumps(body(stream))
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(data)}"
    writer.write(f"{head}\r\n\r\n".encode() + data)
    try:
        yield reader, writer
    finally:
        writer.close()


async def until_stuck(server: MultiModelMockBackend, watches: list[WriteTimeout]) -> int:
    """Return once the gateway can't write and the server behind it can't either; the pieces it has sent."""
    sent = -1
    while not (watches and watches[0].is_writing and server.request_history[0].pieces_sent == sent):
        sent = server.request_history[0].pieces_sent if server.request_history else -1
        stop_looking = asyncio.Event()
        asyncio.get_running_loop().call_later(0.03, stop_looking.set)  # all that runs, runs in this loop
        await stop_looking.wait()
    return sent


async def rest_of(reader: asyncio.StreamReader) -> int:
    """How much more comes until the connection is closed."""
    size = 0
    try:
        while data := await reader.read(MIB):
            size += len(data)
    except ConnectionError:
        pass
    return size


async def test_m25_a_client_that_stops_reading_stops_the_upstream_and_memory_stays_bounded(
    long_winded: MultiModelMockBackend, open_conductor: OpenConductor, watches: list[WriteTimeout]
) -> None:
    gate = long_winded.hold("code-model", after=1)
    async with gateway_over(open_conductor(config_text(long_winded.url))) as url, asking(url):
        await long_winded.wait_for(lambda: gate.waiting == 1)  # by then the mock has made up its whole answer
        tracemalloc.start()
        try:
            gate.release()
            sent = await until_stuck(long_winded, watches)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    await long_winded.wait_for(lambda: long_winded.request_history[0].cancelled)
    assert 0 < sent < PIECES / 2, "the sockets of two connections hold some MiB"
    assert long_winded.request_history[0].pieces_sent < PIECES / 2
    # In one process: the gateway's buffers, and those of the server and the client beside it.
    assert peak < MIB


async def test_m25_a_client_that_reads_on_gets_all_of_it(
    open_conductor: OpenConductor, watches: list[WriteTimeout]
) -> None:
    pieces = 1_500
    model = MockModelConfig(thinking=[PIECE] * pieces, reply="the end")
    async with (
        MultiModelMockBackend({"code-model": model}) as server,
        gateway_over(open_conductor(config_text(server.url))) as url,
        asking(url) as (reader, _),
    ):
        assert await until_stuck(server, watches) < pieces
        size, tail = 0, b""
        while b"data: [DONE]" not in tail:
            data = await reader.read(MIB)
            size += data.count(b"~")
            tail = (tail + data)[-200:]
        assert size == pieces * len(PIECE)
        assert server.request_history[0].finished


async def test_m25_after_the_write_timeout_both_connections_are_closed(
    long_winded: MultiModelMockBackend, open_conductor: OpenConductor, watches: list[WriteTimeout]
) -> None:
    conductor = open_conductor(config_text(long_winded.url, more="[server]\nwrite_timeout_ms = 150\n"))
    async with gateway_over(conductor) as url, asking(url) as (reader, _):
        await long_winded.wait_for(
            lambda: bool(long_winded.request_history) and long_winded.request_history[0].cancelled
        )
        assert long_winded.request_history[0].pieces_sent < PIECES / 2
        assert await rest_of(reader) < PIECES / 2 * len(PIECE)
        await within_turns(lambda: len(conductor.history) == 1, turns=1_000)
        assert conductor.history[0].outcome == "cancelled"
        assert conductor.router.health("code-model").failures == 0
    assert len(watches) == 1


async def test_m25_a_whole_answer_that_nobody_reads_is_given_up_too(
    open_conductor: OpenConductor, watches: list[WriteTimeout]
) -> None:
    model = MockModelConfig(reply=[PIECE] * 1_500)
    more = "[server]\nwrite_timeout_ms = 150\n"
    async with (
        MultiModelMockBackend({"code-model": model}) as server,
        gateway_over(open_conductor(config_text(server.url, more=more))) as url,
        asking(url, stream=False) as (reader, _),
    ):
        await server.wait_for(lambda: bool(server.request_history) and server.request_history[0].finished)
        while not (watches and watches[0].has_given_up):  # noqa: ASYNC110  (a closed connection tells nobody here)
            await asyncio.sleep(0.005)
        assert await rest_of(reader) < 1_500 * len(PIECE)


class Transport:
    def __init__(self) -> None:
        self.aborted = asyncio.Event()

    def abort(self) -> None:
        self.aborted.set()


async def test_only_a_write_that_is_stuck_ends_the_connection() -> None:
    transport = Transport()
    loop = asyncio.get_running_loop()
    with WriteTimeout(transport, 0.02) as watch:  # type: ignore[arg-type]
        began = loop.time()
        while loop.time() < began + 0.1:
            watch.begin()
            watch.end()
            await asyncio.sleep(0)
        assert not transport.aborted.is_set(), "many writes, none of them stuck"
        stuck_at = loop.time()
        watch.begin()
        await transport.aborted.wait()
        assert loop.time() - stuck_at >= 0.02


async def test_nothing_is_watched_when_the_writes_are_over() -> None:
    transport = Transport()
    with WriteTimeout(transport, 0.01) as watch:  # type: ignore[arg-type]
        watch.begin()
    past = asyncio.Event()
    asyncio.get_running_loop().call_later(0.03, past.set)
    await past.wait()
    assert not transport.aborted.is_set()
