"""Ollama's protocol without a server: lines to events, calls to bodies."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from modelway.backends.base import ChatCall
from modelway.backends.ollama.answer import OllamaAnswer
from modelway.backends.ollama.request import chat_body, left_out
from modelway.backends.wire.lines import LineFramer
from modelway.errors import BackendError
from modelway.events import Ended, TextDelta, ThinkingDelta, ToolCallDelta, Usage
from modelway.origin import Origin

ORIGIN = Origin("ollama", "coder")
METRICS = {
    "total_duration": 4883583458, "load_duration": 1334875, "prompt_eval_count": 26,
    "prompt_eval_duration": 342546000, "eval_count": 282, "eval_duration": 4535599000,
}  # fmt: skip
LAST_METRICS = METRICS | {"done_reason": "stop"}


def line(message: object = None, **fields: object) -> bytes:
    record: dict[str, object] = {"model": "m:latest", "created_at": "2026-08-21T18:48:22.123456789Z"}
    if message is not None:
        record["message"] = message
    return json.dumps(record | {"done": False} | fields, ensure_ascii=False).encode() + b"\n"


def said(text: str, **fields: object) -> bytes:
    return line({"role": "assistant", "content": text}, **fields)


DONE = said("", done=True, **LAST_METRICS)
ENDED = Ended("stop", Usage(26, 282), 1.334875, LAST_METRICS)
WEATHER = {"id": "call_ab12cd34", "function": {"index": 0, "name": "weather", "arguments": {"city": "Paris"}}}
TIME = {"id": "call_ef", "function": {"index": 0, "name": "time", "arguments": {}}}


def read(body: bytes, cut: int) -> tuple[list[object], BackendError | None]:
    """Events (the end among them), and the error that followed, if any."""
    framer, answer = LineFramer(), OllamaAnswer(ORIGIN)
    events: list[object] = []
    try:
        for records in (framer.feed(body[:cut]), framer.feed(body[cut:]), framer.end()):
            for record in records:
                events += answer.feed(record)
        events.append(answer.end())
    except BackendError as error:
        return events, error
    return events, None


ANSWERS = {
    "text": (said("The") + said(" end") + DONE, [TextDelta("The"), TextDelta(" end"), ENDED], ""),
    "characters of all lengths": (said("é") + said("日😀") + DONE, [TextDelta("é"), TextDelta("日😀"), ENDED], ""),
    "the last line carries text": (
        said("The", done=True, **LAST_METRICS),
        [TextDelta("The"), ENDED],
        "",
    ),
    "no line end at the end": ((said("x") + DONE).rstrip(), [TextDelta("x"), ENDED], ""),
    "thinking, then text": (
        line({"role": "assistant", "content": "", "thinking": "Hm"})
        + line({"role": "assistant", "content": "Yes", "thinking": "!"})
        + DONE,
        [ThinkingDelta("Hm"), ThinkingDelta("!"), TextDelta("Yes"), ENDED],
        "",
    ),
    "only thinking": (
        line({"role": "assistant", "content": "", "thinking": "Hm"}) + DONE,
        [ThinkingDelta("Hm"), ENDED],
        "",
    ),
    "tool calls, one in the last line": (
        line({"role": "assistant", "content": "", "tool_calls": [WEATHER]})
        + line({"role": "assistant", "content": "", "tool_calls": [TIME]}, done=True, **LAST_METRICS),
        [
            ToolCallDelta(0, "call_ab12cd34", "weather", '{"city":"Paris"}'),
            ToolCallDelta(1, "call_ef", "time", "{}"),
            Ended("tool_calls", Usage(26, 282), 1.334875, LAST_METRICS),
        ],
        "",
    ),
    "cut at the length": (
        said("x") + said("", done=True, done_reason="length"),
        [TextDelta("x"), Ended("length", raw={"done_reason": "length"})],
        "",
    ),
    "no metrics": (said("x") + said("", done=True), [TextDelta("x"), Ended("stop")], ""),
    "metrics of wrong type": (
        said("x") + said("", done=True, eval_count="7", load_duration=-1),
        [TextDelta("x"), Ended("stop", raw={"eval_count": "7", "load_duration": -1})],
        "",
    ),
    "null content": (line({"role": "assistant", "content": None}) + said("x") + DONE, [TextDelta("x"), ENDED], ""),
    "lines after the last": (said("x") + DONE + said("y") + b"rubbish\n", [TextDelta("x"), ENDED], ""),
    "bytes that are no UTF-8": (
        said("x").replace(b'"x"', b'"a\xffb"') + DONE,
        [TextDelta("a\ufffdb"), replace(ENDED, is_damaged=True)],
        "",
    ),
    "unknown fields": (said("x", news=1, logprobs=[]) + DONE, [TextDelta("x"), ENDED], ""),
    "nothing": (b"", [], "interrupted"),
    "no end": (said("The"), [TextDelta("The")], "interrupted"),
    "a torn last line": (said("The") + DONE[:-20], [TextDelta("The")], "interrupted"),
    "an empty answer": (said("") + DONE, [], "empty"),
    "an error line": (said("The") + b'{"error":"it died"}\n' + DONE, [TextDelta("The")], "server_error"),
    "an error in a line of text": (said("The", error="it died"), [], "server_error"),
    "not JSON": (said("The") + b"<html>\n" + DONE, [TextDelta("The")], "malformed"),
    "not an object": (said("The") + b"[]\n" + DONE, [TextDelta("The")], "malformed"),
    "message is text": (line("The"), [], "malformed"),
    "content is a number": (line({"content": 7}), [], "malformed"),
    "done is text": (said("x", done="true"), [TextDelta("x")], "malformed"),
    "tool calls are an object": (line({"content": "", "tool_calls": WEATHER}), [], "malformed"),
    "a tool call without a name": (line({"content": "", "tool_calls": [{"function": {}}]}), [], "malformed"),
    "arguments are text": (
        line({"content": "", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}),
        [],
        "malformed",
    ),
    "sent on to the cloud": (said("The", remote_host="https://ollama.com:443"), [], "malformed"),
}


@pytest.mark.parametrize(("body", "events", "error"), ANSWERS.values(), ids=ANSWERS.keys())
def test_lines_to_events_cut_at_every_byte(body, events, error):
    for cut in range(len(body) + 1):
        found, failure = read(body, cut)
        assert (found, failure.kind if failure else "") == (events, error), cut


def test_an_error_says_whose_it_is():
    _, error = read(said("The"), 0)
    assert error is not None
    assert (error.model, error.backend) == ("coder", "ollama")
    assert str(error).startswith("coder on ollama: ")


def test_the_cloud_is_named_by_the_error():
    with pytest.raises(BackendError, match=re.escape("https://ollama.com:443")):
        list(OllamaAnswer(ORIGIN).feed(said("The", remote_host="https://ollama.com:443")))


def test_no_error_repeats_a_piece_of_the_answer():
    for body, _, kind in ANSWERS.values():
        _, error = read(body.replace(b"The", b"CANARY").replace(b"weather", b"CANARY"), 0)
        assert (error.kind if error else "") == kind
        assert "CANARY" not in f"{error!r} {error and error.detail}"


def test_tool_calls_without_id_get_one_each():
    calls = [{"function": {"name": "f", "arguments": {}}}] * 2
    first, second = OllamaAnswer(ORIGIN).feed(line({"content": "", "tool_calls": calls}))
    assert isinstance(first, ToolCallDelta)
    assert isinstance(second, ToolCallDelta)
    assert first.id
    assert second.id
    assert first.id != second.id


PNG = "data:image/png;base64,iVBORw0KGgo="
CALLED = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Paris"}'}}

MESSAGES = {
    "text": ({"role": "user", "content": "Hi\x00\u202e"}, {"role": "user", "content": "Hi\x00\u202e"}),
    "no content": ({"role": "assistant"}, {"role": "assistant", "content": ""}),
    "developer": ({"role": "developer", "content": "Be brief"}, {"role": "system", "content": "Be brief"}),
    "parts": (
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "user", "content": "a\nb"},
    ),
    "images": (
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
                {"type": "image_url", "image_url": PNG},
            ],
        },
        {"role": "user", "content": "What is this?", "images": ["iVBORw0KGgo="] * 2},
    ),
    "thinking": (
        {"role": "assistant", "content": "4", "reasoning_content": "2+2"},
        {"role": "assistant", "content": "4", "thinking": "2+2"},
    ),
    "tool call": (
        {"role": "assistant", "content": None, "tool_calls": [CALLED]},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "call_1", "function": {"name": "weather", "arguments": {"city": "Paris"}}}],
        },
    ),
    "tool call without arguments": (
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "now", "arguments": ""}}]},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "now", "arguments": {}}}]},
    ),
    "tool result by name": (
        {"role": "tool", "name": "weather", "content": "sunny"},
        {"role": "tool", "content": "sunny", "tool_name": "weather"},
    ),
}


def body_of(**fields: object) -> dict[str, object]:
    call = ChatCall("m", "coder", **({"messages": [{"role": "user", "content": "Hi"}]} | fields))  # type: ignore[arg-type]
    return chat_body(call, "m:latest:local", ORIGIN)


@pytest.mark.parametrize(("message", "expected"), MESSAGES.values(), ids=MESSAGES.keys())
def test_messages_are_translated(message, expected):
    assert body_of(messages=[message])["messages"] == [expected]


def test_a_tool_result_gets_the_name_of_the_call_it_answers():
    history = [
        {"role": "assistant", "content": "", "tool_calls": [CALLED]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    ]
    messages = body_of(messages=history)["messages"]
    assert isinstance(messages, list)
    assert messages[1] == {"role": "tool", "content": "sunny", "tool_name": "weather", "tool_call_id": "call_1"}


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}]},
            "data:",
        ),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png,%89"}}]}, "base64"),
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, "input_audio"),
        (
            {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": "{oops"}}]},
            "arguments",
        ),
        (
            {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": "[1]"}}]},
            "arguments",
        ),
    ],
)
def test_what_ollama_cannot_express_is_rejected(message, words):
    with pytest.raises(BackendError, match=words) as caught:
        body_of(messages=[message])
    assert caught.value.kind == "rejected"


def test_the_body_is_always_streamed_never_cut_and_asks_for_no_residency():
    assert body_of() == {
        "model": "m:latest:local",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "truncate": False,
    }


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"max_tokens": 7, "temperature": 0.5, "top_p": 0.9, "top_k": 5, "min_p": 0.1, "seed": 3},
            {
                "options": {
                    "num_predict": 7, "temperature": 0.5, "top_p": 0.9, "top_k": 5, "min_p": 0.1, "seed": 3,
                }
            },
        ),
        (
            {"presence_penalty": 1, "frequency_penalty": 2, "repeat_penalty": 1.1},
            {"options": {"presence_penalty": 1, "frequency_penalty": 2, "repeat_penalty": 1.1}},
        ),
        ({"temperature": None}, {}),
        ({"stop": "END"}, {"options": {"stop": ["END"]}}),
        ({"stop": ["a", "b"]}, {"options": {"stop": ["a", "b"]}}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {"format": "json"}),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}}, {"format": SCHEMA}),
        ({"think": False}, {"think": False}),
        ({"think": "high"}, {"think": "high"}),
    ],
)  # fmt: skip
def test_options_are_translated(options, expected):
    assert {key: value for key, value in body_of(options=options).items() if key not in body_of()} == expected


TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]


@pytest.mark.parametrize(
    ("options", "sent"), [({}, TOOLS), ({"tool_choice": "auto"}, TOOLS), ({"tool_choice": "none"}, None)]
)
def test_tools_are_sent_unless_none_is_to_be_chosen(options, sent):
    assert body_of(tools=TOOLS, options=options).get("tools") == sent


def test_the_context_is_sent_only_where_it_is_configured():
    assert "options" not in body_of()
    assert body_of(num_ctx=8192)["options"] == {"num_ctx": 8192}


def test_fields_that_are_the_servers_business_are_read_and_not_passed_on():
    extra = {
        "keep_alive": -1,
        "truncate": True,
        "stream": False,
        "news": 1,
        "options": {"num_ctx": 99, "num_gpu": 1, "mirostat": 2},
    }
    body = body_of(extra=extra, extra_protocol="ollama", num_ctx=2048, options={"temperature": 1})
    assert body == body_of() | {"news": 1, "options": {"mirostat": 2, "num_ctx": 2048, "temperature": 1}}
    call = ChatCall("m", "m", [], {}, extra=extra, extra_protocol="ollama")
    assert set(left_out(call)) == {"keep_alive", "truncate", "stream", "options.num_ctx", "options.num_gpu"}


def test_fields_of_another_protocol_are_left_out_and_named():
    extra = {"logit_bias": {}}
    assert body_of(extra=extra) == body_of()
    options = {"logprobs": True, "tool_choice": "required", "temperature": 1}
    assert set(left_out(ChatCall("m", "m", [], options, extra=extra))) == {"logprobs", "tool_choice", "logit_bias"}
    assert left_out(ChatCall("m", "m", [], {"tool_choice": "none", "logprobs": False})) == ()
