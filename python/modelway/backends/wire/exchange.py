"""One streamed request: send, frame, keep the deadlines, and leave nothing open behind.

The first-token deadline counts from when the request is sent; from the first token on, each wait for
a complete record has its own. Time in which the consumer does not ask for more never counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

from modelway.backends.base import Deadlines
from modelway.backends.wire.lines import MAX_RECORD_BYTES, Framer, RecordTooLong
from modelway.backends.wire.records import parse
from modelway.backends.wire.refusals import clean, refusal, reported
from modelway.errors import BackendError
from modelway.events import BackendEvent, Ended
from modelway.origin import Origin
from modelway.pools import MAX_REFUSAL_BYTES, Answer, ConnectionPool, Pass

#: A timer that rings so much too late does so because the process stood still, not because the server is late.
_STOOD_STILL_S = 1.0
#: How long the end of a complete answer is waited for; then its connection is not kept.
_TAIL_S = 0.05


_T = TypeVar("_T")


class Reader(Protocol):
    """Turns the records of one protocol into events."""

    done: bool

    def feed(self, record: bytes) -> Iterator[BackendEvent]:
        """The deltas of one record; sets ``done`` with the record that ends the answer."""
        ...

    def end(self) -> Ended:
        """The end; raises kind ``interrupted`` or ``empty`` where it is not a good one."""
        ...


@asynccontextmanager
async def sent(
    pool: ConnectionPool,
    origin: Origin,
    deadlines: Deadlines,
    framer: Framer,
    *,
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    egress: Pass | None = None,
) -> AsyncGenerator[Exchange, None]:
    """Send a request; its slot and its connection are given back on every way out of the block."""
    async with pool.slot(origin, deadlines.first_token_s):
        sending = asyncio.create_task(pool.post(url, body, headers, origin, egress=egress))
        try:
            yield Exchange(sending, origin, deadlines, framer)
        finally:
            if sending.cancel():
                # By callback: this wait may be cancelled, too, and the answer come all the same.
                sending.add_done_callback(_close)
                await asyncio.wait({sending})
            else:
                _close(sending)


def _close(sending: asyncio.Task[Answer]) -> None:
    if not sending.cancelled() and sending.exception() is None:
        sending.result().close()


class Exchange:
    """A request that was sent, and its answer; made by :func:`sent`."""

    def __init__(self, sending: asyncio.Task[Answer], origin: Origin, deadlines: Deadlines, framer: Framer):
        self._sending = sending
        self._origin = origin
        self._deadlines = deadlines
        self._framer = framer
        self._load_s = 0.0
        self._token_seen = False
        self._begin_wait(deadlines.first_token_s)

    def _begin_wait(self, allowed_s: float) -> None:
        self._allowed_s = allowed_s
        self._deadline = asyncio.get_running_loop().time() + allowed_s

    async def _in_time(self, read: Callable[[], Awaitable[_T]]) -> _T:
        """What ``read`` returns; it is called again where it was given up too soon, and must lose nothing by it.

        Where the process stood still (suspended, or its loop blocked), the deadline passes in the same turn of the
        loop in which data is seen that came long ago: then the wait begins anew. Raises ``TimeoutError``.
        """
        while True:
            try:
                async with asyncio.timeout_at(self._deadline):
                    return await read()
            except TimeoutError:
                overdue_s = asyncio.get_running_loop().time() - self._deadline
                if overdue_s < min(_STOOD_STILL_S, self._allowed_s / 4):
                    raise
                self._begin_wait(self._allowed_s)

    async def answers_within(self, seconds: float) -> bool:
        """Whether the answer's headers, or a failure, come within this time."""
        await asyncio.wait({self._sending}, timeout=seconds)
        return self._sending.done()

    def allow_load(self, load_s: float | None = None) -> None:
        """The server is loading the model: the first token has the time for that, too; None: as configured."""
        self._load_s = self._deadlines.load_s if load_s is None else load_s
        self._deadline += self._load_s
        self._allowed_s += self._load_s

    async def answer(self, content_types: tuple[str, ...]) -> None:
        """Wait for the answer's headers; raises what they mean if they are not a stream's."""
        try:
            # Shielded: leaving the block cancels the task, in one place.
            answer = await self._in_time(lambda: asyncio.shield(self._sending))
        except TimeoutError:
            raise self._late() from None
        if answer.status != 200:
            raise refusal(self._origin, answer.status, await self._explanation(answer), answer.headers)
        if answer.content_type not in content_types:
            raise self._no_stream(answer.content_type, await self._explanation(answer))

    async def _explanation(self, answer: Answer) -> bytes:
        """The body of an answer that is no stream, as far as it comes: its status counts without it, too."""
        try:
            async with asyncio.timeout_at(self._deadline):
                return await answer.body(MAX_REFUSAL_BYTES)
        except (TimeoutError, BackendError):
            return b""

    async def events(self, reader: Reader) -> AsyncGenerator[BackendEvent, None]:
        """Everything the answer says, its ``Ended`` last."""
        while not reader.done and (records := await self._records()) is not None:
            for record in records:
                for event in reader.feed(record):
                    self._token_seen = True
                    yield event
        ended = reader.end()
        await self._close_well()
        yield ended

    async def _records(self) -> list[bytes] | None:
        """The next complete records, None at the end of the stream."""
        answer = self._sending.result()
        if self._token_seen:
            self._begin_wait(self._deadlines.between_tokens_s)
        try:
            while burst := await self._in_time(answer.burst):
                if records := self._framer.feed(burst):
                    return records
        except TimeoutError:
            raise self._late() from None
        except RecordTooLong:
            limit = MAX_RECORD_BYTES >> 20
            raise self._origin.error("malformed", f"a record of the answer is longer than {limit} MiB") from None
        return self._framer.end() or None

    async def _close_well(self) -> None:
        """Let the connection be kept if its body ends with the answer, as it should."""
        answer = self._sending.result()
        try:
            async with asyncio.timeout(_TAIL_S):
                while burst := await answer.burst():
                    if burst.strip():
                        break
        except (TimeoutError, BackendError):
            # The answer is complete all the same.
            pass
        answer.close()

    def _late(self) -> BackendError:
        if self._token_seen:
            return self._origin.error("timeout", f"nothing more came within {self._deadlines.between_tokens_s:g} s")
        load = f" and {self._load_s:g} s for loading" if self._load_s else ""
        return self._origin.error("timeout", f"no first token within {self._deadlines.first_token_s:g} s{load}")

    def _no_stream(self, content_type: str, said: bytes) -> BackendError:
        """200, but no stream: an error object, or a page of somebody else."""
        if content_type == "application/json":
            try:
                body = parse(said)
            except ValueError:
                body = None
            if isinstance(body, dict) and body.get("error") is not None:
                return reported(self._origin, body["error"])
            return self._origin.error("malformed", "the server did not stream its answer")
        detail = clean(said.decode("utf-8", "replace"))
        what = f"the server answered with {clean(content_type)!r} instead of a stream; is the url right?"
        return self._origin.error("malformed", what, status=200, detail=detail)
