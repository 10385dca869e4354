"""Bodies to the conductor's terms: tables for both protocols, and the bounds of JSON."""

from __future__ import annotations

from typing import Any

import pytest

from modelway.config.in_force import MAX_JSON_DEPTH
from modelway.errors import InvalidRequest, ModelwayError, UnknownModel
from modelway.gateway import ollama, openai
from modelway.gateway.asked import Asked, model_choice
from modelway.gateway.body import parse_json
from modelway.gateway.problems import Refused, problem_of
from modelway.types import TaskClass

HELLO = {"role": "user", "content": "hello"}
PNG = "iVBORw0KGgoAAAA"


def nested(depth: int) -> bytes:
    """An object whose deepest value stands ``depth`` containers deep."""
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"{", "not JSON"),
        (b"[1]", "must be a JSON object, not an array"),
        (b"null", "must be a JSON object, not nothing"),
        (b'{"a": NaN}', "not JSON"),
        (b'{"a": -Infinity}', "not JSON"),
        (b'{"a": 1e999}', "not JSON"),
        (b'{"a": "\\ud800"}', "not JSON"),
        (b'{"a": "\xff"}', "not JSON"),
        (b'{"a": "\xed\xa0\x80"}', "not JSON"),
        (nested(MAX_JSON_DEPTH + 1), "nested deeper than 64"),
        (nested(100_000), "not JSON"),
        (b'{"a": 1, "api_base": "http://127.0.0.1:1"}', "api_base: not accepted"),
        (b'{"API-Base": null}', "API-Base: not accepted"),
        (b'{"headers": {}}', "headers: not accepted"),
        (b'{"proxies": 1}', "proxies: not accepted"),
        (b'{"api_key": "k"}', "api_key: not accepted"),
    ],
)
def test_a_bad_body_is_refused_with_400_and_what_to_change(data: bytes, says: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_json(data)
    assert caught.value.status == 400
    assert says in str(caught.value)


def test_the_deepest_accepted_body() -> None:
    assert "a" in parse_json(nested(MAX_JSON_DEPTH))


def test_a_refused_body_is_not_quoted() -> None:
    with pytest.raises(Refused) as caught:
        parse_json(b'{"messages": "canary-7f3a" oops}')
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("auto", (None, None)),
        ("auto:code", (None, TaskClass.CodeGeneration)),
        ("auto:CodeGeneration", (None, TaskClass.CodeGeneration)),
        ("auto:tool_use", (None, TaskClass.ToolUse)),
        ("automatic", ("automatic", None)),
        ("llama3:8b", ("llama3:8b", None)),
        ("org/model:tag", ("org/model:tag", None)),
        ("modèle", ("modèle", None)),
    ],
)
def test_model_names(given: str, expected: object) -> None:
    assert model_choice({"model": given}) == expected


@pytest.mark.parametrize(
    ("body", "error", "says"),
    [
        ({}, InvalidRequest, "model: missing"),
        ({"model": None}, InvalidRequest, "model: missing"),
        ({"model": ""}, InvalidRequest, "model: missing"),
        ({"model": 7}, InvalidRequest, "model: must be a string, not a number"),
        ({"model": True}, InvalidRequest, "model: must be a string, not a boolean"),
        ({"model": "a\r\nx: y"}, InvalidRequest, "control characters"),
        ({"model": "a\x00"}, InvalidRequest, "control characters"),
        ({"model": "a\u2028b"}, InvalidRequest, "control characters"),
        ({"model": "a\u202eb"}, InvalidRequest, "control characters"),
        ({"model": "m" * 301}, InvalidRequest, "300 characters"),
        ({"model": "auto:cod"}, UnknownModel, "code"),
        ({"model": "auto:"}, UnknownModel, "auto:"),
    ],
)
def test_model_names_that_are_none(body: dict[str, Any], error: type[ModelwayError], says: str) -> None:
    with pytest.raises(error) as caught:
        model_choice(body)
    assert says in str(caught.value)
    assert problem_of(caught.value).status in (400, 404)


def openai_asked(**fields: Any) -> Asked:
    return openai.parse({"model": "m", "messages": [HELLO], **fields})


