"""One inference request: the conductor's events in, one HTTP answer out.

The answer's headers name the model that served, so they wait for its first record. A client that has
waited long without one gets an early opening and comment lines, where its protocol has comments; until
the first record itself, another model may still take over.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing, suppress
from typing import Any, Protocol

import orjson
from aiohttp import web

from modelway.conductor import Conductor
from modelway.conductor.reply import Reply, reply_of
from modelway.errors import InvalidRequest
from modelway.events import ConductorMessage, FallingBack, Finished, TextDelta, ThinkingDelta, ToolCallDelta
from modelway.gateway.asked import Asked
from modelway.gateway.facts import Facts, clean
from modelway.gateway.problems import Problem, problem_of
from modelway.gateway.write_timeout import WriteTimeout

Delta = TextDelta | ThinkingDelta | ToolCallDelta

#: Milliseconds that the client gives the first token.
DEADLINE_HEADER = "x-modelway-deadline-ms"
PREFER_WARM_HEADER = "x-modelway-prefer-warm"

#: Seconds between two comment lines of a stream that waits for its first record.
NOTICE_EVERY_S = 5.0


class Framing(Protocol):
    """How a protocol writes one answer. ``b""`` where it has nothing to say."""

    content_type: str
    #: Whether a stream may hold comments, and so be opened before its first record.
    has_comments: bool

    def first(self, model: str) -> bytes:
        """What precedes the first record."""
        ...

    def delta(self, event: Delta, model: str) -> bytes: ...

    def end(self, finished: Finished, facts: Facts) -> bytes: ...

    def failure(self, problem: Problem) -> bytes:
        """The last record of an answer that broke off."""
        ...

    def comment(self, text: str) -> bytes: ...

    def whole(self, reply: Reply, finished: Finished, facts: Facts) -> dict[str, Any]:
        """The answer of a request that asked for no stream."""
        ...


class _ClientLeft(Exception):
    """The client closed its connection while we wrote."""


async def relay(
    request: web.Request, conductor: Conductor, asked: Asked, framing: Framing, facts: Facts
) -> web.StreamResponse:
    """Answer ``asked``. Raises the conductor's errors, and those of wrong headers, where nothing has been sent yet.

    However it ends, also when aiohttp cancels it because the client left or does not read, the conductor's stream is
    closed, and with it the upstream connection.
    """
    events = conductor.stream(
        asked.messages,
        task=asked.task,
        model=asked.model,
        tools=asked.tools,
        options=asked.options,
        extra=asked.extra,
        extra_protocol=asked.extra_protocol,
        user=asked.user,
        deadline_ms=deadline_ms(request.headers.getall(DEADLINE_HEADER, [])),
        prefer_warm=prefer_warm(request.headers.getall(PREFER_WARM_HEADER, [])),
        request_id=facts.request_id,
    )
    server = conductor.settings.server
    async with aclosing(events):
        with WriteTimeout(request.transport, server.write_timeout_ms / 1000) as watch:
            if not asked.stream:
                return await _send_whole(request, await _whole(events, framing, facts), watch)
            return await _Stream(request, framing, facts, server.notice_after_ms / 1000, watch).send(events)


def deadline_ms(values: Sequence[str]) -> int | None:
    """What the client's header says, given with all its values. Raises :class:`InvalidRequest`."""
    if not values:
        return None
    if len(values) > 1 or not re.fullmatch("[0-9]{1,9}", values[0]) or int(values[0]) == 0:
        given = clean(", ".join(values), 40)
        raise InvalidRequest(f"{DEADLINE_HEADER}: {given!r} given; it must be one whole number of milliseconds above 0")
    return int(values[0])


def prefer_warm(values: Sequence[str]) -> bool | None:
    """What the client's header says, given with all its values. Raises :class:`InvalidRequest`."""
    if not values:
        return None
    if len(values) > 1 or values[0] not in ("true", "false"):
        raise InvalidRequest(f"{PREFER_WARM_HEADER}: {clean(', '.join(values), 40)!r} given; it must be true or false")
    return values[0] == "true"


