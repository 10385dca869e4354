"""The ways in which callers use a conductor or its gateway: to the end, slowly, in haste, or leaving in between.

Each returns how its request ended: ``complete``, ``interrupted``, ``left`` (by the caller), or the name of a typed
error. Whatever else happens is an :class:`AssertionError`.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from faulty_server import prompt_of, words_of

from modelway.conductor import Conductor
from modelway.errors import ModelwayError, StreamInterrupted
from modelway.events import ConductorMessage, Finished, TextDelta

TASKS = ("general", "code", "math", "quick")
USERS = 20


@dataclass(frozen=True)
class Ask:
    """One request: its number, what chance holds for it, and whom it is asked of."""

    number: int
    chance: random.Random
    conductor: Conductor
    gateway: str

    def fields(self) -> dict[str, Any]:
        """By chance, and so another each time."""
        return {"task": self.chance.choice(TASKS), "user": f"user {self.chance.randrange(USERS)}"}

    def check_whole(self, text: str, model: str) -> None:
        assert text == "".join(words_of(model, self.number)), f"{model} said something else to {self.number}"

    def check_beginning(self, text: str, model: str) -> None:
        assert "".join(words_of(model, self.number)).startswith(text), f"{model} did not begin {self.number} like this"

    def broken(self, error: ModelwayError, text: str) -> str:
        """How a request ended of which ``text`` had come; only an interruption says so, and says what had come."""
        if not isinstance(error, StreamInterrupted):
            assert not text, f"{type(error).__name__} after a part of the answer"
            return type(error).__name__
        assert text, "interrupted before anything came"
        assert error.partial == text
        self.check_beginning(text, error.model)
        return "interrupted"


Caller = Callable[[Ask], Awaitable[str]]


async def reads(ask: Ask, *, pause_s: float = 0.0, **fields: Any) -> str:
    """Reads the stream to its end, with a pause after every twentieth event."""
    events: list[ConductorMessage] = []
    try:
        async with aclosing(ask.conductor.stream(prompt_of(ask.number), **ask.fields(), **fields)) as stream:
            async for event in stream:
                events.append(event)
                if pause_s and len(events) % 20 == 0:
                    await asyncio.sleep(pause_s)
    except ModelwayError as error:
        return ask.broken(error, _text(events))
    last = events[-1]
    assert isinstance(last, Finished), f"a stream ended with {type(last).__name__}"
    ask.check_whole(_text(events), last.model)
    return "complete"


async def reads_slowly(ask: Ask) -> str:
    return await reads(ask, pause_s=ask.chance.uniform(0.001, 0.02))


async def is_in_haste(ask: Ask) -> str:
    return await reads(ask, deadline_ms=ask.chance.uniform(1, 50))


async def wants_the_whole(ask: Ask) -> str:
    try:
        reply = await ask.conductor.complete(prompt_of(ask.number), **ask.fields())
    except ModelwayError as error:
        return ask.broken(error, error.partial if isinstance(error, StreamInterrupted) else "")
    ask.check_whole(reply.text, reply.model)
    return "complete"


async def closes(ask: Ask) -> str:
    """Leaves after some events."""
    left = ask.chance.randrange(1, 8)
    try:
        async with aclosing(ask.conductor.stream(prompt_of(ask.number), **ask.fields())) as stream:
            async for _ in stream:
                left -= 1
                if not left:
                    return "left"
    except ModelwayError as error:
        return _named(error)
    return "complete"


async def forgets(ask: Ask) -> str:
    """Leaves the generator to the garbage collector."""
    stream = ask.conductor.stream(prompt_of(ask.number), **ask.fields())
    try:
        for _ in range(ask.chance.randrange(1, 6)):
            await anext(stream)
    except StopAsyncIteration:
        return "complete"
    except ModelwayError as error:
        return _named(error)
    return "left"


async def is_cancelled(ask: Ask) -> str:
    """A task that somebody ends: after turns of the loop, or after a while."""
    task = asyncio.create_task(wants_the_whole(ask))
    if ask.chance.random() < 0.5:
        for _ in range(ask.chance.randrange(30)):
            await asyncio.sleep(0)
    else:
        await asyncio.sleep(ask.chance.uniform(0, 0.05))
    task.cancel()
    try:
        return await task
    except asyncio.CancelledError:
        return "left"


async def streams_by_gateway(ask: Ask) -> str:
    status, body = await _post(ask, stream=True)
    if status != 200:
        return _refusal(status, body)
    text, model, ends = "", "", []
    for block in body.decode().split("\n\n"):
        data = block.removeprefix("data: ")
        if data.startswith("{"):
            record = json.loads(data)
            if "error" in record:
                ends.append(record["error"])
            else:
                model = record["model"]
                text += record["choices"][0]["delta"].get("content") or ""
        elif data == "[DONE]":
            ends.append(data)
    assert len(ends) == 1, f"a stream of the gateway has {len(ends)} ends"
    if ends == ["[DONE]"]:
        ask.check_whole(text, model)
        return "complete"
    if not text:
        return "gateway error in a stream"
    assert ends[0].get("partial") == text
    ask.check_beginning(text, model)
    return "interrupted"


async def asks_gateway(ask: Ask) -> str:
    status, body = await _post(ask, stream=False)
    if status != 200:
        return _refusal(status, body)
    reply = json.loads(body)
    ask.check_whole(reply["choices"][0]["message"]["content"], reply["model"])
    return "complete"


async def leaves_gateway(ask: Ask) -> str:
    await _post(ask, stream=ask.chance.random() < 0.7, leave_after_s=ask.chance.uniform(0, 0.03))
    return "left"


#: Of a hundred requests so many come like this.
CALLERS: dict[Caller, int] = {
    reads: 42,
    wants_the_whole: 10,
    reads_slowly: 8,
    is_in_haste: 5,
    closes: 6,
    forgets: 3,
    is_cancelled: 10,
    streams_by_gateway: 8,
    asks_gateway: 4,
    leaves_gateway: 4,
}


def _text(events: list[ConductorMessage]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def _named(error: ModelwayError) -> str:
    return "interrupted" if isinstance(error, StreamInterrupted) else type(error).__name__


def _refusal(status: int, body: bytes) -> str:
    error = json.loads(body)["error"]
    assert error["message"]
    assert error["code"]
    return "interrupted" if "partial" in error else f"gateway {status}"


async def _post(ask: Ask, *, stream: bool, leave_after_s: float | None = None) -> tuple[int, bytes]:
    """Status and body; HTTP/1.0, so that the body is the bytes up to the end of the connection."""
    fields = ask.fields()
    messages = [{"role": "user", "content": prompt_of(ask.number)}]
    model = f"auto:{fields['task']}"
    body = json.dumps({"model": model, "user": fields["user"], "stream": stream, "messages": messages}).encode()
    address = urlsplit(ask.gateway)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        head = f"POST /v1/chat/completions HTTP/1.0\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        if leave_after_s is not None:
            await asyncio.sleep(leave_after_s)
            writer.transport.abort()
            return 0, b""
        answer = await reader.read()
    finally:
        writer.close()
    head_of_answer, _, rest = answer.partition(b"\r\n\r\n")
    return int(head_of_answer.split()[1]), rest
