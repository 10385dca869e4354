"""The gateway as the real ``openai`` and ``ollama`` Python clients see it, streaming and not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import ollama
import openai
import pytest
from gateway_support import HELLO, gateway_over

from conftest import OpenConductor, config_text
from modelway.testing import Fault, FaultKind, MockModelConfig, MockToolCall, MultiModelMockBackend

REPLY = "one two three four"
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "now",
            "description": "the weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]


async def collect(pieces: AsyncIterator[str], into: list[str]) -> None:
    """Read to the end, keeping what came before an error."""
    async for piece in pieces:
        into.append(piece)  # noqa: PERF401  (a comprehension would lose them)


@pytest.fixture
async def server() -> AsyncIterator[MultiModelMockBackend]:
    models = {f"{name}-model": MockModelConfig(reply=REPLY) for name in ("general", "code", "math")}
    models["deep-model"] = MockModelConfig(reply=REPLY, thinking="hm so")
    models["tool-model"] = MockModelConfig(tool_calls=[MockToolCall("now", {"city": "Köln"})])
    async with MultiModelMockBackend(models) as server:
        yield server


@pytest.fixture
async def url(server: MultiModelMockBackend, open_conductor: OpenConductor) -> AsyncIterator[str]:
    async with gateway_over(open_conductor(config_text(server.url, more="[server]\nnotice_after_ms = 50\n"))) as url:
        yield url


@pytest.fixture
async def openai_client(url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="not needed", max_retries=0) as client:
        yield client


@pytest.fixture
async def ollama_client(url: str) -> AsyncIterator[ollama.AsyncClient]:
    client = ollama.AsyncClient(host=url)
    yield client
    await client.close()


async def test_openai_whole(openai_client: openai.AsyncOpenAI) -> None:
    answer = await openai_client.chat.completions.with_raw_response.create(model="auto:code", messages=HELLO)  # type: ignore[arg-type]
    assert answer.headers["x-modelway-model"] == "code-model"
    completion = answer.parse()
    assert completion.model == "code-model"
    assert completion.choices[0].message.content == REPLY
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 4


async def test_openai_stream(openai_client: openai.AsyncOpenAI) -> None:
    stream = await openai_client.chat.completions.create(
        model="auto:code",
        messages=HELLO,  # type: ignore[arg-type]
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    assert {chunk.model for chunk in chunks} == {"code-model"}
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == REPLY
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens > 0


async def test_openai_tools(openai_client: openai.AsyncOpenAI) -> None:
    async with openai_client.chat.completions.stream(model="auto", messages=HELLO, tools=TOOLS) as stream:  # type: ignore[arg-type]
        completion = await stream.get_final_completion()
    (call,) = completion.choices[0].message.tool_calls or []
    assert call.function.name == "now"
    assert call.function.arguments == '{"city":"Köln"}'
    assert completion.choices[0].finish_reason == "tool_calls"


async def test_openai_waits_through_notices(openai_client: openai.AsyncOpenAI, server: MultiModelMockBackend) -> None:
    gate = server.hold("code-model")
    stream = await openai_client.chat.completions.create(model="auto:code", messages=HELLO, stream=True)  # type: ignore[arg-type]
    assert stream.response.headers["x-modelway-model"] == "code-model"
    gate.release()
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == REPLY


async def test_openai_models(openai_client: openai.AsyncOpenAI) -> None:
    names = [model.id async for model in openai_client.models.list()]
    assert names[0] == "auto"
    assert "code-model" in names
    assert (await openai_client.models.retrieve("auto:code")).id == "auto:code"


async def test_openai_errors(openai_client: openai.AsyncOpenAI, server: MultiModelMockBackend) -> None:
    with pytest.raises(openai.NotFoundError, match="code-model") as unknown:
        await openai_client.chat.completions.create(model="code-modle", messages=HELLO)  # type: ignore[arg-type]
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError, match="messages"):
        await openai_client.chat.completions.create(model="auto", messages=[])
    server.fail("code-model", Fault(FaultKind.RESET_MID_STREAM, after=2), times=1)
    stream = await openai_client.chat.completions.create(model="code-model", messages=HELLO, stream=True)  # type: ignore[arg-type]
    said: list[str] = []
    with pytest.raises(openai.APIError, match="broke off") as broken:
        await collect((chunk.choices[0].delta.content or "" async for chunk in stream), said)
    assert "".join(said) == "one two"
    assert isinstance(broken.value.body, dict)
    assert broken.value.body["partial"] == "one two"
    server.unavailable_models |= set(server.models)
    with pytest.raises(openai.InternalServerError) as down:
        await openai_client.chat.completions.create(model="auto:code", messages=HELLO)  # type: ignore[arg-type]
    assert down.value.status_code == 503


async def test_openai_client_retries_a_503(url: str, server: MultiModelMockBackend) -> None:
    for model in server.models:
        server.fail(model, Fault.http(503), times=1)
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="not needed", max_retries=1) as client:
        answer = await client.chat.completions.with_raw_response.create(model="auto:code", messages=HELLO)  # type: ignore[arg-type]
    assert answer.retries_taken == 1
    assert answer.parse().choices[0].message.content == REPLY


async def test_ollama_chat(ollama_client: ollama.AsyncClient) -> None:
    whole = await ollama_client.chat(model="auto:deep", messages=HELLO)
    assert whole.model == "deep-model"
    assert whole.message.content == REPLY
    assert whole.message.thinking == "hm so"
    assert whole.done_reason == "stop"
    parts = [part async for part in await ollama_client.chat(model="auto:deep", messages=HELLO, stream=True)]
    assert "".join(part.message.content or "" for part in parts) == REPLY
    assert {part.model for part in parts} == {"deep-model"}
    assert parts[-1].done
    assert parts[-1].total_duration
    assert parts[-1].eval_count


async def test_ollama_generate(ollama_client: ollama.AsyncClient) -> None:
    whole = await ollama_client.generate(model="auto:code", prompt="hello", system="be brief")
    assert (whole.model, whole.response) == ("code-model", REPLY)
    parts = [part async for part in await ollama_client.generate(model="auto:code", prompt="hello", stream=True)]
    assert "".join(part.response for part in parts) == REPLY


async def test_ollama_tools_over_two_turns(ollama_client: ollama.AsyncClient, server: MultiModelMockBackend) -> None:
    messages: list[Any] = [*HELLO]
    answer = await ollama_client.chat(model="auto", messages=messages, tools=TOOLS)
    (call,) = answer.message.tool_calls or []
    assert call.function.name == "now"
    assert call.function.arguments == {"city": "Köln"}
    server.models["tool-model"] = MockModelConfig(reply="rain", capabilities=["completion", "tools"])
    messages += [answer.message, {"role": "tool", "tool_name": "now", "content": "rain in Köln"}]
    answer = await ollama_client.chat(model="tool-model", messages=messages, tools=TOOLS)
    assert answer.message.content == "rain"
    _, assistant, result = server.request_history[-1].body["messages"]
    assert assistant["tool_calls"][0]["function"]["arguments"] == {"city": "Köln"}
    assert result["tool_name"] == "now"


async def test_ollama_list(ollama_client: ollama.AsyncClient) -> None:
    names = [model.model for model in (await ollama_client.list()).models]
    assert names[0] == "auto"
    assert "code-model" in names


async def test_ollama_errors(ollama_client: ollama.AsyncClient, server: MultiModelMockBackend) -> None:
    with pytest.raises(ollama.ResponseError, match="code-model") as unknown:
        await ollama_client.chat(model="code-modle", messages=HELLO)
    assert unknown.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="asks to load") as load:
        await ollama_client.generate(model="code-model", prompt="")
    assert load.value.status_code == 400
    server.fail("code-model", Fault(FaultKind.RESET_MID_STREAM, after=2), times=1)
    parts = await ollama_client.chat(model="code-model", messages=HELLO, stream=True)
    said: list[str] = []
    with pytest.raises(ollama.ResponseError, match="broke off"):
        await collect((part.message.content or "" async for part in parts), said)
    assert "".join(said) == "one two"