def chat_asked(**fields: Any) -> Asked:
    return ollama.parse_chat({"model": "m", "messages": [HELLO], **fields})


def generate_asked(**fields: Any) -> Asked:
    return ollama.parse_generate({"model": "m", "prompt": "hello", **fields})


def test_openai_defaults() -> None:
    assert openai_asked() == Asked(messages=[HELLO], model="m", task=None, stream=False)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"stream": True}, {"stream": True}),
        ({"stream": None}, {"stream": False}),
        ({"stream_options": {"include_usage": True}}, {"include_usage": True}),
        ({"temperature": 0, "top_p": None}, {"options": {"temperature": 0}}),
        ({"max_tokens": 5}, {"options": {"max_tokens": 5}}),
        ({"max_tokens": 5, "max_completion_tokens": 6}, {"options": {"max_tokens": 6}}),
        ({"stop": ["x"]}, {"options": {"stop": ["x"]}}),
        ({"tools": [{"type": "function"}]}, {"tools": [{"type": "function"}]}),
        ({"tools": []}, {"tools": None}),
        ({"n": 1}, {"extra": {}}),
        ({"user": "u", "mirostat": 2}, {"user": "u", "extra": {"mirostat": 2}}),
        ({"user": ""}, {"user": None, "extra": {}}),
        ({"keep_alive": "5m"}, {"extra": {}, "warnings": ("not honoured: keep_alive",)}),
        ({"num_ctx": 8, "truncate": False}, {"extra": {}, "warnings": ("not honoured: num_ctx",)}),
        ({"logprobs": True, "top_logprobs": 3}, {"warnings": ("not honoured: logprobs, top_logprobs",)}),
        ({"logprobs": False}, {"warnings": (), "options": {}, "extra": {}}),
    ],
)
def test_openai_fields(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    asked = openai_asked(**fields)
    assert {name: getattr(asked, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"messages": "hello"}, "messages: must be an array, not a string"),
        ({"messages": [HELLO, 3]}, "messages[1]: must be an object, not a number"),
        ({"stream": "yes"}, "stream: must be a boolean, not a string"),
        ({"stream_options": True}, "stream_options: must be an object, not a boolean"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage: must be a boolean"),
        ({"tools": {}}, "tools: must be an array, not an object"),
        ({"n": 2}, "n: only 1 answer"),
        ({"functions": []}, "functions: withdrawn from the protocol; send tools"),
        ({"stop": 3}, "stop: must be a string or an array of strings"),
        ({"stop": ["a", 3]}, "stop: must be a string or an array of strings"),
        ({"temperature": "hot"}, "temperature: must be a number, not a string"),
        ({"max_tokens": True}, "max_tokens: must be a number, not a boolean"),
        ({"response_format": "json"}, "response_format: must be an object with a type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema: must be an object"),
        (
            {"response_format": {"type": "json_schema", "json_schema": 3}},
            "response_format.json_schema: must be an object",
        ),
    ],
)
def test_openai_fields_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        openai_asked(**fields)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"stream": True, "options": {}, "extra": {}, "extra_protocol": "ollama", "warnings": ()}),
        ({"stream": None}, {"stream": True}),
        ({"stream": False}, {"stream": False}),
        ({"format": "json"}, {"options": {"response_format": {"type": "json_object"}}}),
        ({"format": ""}, {"options": {}}),
        (
            {"format": {"type": "object"}},
            {
                "options": {
                    "response_format": {
                        "type": "json_schema",
                        "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
                    }
                }
            },
        ),
        ({"think": False}, {"options": {"think": False}}),
        ({"think": "high"}, {"options": {"think": "high"}}),
        ({"options": {"num_predict": 4, "temperature": 0.5}}, {"options": {"max_tokens": 4, "temperature": 0.5}}),
        ({"options": {"num_predict": -1}}, {"options": {}}),
        ({"options": {"mirostat": 2}}, {"options": {}, "extra": {"options": {"mirostat": 2}}}),
        ({"options": {"num_ctx": 4096}}, {"extra": {}, "warnings": ("not honoured: options.num_ctx",)}),
        ({"options": {"use_mmap": False}}, {"extra": {}, "warnings": ("not honoured: options.use_mmap",)}),
        ({"keep_alive": 0}, {"extra": {}, "warnings": ("not honoured: keep_alive",)}),
        ({"truncate": False, "shift": None}, {"extra": {}, "warnings": ()}),
        ({"truncate": True}, {"extra": {}, "warnings": ("not honoured: truncate",)}),
        ({"novel": 1}, {"extra": {"novel": 1}}),
    ],
)
@pytest.mark.parametrize("asked_of", [chat_asked, generate_asked])
def test_ollama_fields(asked_of: Any, fields: dict[str, Any], expected: dict[str, Any]) -> None:
    asked = asked_of(**fields)
    assert {name: getattr(asked, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"messages": []}, "messages: an empty request asks to load the model"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content: must be a string"),
        ({"messages": [HELLO | {"images": [3]}]}, "messages[0].images[0]: must be base64 text"),
        ({"messages": [HELLO | {"tool_calls": [{}]}]}, "messages[0].tool_calls[0].function.name: missing"),
        (
            {"messages": [HELLO | {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}]},
            "messages[0].tool_calls[0].function.arguments: must be an object, not a string",
        ),
        ({"format": "yaml"}, "format: must be"),
        ({"options": []}, "options: must be an object"),
        ({"options": {"temperature": "hot"}}, "options.temperature: must be a number, not a string"),
        ({"think": "very"}, "think: must be a boolean or one of low, medium, high, max"),
        ({"stream": 1}, "stream: must be a boolean"),
    ],
)
def test_ollama_chat_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        chat_asked(**fields)
    assert says in str(caught.value)


