"""OpenAI's chat protocol without a server: chunks to events, calls to bodies."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from modelway.backends.base import ChatCall
from modelway.backends.openai_compat.answer import OpenAIAnswer
from modelway.backends.openai_compat.request import chat_body, left_out
from modelway.backends.wire.lines import SseFramer
from modelway.errors import BackendError
from modelway.events import Ended, TextDelta, ThinkingDelta, ToolCallDelta, Usage
from modelway.origin import Origin

ORIGIN = Origin("vllm", "coder")


def data(record: object) -> bytes:
    return b"data: " + json.dumps(record, ensure_ascii=False).encode() + b"\n\n"


def delta(finish: str | None = None, index: int = 0, **fields: object) -> bytes:
    return data({"choices": [{"index": index, "delta": fields, "finish_reason": finish}]})


def call(index: object, **fields: object) -> bytes:
    identity = {"id": fields.pop("id")} if "id" in fields else {}
    return delta(tool_calls=[{"index": index, **identity, "function": fields}])


ROLE = delta(role="assistant", content=None)
STOP = delta("stop")
USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
TIMINGS = {"predicted_ms": 12.5}
DONE = b"data: [DONE]\n\n"
PLAIN = Ended("stop", raw={"finish_reason": "stop"})
CALLED = Ended("tool_calls", raw={"finish_reason": "tool_calls"})

ANSWERS = {
    "as llama.cpp sends it": (
        ROLE + delta(content="The") + delta(content=" énd") + STOP
        + data({"choices": [], "usage": USAGE, "timings": TIMINGS}) + DONE,
        [
            TextDelta("The"),
            TextDelta(" énd"),
            Ended("stop", Usage(5, 2), raw={"usage": USAGE, "timings": TIMINGS, "finish_reason": "stop"}),
        ],
        "",
    ),
    "usage in the last chunk of text": (
        data({"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}], "usage": USAGE}) + DONE,
        [TextDelta("x"), Ended("stop", Usage(5, 2), raw={"usage": USAGE, "finish_reason": "stop"})],
        "",
    ),
    "usage null until the end": (
        data({"choices": [{"delta": {"content": "x"}}], "usage": None}) + STOP + DONE, [TextDelta("x"), PLAIN], "",
    ),
    "comments between": (ROLE + b": ping\n\n" + delta(content="x") + STOP + DONE, [TextDelta("x"), PLAIN], ""),
    "no [DONE]": (delta(content="x") + STOP, [TextDelta("x"), PLAIN], ""),
    "no finish reason": (delta(content="x") + DONE, [TextDelta("x"), Ended("stop")], ""),
    "no empty line at the end": ((delta(content="x") + DONE).rstrip(), [TextDelta("x"), Ended("stop")], ""),
    "cut at the length": (
        delta(content="x") + delta("length") + DONE,
        [TextDelta("x"), Ended("length", raw={"finish_reason": "length"})],
        "",
    ),
    "filtered": (
        delta(content="x") + delta("content_filter") + DONE,
        [TextDelta("x"), Ended("stop", raw={"finish_reason": "content_filter"})],
        "",
    ),
    "thinking by either name": (
        delta(reasoning_content="Hm") + delta(reasoning="!") + delta(reasoning="a", reasoning_content="a")
        + delta(content="x") + STOP + DONE,
        [ThinkingDelta("Hm"), ThinkingDelta("!"), ThinkingDelta("a"), TextDelta("x"), PLAIN],
        "",
    ),
    "a tool call in pieces": (
        call(0, id="c1", name="f", arguments="") + call(0, arguments='{"a":') + call(0, arguments="1}")
        + delta("tool_calls") + DONE,
        [
            ToolCallDelta(0, "c1", "f", ""),
            ToolCallDelta(0, None, None, '{"a":'),
            ToolCallDelta(0, None, None, "1}"),
            CALLED,
        ],
        "",
    ),
    "two tool calls, names repeated": (
        call(0, id="c1", name="f", arguments="{") + call(0, id="c1", name="f", arguments="}")
        + call(1, id="c2", name="g", arguments="{}") + delta("tool_calls") + DONE,
        [
            ToolCallDelta(0, "c1", "f", "{"),
            ToolCallDelta(0, None, None, "}"),
            ToolCallDelta(1, "c2", "g", "{}"),
            CALLED,
        ],
        "",
    ),
    "a tool call that ends with stop": (
        call(0, id="c1", name="f", arguments="{}") + STOP + DONE,
        [ToolCallDelta(0, "c1", "f", "{}"), Ended("tool_calls", raw={"finish_reason": "stop"})],
        "",
    ),
    "a second choice": (
        delta(content="x") + delta(index=1, content="y") + STOP + DONE, [TextDelta("x"), PLAIN], "",
    ),
    "more after [DONE]": (delta(content="x") + DONE + delta(content="y"), [TextDelta("x"), Ended("stop")], ""),
    "bytes that are no UTF-8": (
        delta(content="x").replace(b'"x"', b'"a\xffb"') + STOP + DONE,
        [TextDelta("a\ufffdb"), replace(PLAIN, is_damaged=True)],
        "",
    ),
    "nothing": (b"", [], "interrupted"),
    "no end": (ROLE + delta(content="x"), [TextDelta("x")], "interrupted"),
    "a torn last event": (delta(content="x") + DONE[:-5], [TextDelta("x")], "interrupted"),
    "an empty answer": (ROLE + STOP + DONE, [], "empty"),
    "an error object": (
        delta(content="x") + data({"error": {"message": "it died", "type": "server_error"}}) + DONE,
        [TextDelta("x")],
        "server_error",
    ),
    "an error with a status": (data({"error": {"message": "slow down", "code": 429}}), [], "rate_limited"),
    "an error with a word for a code": (data({"error": {"message": "no", "code": "oops"}}), [], "server_error"),
    "an error that is text": (data({"error": "it died"}), [], "server_error"),
    "not JSON": (delta(content="x") + b"data: <html>\n\n", [TextDelta("x")], "malformed"),
    "not an object": (b"data: []\n\n", [], "malformed"),
    "choices are an object": (data({"choices": {}}), [], "malformed"),
    "delta is text": (data({"choices": [{"delta": "x"}]}), [], "malformed"),
    "content is a number": (delta(content=7), [], "malformed"),
    "index of a call is text": (call("0", name="f"), [], "malformed"),
}  # fmt: skip


def read(body: bytes, cut: int) -> tuple[list[object], BackendError | None]:
    """Events (the end among them), and the error that followed, if any."""
    framer, answer = SseFramer(), OpenAIAnswer(ORIGIN)
    events: list[object] = []
    try:
        for records in (framer.feed(body[:cut]), framer.feed(body[cut:]), framer.end()):
            for record in records:
                events += answer.feed(record)
        events.append(answer.end())
    except BackendError as error:
        return events, error
    return events, None


@pytest.mark.parametrize(("body", "events", "error"), ANSWERS.values(), ids=ANSWERS.keys())
def test_chunks_to_events_cut_at_every_byte(body, events, error):
    for cut in range(len(body) + 1):
        found, failure = read(body, cut)
        assert (found, failure.kind if failure else "") == (events, error), cut


def asked(options: dict[str, object] | None = None, **fields: object) -> ChatCall:
    return ChatCall("m", "coder", [{"role": "user", "content": "Hi"}], options or {}, **fields)  # type: ignore[arg-type]


BASE = {
    "model": "m",
    "messages": [{"role": "user", "content": "Hi"}],
    "stream": True,
    "stream_options": {"include_usage": True},
}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]


@pytest.mark.parametrize("dialect", ["openai", "llama_server"])
@pytest.mark.parametrize(
    ("call", "more"),
    [
        (asked(), {}),
        (asked({"temperature": 0, "max_tokens": 5, "seed": None}), {"temperature": 0, "max_tokens": 5}),
        (asked({"top_k": 4, "min_p": 0.1, "repeat_penalty": 1.1}), {"top_k": 4, "min_p": 0.1, "repeat_penalty": 1.1}),
        (asked({"response_format": {"type": "json_object"}}), {"response_format": {"type": "json_object"}}),
        (asked({"tool_choice": "required"}, tools=TOOLS), {"tools": TOOLS, "tool_choice": "required"}),
        # Servers refuse a choice among no tools.
        (asked({"tool_choice": "none"}), {}),
        (asked({"logprobs": True}), {}),
        (asked(num_ctx=4096), {}),
        (asked(extra={"logit_bias": {"1": 2}, "n": 3}), {"logit_bias": {"1": 2}}),
        (asked(extra={"stream": False, "model": "other"}), {}),
        (asked(extra={"keep_alive": 1}, extra_protocol="ollama"), {}),
    ],
)
def test_a_call_becomes_a_body(call, more, dialect):
    assert chat_body(call, dialect) == BASE | more


@pytest.mark.parametrize(
    ("dialect", "think", "more", "names"),
    [
        ("openai", True, {}, ("think",)),
        ("openai", "high", {"reasoning_effort": "high"}, ()),
        ("llama_server", False, {"chat_template_kwargs": {"enable_thinking": False}}, ()),
        ("llama_server", "high", {"chat_template_kwargs": {"enable_thinking": True}}, ()),
    ],
)
def test_thinking_is_asked_for_as_the_dialect_has_it(dialect, think, more, names):
    assert chat_body(asked({"think": think}), dialect) == BASE | more
    assert left_out(asked({"think": think}), dialect) == names


def test_only_llama_cpp_gets_developer_messages_as_system():
    call = ChatCall("m", "m", [{"role": "developer", "content": "Be brief"}])
    assert chat_body(call, "llama_server")["messages"] == [{"role": "system", "content": "Be brief"}]
    assert chat_body(call, "openai")["messages"] == [{"role": "developer", "content": "Be brief"}]


def test_what_is_left_out_is_named():
    assert left_out(asked({"logprobs": True, "top_logprobs": 0}, extra={"n": 2, "user": "u"}), "openai") == (
        "logprobs", "n",
    )  # fmt: skip
    assert left_out(asked(extra={"keep_alive": 1}, extra_protocol="ollama"), "openai") == ("keep_alive",)
