"""A mock server with a few models, and a plain client: what its tests send, and how they read the answers.

A test module takes the fixtures by name: ``http, server = mock_client.http, mock_client.server``.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from modelway.backends.mock import MockModelConfig, MockToolCall, MultiModelMockBackend

USER = [{"role": "user", "content": "hello"}]
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]
REPLY = "fn main() { café }"
LONG = [{"role": "user", "content": "x" * 40_000}]


@pytest.fixture
async def server() -> AsyncIterator[MultiModelMockBackend]:
    models = {
        "code": MockModelConfig(reply=REPLY),
        "think": MockModelConfig(reply="yes", thinking="well, hm"),
        "tools": MockModelConfig(reply="sunny", tool_calls=[MockToolCall("get_weather", {"city": "Paris"})]),
        "gpt:cloud": MockModelConfig(reply="far away"),
        "embed": MockModelConfig(capabilities=["embedding"]),
        "alias": MockModelConfig(remote_host="https://example.com"),
    }
    async with MultiModelMockBackend(models) as mock:
        yield mock


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def ask(http: aiohttp.ClientSession, server: MultiModelMockBackend, path: str, **body: Any) -> Any:
    return http.post(server.url + path, json=body)


def chat(http: aiohttp.ClientSession, server: MultiModelMockBackend, model: str = "code", **body: Any) -> Any:
    return ask(http, server, "/api/chat", model=model, messages=USER, **body)


def completion(http: aiohttp.ClientSession, server: MultiModelMockBackend, model: str = "code", **body: Any) -> Any:
    return ask(http, server, "/v1/chat/completions", **({"model": model, "messages": USER, "stream": True} | body))


def records(body: bytes) -> list[dict[str, Any]]:
    assert body.endswith(b"\n")
    return [json.loads(line) for line in body.splitlines()]


def events(body: bytes) -> list[Any]:
    """The SSE stream's events; ``[DONE]`` stays a string."""
    *blocks, rest = body.decode().split("\n\n")
    assert rest == ""
    assert all(block.startswith("data: ") for block in blocks)
    data = [block.removeprefix("data: ") for block in blocks]
    return [entry if entry == "[DONE]" else json.loads(entry) for entry in data]


async def read(answering: Any) -> bytes:
    async with answering as answer:
        return await answer.read()
