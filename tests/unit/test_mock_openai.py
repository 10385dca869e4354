"""The mock server's OpenAI: events, usage, tool calls, errors."""

from __future__ import annotations

import json

import mock_client
import pytest
from mock_client import LONG, REPLY, TOOLS, completion, events

http, server = mock_client.http, mock_client.server


async def test_a_completion_streams_role_pieces_finish_usage_and_done(server, http):
    async with completion(http, server, stream_options={"include_usage": True}) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        *chunks, done = events(await answer.read())
    assert done == "[DONE]"
    first, *pieces, finish, usage = chunks
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": None}
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in pieces) == REPLY
    assert finish["choices"] == [{"finish_reason": "stop", "index": 0, "delta": {}}]
    assert usage["choices"] == []
    assert usage["usage"] == {"completion_tokens": 5, "prompt_tokens": 2, "total_tokens": 7}
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1


async def test_usage_comes_only_when_asked_for(server, http):
    async with completion(http, server) as answer:
        assert all("usage" not in chunk for chunk in events(await answer.read()) if chunk != "[DONE]")


async def test_a_completion_that_is_not_streamed_is_one_object(server, http):
    async with completion(http, server, stream=False, max_tokens=2) as answer:
        whole = await answer.json()
    assert whole["object"] == "chat.completion"
    (choice,) = whole["choices"]
    assert choice["message"]["content"] == "fn main()"
    assert choice["finish_reason"] == "length"


async def test_thinking_and_tool_calls_in_openai_s_spelling(server, http):
    async with completion(http, server, "think") as answer:
        deltas = [event["choices"][0]["delta"] for event in events(await answer.read())[:-1]]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "well, hm"
    async with completion(http, server, "tools", tools=TOOLS) as answer:
        chunks = [event["choices"][0] for event in events(await answer.read())[:-1]]
    calls = [call for chunk in chunks for call in chunk["delta"].get("tool_calls", [])]
    assert [call["index"] for call in calls] == [0, 0]
    assert calls[0]["function"]["name"] == "get_weather"
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == {"city": "Paris"}
    assert chunks[-1]["finish_reason"] == "tool_calls"
    async with completion(http, server, "tools", tools=TOOLS, stream=False) as answer:
        message = (await answer.json())["choices"][0]["message"]
    assert message["content"] is None
    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == {"city": "Paris"}


IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}]


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"model": "nope"}, 404, "not_found_error"),
        ({"model": None}, 400, "invalid_request_error"),
        ({"messages": []}, 400, "invalid_request_error"),
        ({"max_tokens": "many"}, 400, "invalid_request_error"),
        ({"tools": TOOLS}, 400, "invalid_request_error"),
        ({"messages": IMAGE}, 500, "server_error"),
        ({"messages": LONG}, 400, "exceed_context_size_error"),
    ],
)
async def test_what_an_openai_server_refuses_has_its_error_object(server, http, body, status, kind):
    async with completion(http, server, **body) as answer:
        assert answer.status == status
        error = (await answer.json())["error"]
    assert error["type"] == kind
    assert error["message"]
    assert "code" in error


async def test_models_are_listed_with_their_context(server, http):
    async with http.get(server.url + "/v1/models") as answer:
        listed = await answer.json()
    assert [entry["id"] for entry in listed["data"]] == list(server.models)
    assert listed["data"][0]["meta"]["n_ctx_train"] == 8192
