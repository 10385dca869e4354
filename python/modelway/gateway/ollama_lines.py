"""Ollama's protocol, answers: lines of JSON, the last of them with ``done`` and the metrics, or one object.

A failure after the first line is a last line ``{"error": ...}`` without ``done``. Metrics that nobody
measured are left out, as Ollama leaves out those that are zero; durations are in nanoseconds.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson

from modelway.conductor.reply import Reply, tool_calls
from modelway.errors import BackendError
from modelway.events import Finished, TextDelta, ThinkingDelta, ToolCall, ToolCallDelta
from modelway.gateway.asked import Asked
from modelway.gateway.facts import Facts
from modelway.gateway.problems import Problem

_NS_PER_MS = 1_000_000


def error_body(problem: Problem) -> dict[str, Any]:
    error: dict[str, Any] = {"error": problem.message}
    if problem.partial is not None:
        error["partial"] = problem.partial
    return error


class ChatLines:
    """One answer to ``POST /api/chat``."""

    content_type = "application/x-ndjson"
    has_comments = False

    def __init__(self, asked: Asked, facts: Facts) -> None:
        # Ollama sends a call whole, so its pieces wait here for the end.
        self._tool_pieces: list[ToolCallDelta] = []

    def first(self, model: str) -> bytes:
        return b""

    def delta(self, event: TextDelta | ThinkingDelta | ToolCallDelta, model: str) -> bytes:
        match event:
            case TextDelta():
                return self._line(model, text=event.text)
            case ThinkingDelta():
                return self._line(model, thinking=event.text)
            case ToolCallDelta():
                self._tool_pieces.append(event)
                return b""

    def end(self, finished: Finished, facts: Facts) -> bytes:
        lines = b""
        if self._tool_pieces:
            lines = self._line(finished.model, calls=tool_calls(self._tool_pieces))
        last = self._record(finished.model) | _last_fields(finished, facts)
        return lines + _encode(last)

    def failure(self, problem: Problem) -> bytes:
        return _encode(error_body(problem))

    def comment(self, text: str) -> bytes:
        return b""

    def whole(self, reply: Reply, finished: Finished, facts: Facts) -> dict[str, Any]:
        record = self._record(reply.model, reply.text, reply.thinking, reply.tool_calls)
        return record | _last_fields(finished, facts)

    def _line(self, model: str, text: str = "", thinking: str = "", calls: tuple[ToolCall, ...] = ()) -> bytes:
        return _encode(self._record(model, text, thinking, calls) | {"done": False})

    def _record(
        self, model: str, text: str = "", thinking: str = "", calls: tuple[ToolCall, ...] = ()
    ) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if thinking:
            message["thinking"] = thinking
        if calls:
            message["tool_calls"] = _ollama_calls(calls)
        return {"model": model, "created_at": _now(), "message": message}


class GenerateLines(ChatLines):
    """One answer to ``POST /api/generate``: the text stands in ``response`` instead of a message."""

    def _record(
        self, model: str, text: str = "", thinking: str = "", calls: tuple[ToolCall, ...] = ()
    ) -> dict[str, Any]:
        record: dict[str, Any] = {"model": model, "created_at": _now(), "response": text}
        if thinking:
            record["thinking"] = thinking
        if calls:
            record["tool_calls"] = _ollama_calls(calls)
        return record


def _ollama_calls(calls: tuple[ToolCall, ...]) -> list[dict[str, Any]]:
    return [
        {
            "id": call["id"],
            "function": {
                "index": index,
                "name": call["function"]["name"],
                "arguments": _arguments(call["function"]["arguments"]),
            },
        }
        for index, call in enumerate(calls)
    ]


def _arguments(text: str) -> dict[str, Any]:
    """The object that OpenAI's spelling holds as a text; a call without arguments may hold none."""
    try:
        arguments = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        arguments = None
    if not isinstance(arguments, dict):
        raise BackendError("the model called a tool with arguments that are no JSON object", kind="malformed")
    return arguments


def _last_fields(finished: Finished, facts: Facts) -> dict[str, Any]:
    # After a fallback the time to the first token holds the failed attempts too: no measure of this model.
    prompt_ms = 0.0 if facts.fell_back else max(0.0, finished.ttft_ms - finished.load_ms)
    metrics = {
        "total_duration": round(facts.elapsed_ms * _NS_PER_MS),
        "load_duration": round(finished.load_ms * _NS_PER_MS),
        "prompt_eval_count": finished.usage.prompt_tokens,
        "prompt_eval_duration": round(prompt_ms * _NS_PER_MS),
        "eval_count": finished.usage.completion_tokens,
        "eval_duration": round(max(0.0, finished.duration_ms - finished.ttft_ms) * _NS_PER_MS),
    }
    # Calling a tool is no reason of its own here: the model stopped.
    reason = "length" if finished.finish_reason == "length" else "stop"
    return {"done": True, "done_reason": reason} | {name: value for name, value in metrics.items() if value}


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _encode(value: dict[str, Any]) -> bytes:
    return orjson.dumps(value) + b"\n"