@pytest.mark.parametrize("name", ["raw", "template", "suffix", "context"])
def test_generate_refuses_what_bypasses_the_template(name: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{name}: not supported"):
        generate_asked(**{name: "x"})


@pytest.mark.parametrize("empty", [{"raw": False}, {"template": ""}, {"context": []}, {"suffix": None}])
def test_generate_takes_the_empty_forms_that_clients_send(empty: dict[str, Any]) -> None:
    assert generate_asked(**empty).extra == {}


def test_generate_without_a_prompt_asks_for_a_load() -> None:
    with pytest.raises(InvalidRequest, match="asks to load the model"):
        generate_asked(prompt="")


def test_generate_messages() -> None:
    asked = generate_asked(system="be brief", images=[PNG])
    assert asked.messages == [
        {"role": "system", "content": "be brief"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "hello"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            ],
        },
    ]


def test_ollama_tool_conversation() -> None:
    def call(name: str, **more: Any) -> dict[str, Any]:
        return {"function": {"name": name, "arguments": {"city": "Köln"}}, **more}

    asked = chat_asked(
        messages=[
            {"role": "User", "content": "weather?"},
            {"role": "assistant", "thinking": "hm", "tool_calls": [call("now"), call("later", id="call_x")]},
            {"role": "tool", "content": "rain", "tool_name": "later"},
            {"role": "tool", "content": "sun"},
            {"role": "tool", "content": "late", "tool_call_id": "call_y"},
        ],
        tools=[{"type": "function", "function": {"name": "now"}}],
    )
    first, said, *results = asked.messages
    assert first == {"role": "user", "content": "weather?"}
    arguments = '{"city":"Köln"}'
    assert said == {
        "role": "assistant",
        "content": "",
        "reasoning_content": "hm",
        "tool_calls": [
            {"id": "call_1_0", "type": "function", "function": {"name": "now", "arguments": arguments}},
            {"id": "call_x", "type": "function", "function": {"name": "later", "arguments": arguments}},
        ],
    }
    assert results == [
        {"role": "tool", "content": "rain", "tool_call_id": "call_x", "name": "later"},
        {"role": "tool", "content": "sun", "tool_call_id": "call_1_0"},
        {"role": "tool", "content": "late", "tool_call_id": "call_y"},
    ]
    assert asked.tools == [{"type": "function", "function": {"name": "now"}}]
