"""The bytes of OpenAI's answers as llama.cpp's server sends them: server-sent events, or one JSON object."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import orjson

from modelway.backends.mock.wire import Answer, Timing

#: The error types OpenAI-compatible servers give for each status; others are ``server_error``.
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "unavailable_error",
}


def error_object(status: int, message: str, **extra: Any) -> dict[str, Any]:
    """The body of an error; ``extra`` fields win, so that a refusal can name a finer type."""
    error = {"code": status, "message": message, "type": ERROR_TYPES.get(status, "server_error")}
    return {"error": error | extra}


@dataclass(frozen=True, slots=True)
class OpenAIDialect:
    """Answers of ``/v1/chat/completions``; ``include_usage`` adds the chunk that counts the tokens."""

    asked: str
    include_usage: bool = False
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    content_type: str = "text/event-stream"

    def opening(self) -> bytes:
        return self._delta({"role": "assistant", "content": None})

    def pieces(self, answer: Answer) -> list[bytes]:
        thinking = [self._delta({"reasoning_content": piece}) for piece in answer.thinking]
        records = thinking + [self.text(piece) for piece in answer.text]
        for index, call in enumerate(answer.tool_calls):
            arguments = orjson.dumps(call.arguments).decode()
            half = len(arguments) // 2
            first = _call(index, arguments[:half], call.name)
            rest = {"index": index, "function": {"arguments": arguments[half:]}}
            records += [self._delta({"tool_calls": [part]}) for part in (first, rest)]
        return records

    def text(self, piece: str) -> bytes:
        return self._delta({"content": piece})

    def closing(self, answer: Answer, timing: Timing) -> bytes:
        end = _event(self._chunk([{"finish_reason": _finish_reason(answer), "index": 0, "delta": {}}]))
        if self.include_usage:
            end += _event(self._chunk([]) | {"usage": _usage(answer)})
        return end + b"data: [DONE]\n\n"

    def whole(self, answer: Answer, timing: Timing) -> bytes:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(answer.text) or None}
        if answer.thinking:
            message["reasoning_content"] = "".join(answer.thinking)
        if answer.tool_calls:
            message["tool_calls"] = [
                _call(index, orjson.dumps(call.arguments).decode(), call.name)
                for index, call in enumerate(answer.tool_calls)
            ]
        choice = {"finish_reason": _finish_reason(answer), "index": 0, "message": message}
        return orjson.dumps(self._chunk([choice]) | {"object": "chat.completion", "usage": _usage(answer)})

    def failure(self, message: str) -> bytes:
        return _event(error_object(500, message))

    def malformed(self) -> bytes:
        return self.text("never closed")[:-5] + b"\n\n"

    def wrong_type(self) -> bytes:
        return _event(self._chunk([]) | {"choices": 7})

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return _event(self._chunk([{"finish_reason": None, "index": 0, "delta": delta}]))

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "choices": choices,
            "created": int(time.time()),
            "id": self.id,
            "model": self.asked,
            "system_fingerprint": "b0-mock",
            "object": "chat.completion.chunk",
        }


def _call(index: int, arguments: str, name: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"index": index, "id": f"call_{index}_{name}", "type": "function", "function": function}


def _finish_reason(answer: Answer) -> str:
    if answer.tool_calls:
        return "tool_calls"
    return "length" if answer.cut else "stop"


def _usage(answer: Answer) -> dict[str, int]:
    return {
        "completion_tokens": answer.tokens,
        "prompt_tokens": answer.prompt_tokens,
        "total_tokens": answer.prompt_tokens + answer.tokens,
    }


def _event(record: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(record) + b"\n\n"
