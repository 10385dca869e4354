"""Sending one answer: headers, records one by one, and the fault where it strikes.

The records of an answer are a list: its pieces, then the closing one. Every fault is an act at one place
of that list, so the same code serves both protocols, streamed or whole.
"""

from __future__ import annotations

import asyncio
import enum
import socket
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import chain, repeat

from aiohttp import web

from modelway.backends.mock.config import MockModelConfig
from modelway.backends.mock.faults import Fault, FaultKind
from modelway.backends.mock.history import Gate, ModelRequest
from modelway.backends.mock.wire import Answer, Ask, Dialect, Timing

#: What llama.cpp's server announces, also where it closes the connection after the answer.
KEEP_ALIVE = {"Keep-Alive": "timeout=5, max=100"}


class _Then(enum.Enum):
    """What a fault leaves to do."""

    SEND = enum.auto()  # the record that was due
    SKIP = enum.auto()  # the record after it
    STOP = enum.auto()  # nothing but the end of the body


_CHARACTER = "é".encode()

#: How many tiny records leave in one packet at most: a million writes would take minutes.
_TINY_AT_ONCE = 10_000

#: Faults that put many records of no weight before the one that was due, and what each of them is.
_TINY: dict[FaultKind, Callable[[Dialect], bytes]] = {
    FaultKind.TINY_RECORDS: lambda dialect: dialect.text("x"),
    FaultKind.BLANK_LINES: lambda dialect: b"\n",
}

#: Faults that end the body, and what is written before the end.
_LAST_WORDS: dict[FaultKind, Callable[[Dialect, Fault], bytes]] = {
    FaultKind.END_WITHOUT_DONE: lambda dialect, fault: b"",
    FaultKind.ERROR_RECORD: lambda dialect, fault: dialect.failure(fault.message or "the model runner has failed"),
    FaultKind.CUT_UTF8: lambda dialect, fault: dialect.text("é").partition(_CHARACTER)[0] + _CHARACTER[:1],
}

#: Faults that put a record of their own in the place of the one that was due.
_BAD_RECORDS: dict[FaultKind, Callable[[Dialect, Fault], bytes]] = {
    FaultKind.MALFORMED_RECORD: lambda dialect, fault: dialect.malformed(),
    FaultKind.WRONG_TYPE: lambda dialect, fault: dialect.wrong_type(),
    FaultKind.INVALID_UTF8: lambda dialect, fault: dialect.text("é").replace(_CHARACTER, _CHARACTER[:1]),
    FaultKind.GIANT_RECORD: lambda dialect, fault: dialect.text("x" * fault.bytes_to_send),
}


async def break_off(request: web.Request, record: ModelRequest, *, reset: bool) -> None:
    """End the connection, by a TCP reset or else a plain close. Ends only by the cancellation that follows."""
    record.reset = True
    if request.transport is not None:
        if reset:
            # Lingering for 0 seconds makes close() send RST where it would send FIN.
            raw: socket.socket = request.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request.transport.abort()
        else:
            request.transport.close()
    await asyncio.get_running_loop().create_future()


async def trickle_headers(request: web.Request, interval_s: float) -> None:
    """Begin an answer that never gets past its headers. Ends only by the cancellation when the client leaves."""
    for byte in chain(b"HTTP/1.1 200 OK\r\nX-Slow: ", repeat(ord("x"))):
        if request.transport is not None:
            request.transport.write(bytes([byte]))
        await asyncio.sleep(interval_s)


