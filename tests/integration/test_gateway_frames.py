"""Events to bytes: what each protocol writes for an answer, streamed and whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelway.conductor.reply import Reply
from modelway.config import Config
from modelway.errors import (
    Attempt,
    BackendError,
    ContextTooLong,
    InvalidRequest,
    ModelwayError,
    NoModelAvailable,
    QueueFull,
    RateLimited,
    StreamInterrupted,
    UnknownModel,
)
from modelway.events import (
    FallingBack,
    Finished,
    ModelLoading,
    ModelSelected,
    Queued,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
)
from modelway.gateway import ollama_lines, openai
from modelway.gateway.asked import Asked
from modelway.gateway.facts import Facts, clean
from modelway.gateway.ollama_lines import ChatLines, GenerateLines
from modelway.gateway.openai import ChatFraming
from modelway.gateway.problems import Problem, problem_of
from modelway.router import ModelRouter

USAGE = Usage(7, 3)
PIECES = (
    ThinkingDelta("hm"),
    TextDelta("Hé"),
    TextDelta("llo\n"),
    ToolCallDelta(0, None, "now", '{"city":'),
    ToolCallDelta(0, None, None, '"Köln"}'),
    ToolCallDelta(1, "call_x", "later", ""),
)
CALLS = (
    {"id": "call_0", "type": "function", "function": {"name": "now", "arguments": '{"city":"Köln"}'}},
    {"id": "call_x", "type": "function", "function": {"name": "later", "arguments": ""}},
)
OLLAMA_CALLS = [
    {"id": "call_0", "function": {"index": 0, "name": "now", "arguments": {"city": "Köln"}}},
    {"id": "call_x", "function": {"index": 1, "name": "later", "arguments": {}}},
]


def asked(include_usage: bool = False) -> Asked:
    return Asked(messages=[], model=None, task=None, stream=True, include_usage=include_usage)


def facts() -> Facts:
    return Facts(lambda model: ("backend", "device"), lambda user: {})


def finished(finish_reason: str = "tool_calls", usage: Usage = USAGE) -> Finished:
    return Finished("m", "b", finish_reason, usage, ttft_ms=30.0, duration_ms=80.0, load_ms=10.0)


def reply(calls: tuple[dict[str, Any], ...] = CALLS, text: str = "Héllo\n") -> Reply:
    end = finished()
    return Reply(text, "hm", calls, "m", None, (end,), end.usage, (), end.finish_reason, "id")  # type: ignore[arg-type]


def sse(frames: bytes) -> list[Any]:
    """The events of an SSE stream: objects, ``[DONE]``, and comments as they stand."""
    blocks = frames.decode().split("\n\n")
    assert blocks.pop() == "", "each event ends with an empty line"
    data = [block.removeprefix("data: ") for block in blocks]
    return [json.loads(item) if item.startswith("{") else item for item in data]


def lines(frames: bytes) -> list[Any]:
    assert frames.endswith(b"\n")
    return [json.loads(line) for line in frames.splitlines()]


def written(framing: ChatFraming | ChatLines, end: Finished) -> bytes:
    body = b"".join(framing.delta(piece, "m") for piece in PIECES)
    return framing.first("m") + body + framing.end(end, facts())


def test_openai_stream() -> None:
    *chunks, done = sse(written(ChatFraming(asked(), facts()), finished()))
    assert done == "[DONE]"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk["model"] for chunk in chunks} == {"m"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "hm"},
        {"content": "Hé"},
        {"content": "llo\n"},
        {
            "tool_calls": [
                {
                    "index": 0,
                    "id": "call_0",
                    "type": "function",
                    "function": {"name": "now", "arguments": '{"city":'},
                }
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": '"Köln"}'}}]},
        {
            "tool_calls": [
                {"index": 1, "id": "call_x", "type": "function", "function": {"name": "later", "arguments": ""}}
            ]
        },
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * 7 + ["tool_calls"]
    assert not any("usage" in chunk for chunk in chunks)


def test_openai_stream_with_usage() -> None:
    *chunks, usage, _ = sse(written(ChatFraming(asked(include_usage=True), facts()), finished()))
    assert all(chunk["usage"] is None for chunk in chunks)
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def test_openai_whole() -> None:
    body = ChatFraming(asked(), facts()).whole(reply(), finished(), facts())
    assert body["object"] == "chat.completion"
    assert body["model"] == "m"
    assert body["usage"]["total_tokens"] == 10
    (choice,) = body["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"] == {
        "role": "assistant",
        "content": "Héllo\n",
        "reasoning_content": "hm",
        "tool_calls": list(CALLS),
    }


@pytest.mark.parametrize(("calls", "content"), [(CALLS, None), ((), "")])
def test_openai_whole_without_text(calls: tuple[dict[str, Any], ...], content: str | None) -> None:
    body = ChatFraming(asked(), facts()).whole(reply(calls, text=""), finished(), facts())
    assert body["choices"][0]["message"]["content"] == content


def test_unknown_usage_is_left_out_not_made_up() -> None:
    unknown = finished(usage=Usage())
    usage_chunk = sse(ChatFraming(asked(include_usage=True), facts()).end(unknown, facts()))[-2]
    assert usage_chunk["usage"] is None
    (last,) = lines(ChatLines(asked(), facts()).end(unknown, facts()))
    assert "eval_count" not in last
    assert "prompt_eval_count" not in last


def test_ollama_chat_stream() -> None:
    *deltas, last = lines(written(ChatLines(asked(), facts()), finished()))
    assert [line["message"] for line in deltas] == [
        {"role": "assistant", "content": "", "thinking": "hm"},
        {"role": "assistant", "content": "Hé"},
        {"role": "assistant", "content": "llo\n"},
        {"role": "assistant", "content": "", "tool_calls": OLLAMA_CALLS},
    ]
    assert {line["done"] for line in deltas} == {False}
    assert {line["model"] for line in [*deltas, last]} == {"m"}
    assert last["done"] is True
    assert last["done_reason"] == "stop"
    assert last["message"] == {"role": "assistant", "content": ""}


def test_ollama_generate_stream() -> None:
    *deltas, last = lines(written(GenerateLines(asked(), facts()), finished("length")))
    assert [line["response"] for line in deltas] == ["", "Hé", "llo\n", ""]
    assert deltas[0]["thinking"] == "hm"
    assert deltas[-1]["tool_calls"] == OLLAMA_CALLS
    assert not any("message" in line for line in [*deltas, last])
    assert last["done_reason"] == "length"


@pytest.mark.parametrize("framing", [ChatLines, GenerateLines])
def test_ollama_whole_has_text_and_metrics(framing: type[ChatLines]) -> None:
    body = framing(asked(), facts()).whole(reply(), finished(), facts())
    message = body["message"] if framing is ChatLines else body
    assert message["content" if framing is ChatLines else "response"] == "Héllo\n"
    assert message["thinking"] == "hm"
    assert message["tool_calls"] == OLLAMA_CALLS
    assert body["done"] is True
    assert body["total_duration"] >= 0
    assert body["load_duration"] == 10_000_000
    assert body["prompt_eval_count"] == 7
    assert body["prompt_eval_duration"] == 20_000_000
    assert body["eval_count"] == 3
    assert body["eval_duration"] == 50_000_000


@pytest.mark.parametrize("arguments", ["{", "[]", '"x"'])
def test_a_tool_call_that_ollama_cannot_express_is_an_error(arguments: str) -> None:
    framing = ChatLines(asked(), facts())
    framing.delta(ToolCallDelta(0, "c", "f", arguments), "m")
    with pytest.raises(BackendError, match="no JSON object"):
        framing.end(finished(), facts())


def test_failures_in_mid_stream() -> None:
    problem = Problem(502, "stream_interrupted", "it broke off", partial="Hé")
    (event,) = sse(ChatFraming(asked(), facts()).failure(problem))
    assert event == {
        "error": {
            "message": "it broke off",
            "type": "api_error",
            "param": None,
            "code": "stream_interrupted",
            "partial": "Hé",
        }
    }
    (line,) = lines(ChatLines(asked(), facts()).failure(problem))
    assert line == {"error": "it broke off", "partial": "Hé"}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (404, "invalid_request_error"),
        (403, "permission_error"),
        (429, "rate_limit_error"),
        (502, "api_error"),
        (503, "api_error"),
    ],
)
def test_error_types_are_those_of_openai(status: int, kind: str) -> None:
    body = openai.error_body(Problem(status, "code", "text"))
    assert body == {"error": {"message": "text", "type": kind, "param": None, "code": "code"}}
    assert ollama_lines.error_body(Problem(status, "code", "text")) == {"error": "text"}


@pytest.mark.parametrize(
    ("error", "status", "code", "retry_after_s"),
    [
        (InvalidRequest("x"), 400, "invalid_request", None),
        (ContextTooLong("x"), 400, "context_length_exceeded", None),
        (UnknownModel("x"), 404, "model_not_found", None),
        (NoModelAvailable("x"), 503, "no_model_available", 1),
        (
            NoModelAvailable("x", (Attempt("a", "y", 7.2), Attempt("b", "y", 3.1), Attempt("c", "y"))),
            503,
            "no_model_available",
            4,
        ),
        (NoModelAvailable("x", (Attempt("a", "y", 0.0),)), 503, "no_model_available", 1),
        (RateLimited("x", limit="user requests", retry_after_s=0.2), 429, "rate_limit_exceeded", 1),
        (RateLimited("x", limit="user tokens", retry_after_s=59.1), 429, "rate_limit_exceeded", 60),
        (RateLimited("x", limit="quota tokens", retry_after_s=86_000.0), 429, "quota_exceeded", 86_000),
        (RateLimited("x", limit="users", retry_after_s=3.0), 429, "rate_limit_exceeded", 3),
        (RateLimited("x", limit="all tokens"), 400, "larger_than_limit", None),
        (QueueFull("x", retry_after_s=7.5), 503, "queue_full", 8),
        (QueueFull("x"), 503, "queue_full", 1),
        (BackendError("x", kind="rejected"), 400, "backend_rejected", None),
        (BackendError("x", kind="rejected", detail="exceeds the context length"), 400, "context_length_exceeded", None),
        (BackendError("x", kind="rate_limited", retry_after_s=2.5), 429, "backend_rate_limited", 3),
        (BackendError("x", kind="busy"), 503, "backend_busy", 1),
        (BackendError("x", kind="timeout"), 504, "backend_timeout", None),
        (BackendError("x", kind="unauthorized", status=401), 502, "backend_unauthorized", None),
        (BackendError("x", kind="malformed"), 502, "backend_malformed", None),
        (StreamInterrupted("x", partial="y"), 502, "stream_interrupted", None),
        (ModelwayError("x"), 500, "internal_error", None),
        (ValueError("x"), 500, "internal_error", None),
    ],
)
def test_statuses(error: Exception, status: int, code: str, retry_after_s: int | None) -> None:
    problem = problem_of(error)
    assert (problem.status, problem.code, problem.retry_after_s) == (status, code, retry_after_s)
    assert (problem.message == "x") == (status != 500), "nothing is shown of an error nobody expected"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("a\r\nb", "a??b"),
        ("modèle", "mod\\xe8le"),
        ("\x00\x7f", "??"),
        ("x" * 2000, "x" * 1000),
    ],
)
def test_header_values_are_clean(value: str, shown: str) -> None:
    assert clean(value) == shown


@pytest.mark.parametrize(
    ("standing", "headers"),
    [
        ({}, {}),
        (
            {"requests": {"limit": 20, "remaining": 7, "reset_s": 39.0}},
            {"limit-requests": "20", "remaining-requests": "7", "reset-requests": "39.000s"},
        ),
        (
            {
                "tokens": {"limit": 900, "remaining": 880, "reset_s": 0.25},
                "quota_tokens": {"limit": 5_000, "remaining": 12, "reset_s": 3_600.0},
            },
            {"limit-tokens": "5000", "remaining-tokens": "12", "reset-tokens": "3600.000s"},
        ),
    ],
)
def test_what_is_left_stands_in_headers_the_tightest_where_two_count_the_same(
    standing: dict[str, dict[str, float]], headers: dict[str, str]
) -> None:
    asked_for = []

    def standing_of(user: str | None) -> dict[str, dict[str, float]]:
        asked_for.append(user)
        return standing

    known = Facts(lambda model: ("backend", "device"), standing_of)
    known.user = "alice"
    found = {name: value for name, value in known.headers().items() if name.startswith("x-ratelimit-")}
    assert found == {f"x-ratelimit-{name}": value for name, value in headers.items()}
    assert asked_for == ["alice"]


def test_what_was_waited_is_summed_over_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("modelway.gateway.facts.time.monotonic", lambda: now[0])
    known = facts()
    decision = ModelRouter(Config.from_toml('[defaults]\ngeneral = "a"')).select("hello")
    known.note(ModelSelected("a", "b", "general", 1.0, "device", "default", "because", "id", decision))

    def at(second: float, event: Queued | FallingBack) -> str:
        now[0] = second
        known.note(event)
        return known.headers()["x-modelway-queue-ms"]

    assert at(1, Queued("a", "b", 3, 12.4)) == "0"
    assert known.waiting_comment() == "queued position=3 eta_s=12"
    assert at(3, Queued("a", "b", 1, None)) == "2000"
    assert known.waiting_comment() == "queued position=1"
    assert at(4, FallingBack("a", "c", "it")) == "3000"
    assert known.waiting_comment().startswith("waiting model=c")
    assert at(5, ModelLoading("c", "b", 4.0)) == "3000"
    now[0] = 5.9
    assert known.waiting_comment() == "loading model=c eta_s=3"
    assert at(6, Queued("c", "b", 1, None)) == "3000"
    assert at(7, Queued("c", "b", 0, 0.0)) == "4000"
    now[0] = 9
    assert known.headers()["x-modelway-queue-ms"] == "4000"
