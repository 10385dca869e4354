"""What the gateway's tests share: a gateway on a free port over a conductor, and raw requests to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from yarl import URL

from modelway.conductor import Conductor
from modelway.gateway.routes import make_app
from modelway.gateway.sockets import listening

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]


@asynccontextmanager
async def gateway_over(conductor: Conductor) -> AsyncIterator[str]:
    """The base URL of a gateway that serves ``conductor`` until the block is left."""
    async with listening(make_app(conductor), ("127.0.0.1",), 0, drain_s=0.2) as url:
        yield url


@asynccontextmanager
async def client_of(url: str, *, limit: int = 100) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=limit)) as session:
        yield session


async def raw(url: str, request: bytes) -> tuple[int, bytes]:
    """Send bytes that no HTTP client would; the answer's status, and all that came after the status line."""
    address = URL(url)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(request)
        await writer.drain()
        status = await reader.readline()
        rest = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    return int(status.split()[1]), rest


def sse(text: str) -> list[Any]:
    """The events of an SSE stream: objects, ``[DONE]``, and comments (``: ...``) as they stand."""
    blocks = text.split("\n\n")
    assert blocks.pop() == "", "each event ends with an empty line"
    return [_event(block) for block in blocks]


def ndjson(text: str) -> list[Any]:
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def text_of(events: list[Any]) -> str:
    """The text that the chunks of an OpenAI stream make."""
    chunks = [event for event in events if isinstance(event, dict) and event.get("choices")]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


def _event(block: str) -> Any:
    data = block.removeprefix("data: ")
    return json.loads(data) if data.startswith("{") else data
