"""The routes over real HTTP: what each answers, streamed and whole, and the headers that tell who served."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from gateway_support import CHAT, HELLO, client_of, gateway_over, ndjson, sse, text_of

import modelway
from conftest import OpenConductor, config_text
from modelway.testing import MockModelConfig, MockToolCall, MultiModelMockBackend

REPLY = "Hé there, friend"
EXTERNAL = """
[[backends]]
name = "far"
kind = "openai"
url = "https://api.example.com/v1"
[[models]]
id = "far-model"
backend = "far"
"""
ALIASED = """
[[models]]
id = "org/special:7b"
name = "general-model"
backend = "local"
aliases = ["special"]
"""


@pytest.fixture
async def server() -> AsyncIterator[MultiModelMockBackend]:
    call = MockToolCall("now", {"city": "Köln"})
    models = {name: MockModelConfig(reply=REPLY) for name in ("general-model", "code-model", "math-model")}
    models |= {
        "deep-model": MockModelConfig(reply=REPLY, thinking="hm so"),
        "tool-model": MockModelConfig(tool_calls=[call]),
    }
    async with MultiModelMockBackend(models) as server:
        yield server


@pytest.fixture
async def client(server: MultiModelMockBackend, open_conductor: OpenConductor) -> AsyncIterator[aiohttp.ClientSession]:
    conductor = open_conductor(config_text(server.url) + ALIASED + EXTERNAL)
    async with gateway_over(conductor) as url, client_of(url) as session:
        yield session


async def ask(client: aiohttp.ClientSession, path: str, **body: Any) -> tuple[Any, aiohttp.ClientResponse]:
    """The answer as JSON, or as a list of events or lines where it was streamed."""
    if not path.endswith("generate"):
        body = {"messages": HELLO, **body}
    async with client.post(path, json=body) as response:
        text = await response.text()
        match response.content_type:
            case "text/event-stream":
                return sse(text), response
            case "application/x-ndjson":
                return ndjson(text), response
            case _:
                return await response.json(), response


@pytest.mark.parametrize(
    ("model", "served", "task", "reason"),
    [
        ("auto", "code-model", "code", "classified"),
        ("auto:code", "code-model", "code", "explicit_task"),
        ("auto:Mathematical", "math-model", "math", "explicit_task"),
        ("code-model", "code-model", None, "explicit_model"),
        ("special", "org/special:7b", None, "explicit_model"),
        ("org/special:7b", "org/special:7b", None, "explicit_model"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_who_serves_stands_in_the_model_field_and_in_the_headers(
    client: aiohttp.ClientSession, model: str, served: str, task: str | None, reason: str | None, stream: bool
) -> None:
    prompt = [{"role": "user", "content": "Write a Rust function to parse JSON"}]
    answer, response = await ask(client, CHAT, model=model, stream=stream, messages=prompt)
    models = {chunk["model"] for chunk in answer if isinstance(chunk, dict)} if stream else {answer["model"]}
    assert models == {served}
    facts = {name.removeprefix("x-modelway-"): value for name, value in response.headers.items()}
    assert facts["model"] == served
    assert facts["backend"] == "local"
    assert facts["location"] == "device"
    assert facts["fallback"] == "none"
    assert task in (None, facts["task"])
    assert reason in (None, facts["reason"])
    assert 0 <= float(facts["confidence"]) <= 1
    assert int(facts["queue-ms"]) >= 0
    assert int(facts["load-ms"]) >= 0
    assert len(facts["request-id"]) == 32
    assert "warning" not in facts


async def test_openai_stream(client: aiohttp.ClientSession) -> None:
    events, response = await ask(client, CHAT, model="auto", stream=True, stream_options={"include_usage": True})
    assert response.content_type == "text/event-stream"
    assert text_of(events) == REPLY
    assert events[-1] == "[DONE]"
    assert events[-2]["usage"]["total_tokens"] > 0


async def test_openai_whole(client: aiohttp.ClientSession) -> None:
    answer, _ = await ask(client, CHAT, model="auto")
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": REPLY}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["total_tokens"] > 0


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
async def test_ollama_streams_unless_told_otherwise(client: aiohttp.ClientSession, path: str) -> None:
    def said(line: dict[str, Any]) -> str:
        text: str = line["response"] if path.endswith("generate") else line["message"]["content"]
        return text

    lines, response = await ask(client, path, model="auto", prompt="hello")
    assert response.content_type == "application/x-ndjson"
    assert "".join(map(said, lines)) == REPLY
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert lines[-1]["eval_count"] > 0
    whole, response = await ask(client, path, model="auto", prompt="hello", stream=False)
    assert response.content_type == "application/json"
    assert said(whole) == REPLY
    assert whole["done_reason"] == "stop"
    assert response.headers["x-modelway-model"] == whole["model"] == "general-model"


async def test_thinking_is_kept_apart(client: aiohttp.ClientSession) -> None:
    answer, _ = await ask(client, CHAT, model="deep-model")
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": REPLY, "reasoning_content": "hm so"}
    answer, _ = await ask(client, "/api/chat", model="deep-model", stream=False)
    assert answer["message"] == {"role": "assistant", "content": REPLY, "thinking": "hm so"}


async def test_tool_calls_in_both_protocols(client: aiohttp.ClientSession) -> None:
    tools = [{"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}}]
    answer, response = await ask(client, CHAT, model="auto", tools=tools)
    assert response.headers["x-modelway-model"] == "tool-model"
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "now", "arguments": '{"city":"Köln"}'}
    lines, _ = await ask(client, "/api/chat", model="auto", tools=tools)
    assert lines[0]["message"]["tool_calls"][0]["function"]["arguments"] == {"city": "Köln"}


async def test_options_reach_the_backend_and_others_are_named(
    client: aiohttp.ClientSession, server: MultiModelMockBackend
) -> None:
    _, response = await ask(
        client,
        "/api/chat",
        model="code-model",
        keep_alive="10m",
        options={"num_predict": 100, "temperature": 0.5, "num_ctx": 512, "mirostat": 2},
    )
    assert response.headers["x-modelway-warning"] == "not honoured: keep_alive; not honoured: options.num_ctx"
    (request,) = server.request_history
    assert "keep_alive" not in request.body
    assert request.body["options"] == {
        "num_predict": 100,
        "temperature": 0.5,
        "mirostat": 2,
        "num_ctx": 4096,  # the model's own, always the same
    }


async def test_lists_begin_with_auto_and_hold_no_model_elsewhere(client: aiohttp.ClientSession) -> None:
    async with client.get("/v1/models") as response:
        listed = await response.json()
    names = [entry["id"] for entry in listed["data"]]
    assert names[:2] == ["auto", "auto:quick"]
    assert {"auto:code", "auto:general", "code-model", "org/special:7b"} <= set(names)
    assert not {"auto:embedding", "far-model"} & set(names)
    async with client.get("/api/tags") as response:
        tags = (await response.json())["models"]
    assert [entry["name"] for entry in tags] == names
    assert all(len(entry["digest"]) == 64 for entry in tags)
    capabilities = {entry["name"]: entry["capabilities"] for entry in tags}
    assert "tools" in capabilities["tool-model"]
    assert "tools" not in capabilities["code-model"]


@pytest.mark.parametrize(
    ("name", "status", "model_id"),
    [
        ("code-model", 200, "code-model"),
        ("org/special:7b", 200, "org/special:7b"),
        ("org%2Fspecial:7b", 200, "org/special:7b"),
        ("special", 200, "org/special:7b"),
        ("auto:code", 200, "auto:code"),
        ("auto:cook", 404, None),
        ("nobody", 404, None),
        ("far-model", 404, None),
        ("a%0Ab", 400, None),
    ],
)
async def test_one_model(client: aiohttp.ClientSession, name: str, status: int, model_id: str | None) -> None:
    async with client.get(f"/v1/models/{name}") as response:
        body = await response.json()
        assert response.status == status
        assert body.get("id") == model_id


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/", "modelway is running"),
        ("/health", {"status": "ok"}),
        ("/api/version", {"version": modelway.__version__}),
    ],
)
async def test_probes(client: aiohttp.ClientSession, path: str, body: object) -> None:
    async with client.get(path) as response:
        assert response.status == 200
        assert await (response.text() if isinstance(body, str) else response.json()) == body
    async with client.head(path) as response:
        assert response.status == 200
        assert await response.read() == b""


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("POST", "/api/nothing", 404),
        ("GET", "/nothing", 404),
        ("GET", CHAT, 405),
        ("DELETE", "/api/chat", 405),
        ("POST", "/health", 405),
    ],
)
async def test_wrong_routes_are_told_in_the_protocols_shape(
    client: aiohttp.ClientSession, method: str, path: str, status: int
) -> None:
    async with client.request(method, path) as response:
        assert response.status == status
        assert (status == 405) == ("Allow" in response.headers)
        if path.startswith("/v1"):
            assert (await response.json())["error"]["code"] == "http_error"
        elif path.startswith("/api"):
            assert "route" in (await response.json())["error"]
        else:
            assert "route" in await response.text()


async def test_an_unknown_model_is_404_with_the_nearest_name(client: aiohttp.ClientSession) -> None:
    answer, response = await ask(client, CHAT, model="code-modle")
    assert response.status == 404
    assert answer["error"]["code"] == "model_not_found"
    assert "code-model" in answer["error"]["message"]
    assert len(response.headers["x-modelway-request-id"]) == 32
    answer, response = await ask(client, "/api/chat", model="code-modle")
    assert response.status == 404
    assert "code-model" in answer["error"]


async def test_embedding_is_refused_not_answered_by_another_model(
    client: aiohttp.ClientSession, server: MultiModelMockBackend
) -> None:
    _, response = await ask(client, CHAT, model="auto:embedding")
    assert response.status in (400, 404, 503)
    assert not server.request_history


async def test_a_length_that_only_the_server_knows_is_context_length_exceeded_too(
    client: aiohttp.ClientSession, server: MultiModelMockBackend
) -> None:
    long = [{"role": "user", "content": "word " * 90_000}]
    answer, response = await ask(client, CHAT, model="auto:code", messages=long)
    assert response.status == 400
    assert answer["error"]["code"] == "context_length_exceeded"
    assert response.headers["x-modelway-model"] == "org/special:7b", "the only model whose context is not known"
    assert response.headers["x-modelway-reason"] == "context_length"