async def _whole(events: AsyncGenerator[ConductorMessage, None], framing: Framing, facts: Facts) -> web.Response:
    seen: list[ConductorMessage] = []
    async for event in events:
        facts.note(event)
        seen.append(event)
    reply, finished = reply_of(seen), seen[-1]
    assert isinstance(finished, Finished)
    body = orjson.dumps(framing.whole(reply, finished, facts))
    return web.Response(body=body, content_type="application/json", headers=facts.headers())


async def _send_whole(request: web.Request, response: web.Response, watch: WriteTimeout) -> web.Response:
    """Write ``response`` to its end here, where somebody watches; aiohttp has nothing left to write."""
    watch.begin()
    with suppress(ConnectionError):
        await response.prepare(request)
        await response.write_eof()
    return response


class _Stream:
    """A streamed answer. One task reads the events and writes records; before the first, a second one
    writes notices. The first awaits the second's end before it writes, so the two never write at once."""

    def __init__(
        self, request: web.Request, framing: Framing, facts: Facts, notice_after_s: float, watch: WriteTimeout
    ) -> None:
        self._request = request
        self._framing = framing
        self._facts = facts
        self._notice_after_s = notice_after_s
        self._watch = watch
        self._response: web.StreamResponse | None = None
        self._begun = False
        self._notices_over = asyncio.Event()

    async def send(self, events: AsyncGenerator[ConductorMessage, None]) -> web.StreamResponse:
        notices = asyncio.create_task(self._give_notice()) if self._framing.has_comments else None
        try:
            await self._pass_on(events, notices)
            await self._end()
        except _ClientLeft:
            pass
        except Exception as error:
            with suppress(_ClientLeft):
                await self._end_notices(notices)
                if self._response is None:
                    raise
                await self._write(self._framing.failure(problem_of(error)))
                await self._end()
        finally:
            if notices is not None:
                notices.cancel()
                await asyncio.gather(notices, return_exceptions=True)
        return self._response or web.Response()

    async def _pass_on(
        self, events: AsyncGenerator[ConductorMessage, None], notices: asyncio.Task[None] | None
    ) -> None:
        async for event in events:
            self._facts.note(event)
            if isinstance(event, Delta):
                if not self._begun:
                    await self._begin(notices)
                await self._write(self._framing.delta(event, self._facts.model))
            elif isinstance(event, Finished):
                await self._write(self._framing.end(event, self._facts))
            elif isinstance(event, FallingBack) and event.continues_after is not None:
                await self._write(self._framing.comment(self._facts.seam_comment(event)))

    async def _begin(self, notices: asyncio.Task[None] | None) -> None:
        """The serving model is known: say so in the headers, or in a comment where they have gone out."""
        await self._end_notices(notices)
        self._facts.note_first_record()
        if self._response is not None:
            await self._write(self._framing.comment(self._facts.served_comment()))
        await self._write(self._framing.first(self._facts.model))
        self._begun = True

    async def _give_notice(self) -> None:
        wait_s = self._notice_after_s
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._notices_over.wait()
                    return
            await self._write(self._framing.comment(self._facts.waiting_comment()))
            wait_s = NOTICE_EVERY_S

    async def _end_notices(self, notices: asyncio.Task[None] | None) -> None:
        """Let a notice that is being written come to its end: a cancelled write could leave half a line."""
        self._notices_over.set()
        if notices is not None:
            await notices

    async def _end(self) -> None:
        """End the body here, where somebody watches; aiohttp has nothing left to write."""
        if self._response is not None:
            await self._watched(self._response.write_eof())

    async def _write(self, data: bytes) -> None:
        if data:
            await self._watched(self._send(data))

    async def _send(self, data: bytes) -> None:
        if self._response is None:
            headers = self._facts.headers() | {
                "Content-Type": self._framing.content_type,
                "Cache-Control": "no-cache",
            }
            self._response = web.StreamResponse(headers=headers)
            await self._response.prepare(self._request)
        await self._response.write(data)

    async def _watched(self, writing: Coroutine[None, None, None]) -> None:
        self._watch.begin()
        try:
            await writing
        except ConnectionError as error:
            raise _ClientLeft from error
        finally:
            self._watch.end()