@dataclass(slots=True)
class Delivery:
    """One answer on its way to one client.

    ``gates`` are asked before each record, so that one set up in mid-stream still holds; ``stalled`` is
    where the requests wait that a fault stalls.
    """

    request: web.Request
    record: ModelRequest
    config: MockModelConfig
    ask: Ask
    fault: Fault | None
    gates: Callable[[], Iterable[Gate]]
    stalled: Gate
    note: Callable[[], None]
    close_after_stream: bool
    timing: Timing
    _response: web.StreamResponse = field(default_factory=web.StreamResponse)
    _unsent: bytearray = field(default_factory=bytearray)

    async def send(self, answer: Answer) -> web.StreamResponse:
        """Send the answer, or what its fault lets through. Raises ``ConnectionError`` if the client left."""
        if self.fault is not None and self.fault.kind is FaultKind.EMPTY_ANSWER:
            answer = Answer([], [], (), answer.prompt_tokens)
        await asyncio.sleep(self.config.ttft_s)
        pieces = self.ask.dialect.pieces(answer) if self.ask.stream else []
        for index in range(len(pieces) + 1):
            await self._pass_gates(index, len(pieces))
            await self._begin()
            due = pieces[index] if index < len(pieces) else None
            then = _Then.SEND
            if self.fault is not None and index == min(self.fault.after, len(pieces)):
                then = await self._strike(self.fault, due, answer)
            if then is _Then.STOP:
                break
            if then is _Then.SEND:
                await (self._close(answer) if due is None else self._piece(due))
        await self._end()
        return self._response

    async def _pass_gates(self, index: int, last: int) -> None:
        for gate in self.gates():
            if gate.model in {None, self.record.model} and index == min(gate.after, last):
                await gate.pass_through(self.record)

    async def _begin(self) -> None:
        """Headers leave with the first record, as a real server's do."""
        if self._response.prepared:
            return
        self.timing.first_piece = time.perf_counter_ns()
        self.record.status = 200
        self._response.headers.update(KEEP_ALIVE)
        usual = self.ask.dialect.content_type if self.ask.stream else "application/json; charset=utf-8"
        match self.fault:
            case Fault(kind=FaultKind.WRONG_CONTENT_TYPE, content_type=kind):
                usual = kind or "text/plain"
            case Fault(kind=FaultKind.HUGE_HEADER, bytes_to_send=size):
                self._response.headers["X-Padding"] = "x" * size
        self._response.headers["Content-Type"] = usual
        await self._response.prepare(self.request)
        if self.ask.stream:
            await self._write(self.ask.dialect.opening())

    async def _strike(self, fault: Fault, due: bytes | None, answer: Answer) -> _Then:
        self.record.struck = time.monotonic()
        dialect = self.ask.dialect
        if fault.kind in _LAST_WORDS:
            await self._write(_LAST_WORDS[fault.kind](dialect, fault))
            return _Then.STOP
        if fault.kind in _BAD_RECORDS:
            await self._write(_BAD_RECORDS[fault.kind](dialect, fault))
            return _Then.SKIP
        if fault.kind is FaultKind.TRICKLE:
            for byte in dialect.closing(answer, self.timing) if due is None else due:
                await self._write(bytes([byte]))
                await asyncio.sleep(fault.interval_s)
            return _Then.SKIP
        if fault.kind in _TINY:
            for sent in range(0, fault.count, _TINY_AT_ONCE):
                await self._write(_TINY[fault.kind](dialect) * min(_TINY_AT_ONCE, fault.count - sent))
        if fault.kind in (FaultKind.RESET_MID_STREAM, FaultKind.CLOSE_MID_STREAM):
            await break_off(self.request, self.record, reset=fault.kind is FaultKind.RESET_MID_STREAM)
        if fault.kind is FaultKind.STALL_MID_STREAM:
            await self.stalled.pass_through(self.record)
        return _Then.SEND

    async def _piece(self, piece: bytes) -> None:
        await self._write(piece)
        self.record.pieces_sent += 1
        self.note()
        if self.config.per_token_s:
            await asyncio.sleep(self.config.per_token_s)

    async def _close(self, answer: Answer) -> None:
        dialect = self.ask.dialect
        if self.ask.stream:
            await self._write(dialect.closing(answer, self.timing))
        else:
            await asyncio.sleep(self.config.per_token_s * answer.tokens)
            await self._write(dialect.whole(answer, self.timing))
        if self.fault is not None and self.fault.kind is FaultKind.DATA_AFTER_DONE:
            await self._write(dialect.text("data after the end"))

    async def _write(self, data: bytes) -> None:
        if self.fault is None or self.fault.kind is not FaultKind.REPACKETED:
            await self._response.write(data)
            return
        size = self.fault.bytes_to_send
        self._unsent += data
        while len(self._unsent) >= size:
            await self._response.write(bytes(self._unsent[:size]))
            del self._unsent[:size]
            await asyncio.sleep(0)  # lets a client in this loop read the packet by itself

    async def _end(self) -> None:
        if self._unsent:
            await self._response.write(bytes(self._unsent))
        await self._response.write_eof()
        self.record.finished = True
        if self.ask.stream and self.close_after_stream and self.request.transport is not None:
            self.request.transport.close()
