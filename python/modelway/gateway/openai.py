"""OpenAI's protocol: chat-completion bodies in, ``data:`` events or one object out. Pure functions of data.

A failure after the first record is an ``error`` event, and the stream then ends **without** ``[DONE]``:
OpenAI's clients raise on the first and must not take the answer for complete.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import orjson

from modelway.conductor.reply import Reply
from modelway.errors import InvalidRequest
from modelway.events import Finished, TextDelta, ThinkingDelta, ToolCallDelta, Usage
from modelway.gateway.asked import RELOAD_OPTIONS, Asked, model_choice, not_honoured, read, read_objects
from modelway.gateway.facts import Facts
from modelway.gateway.options import checked
from modelway.gateway.problems import Problem

#: The protocol's option to the conductor's; a later name wins over an earlier one.
_OPTIONS = {
    name: name
    for name in (
        "temperature", "top_p", "top_k", "min_p", "stop", "seed", "presence_penalty", "frequency_penalty",
        "repeat_penalty", "response_format", "tool_choice", "max_tokens",
    )
} | {"max_completion_tokens": "max_tokens"}  # fmt: skip
_READ_HERE = frozenset({"model", "messages", "stream", "stream_options", "tools", "n", "user"})
#: Ollama's words that its users also send here, and log-probabilities, which the events don't carry.
_NOT_HONOURED = RELOAD_OPTIONS | {"keep_alive", "truncate", "logprobs", "top_logprobs"}
_REPLACED = {"functions": "tools", "function_call": "tool_choice"}

_ERROR_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def parse(body: Mapping[str, Any]) -> Asked:
    """What a chat-completion body asks for. Raises :class:`InvalidRequest` or :class:`UnknownModel`."""
    model, task = model_choice(body)
    for old, new in _REPLACED.items():
        if body.get(old) is not None:
            raise InvalidRequest(f"{old}: withdrawn from the protocol; send {new}")
    if body.get("n") not in (None, 1):
        raise InvalidRequest("n: only 1 answer a request; send the request several times")
    options = checked(body, _OPTIONS)
    response_format = options.get("response_format", {})
    if response_format.get("type") == "json_schema":
        schema = read(response_format, "json_schema", dict, "response_format.") or {}
        if not isinstance(schema.get("schema"), dict):
            raise InvalidRequest("response_format.json_schema.schema: must be an object")
    stream_options = read(body, "stream_options", dict) or {}
    return Asked(
        messages=read_objects(body, "messages"),
        model=model,
        task=task,
        stream=read(body, "stream", bool) or False,
        user=read(body, "user", str) or None,
        tools=read_objects(body, "tools") or None,
        options=options,
        extra={k: v for k, v in body.items() if k not in _OPTIONS.keys() | _READ_HERE | _NOT_HONOURED},
        extra_protocol="openai",
        # `false` asks for nothing of these but truncate: false, which every request gets.
        warnings=not_honoured(body, "", lambda name, value: name in _NOT_HONOURED and value is not False),
        include_usage=read(stream_options, "include_usage", bool, "stream_options.") or False,
    )


def error_body(problem: Problem) -> dict[str, Any]:
    kind = _ERROR_TYPES.get(problem.status, "invalid_request_error" if problem.status < 500 else "api_error")
    error: dict[str, Any] = {"message": problem.message, "type": kind, "param": None, "code": problem.code}
    if problem.partial is not None:
        error["partial"] = problem.partial
    return {"error": error}


class ChatFraming:
    """One answer to ``POST /v1/chat/completions``."""

    content_type = "text/event-stream"
    has_comments = True

    def __init__(self, asked: Asked, facts: Facts) -> None:
        self._include_usage = asked.include_usage
        self._id = f"chatcmpl-{facts.request_id}"
        self._created = int(time.time())
        self._tool_calls_begun: set[int] = set()

    def first(self, model: str) -> bytes:
        return self._chunk(model, {"role": "assistant", "content": ""})

    def delta(self, event: TextDelta | ThinkingDelta | ToolCallDelta, model: str) -> bytes:
        match event:
            case TextDelta():
                return self._chunk(model, {"content": event.text})
            case ThinkingDelta():
                return self._chunk(model, {"reasoning_content": event.text})
            case ToolCallDelta():
                return self._chunk(model, {"tool_calls": [self._tool_call(event)]})

    def end(self, finished: Finished, facts: Facts) -> bytes:
        frames = self._chunk(finished.model, {}, finished.finish_reason)
        if self._include_usage:
            frames += _event(self._envelope(finished.model) | {"choices": [], "usage": _usage(finished.usage)})
        return frames + b"data: [DONE]\n\n"

    def failure(self, problem: Problem) -> bytes:
        return _event(error_body(problem))

    def comment(self, text: str) -> bytes:
        return f": {text}\n\n".encode()

    def whole(self, reply: Reply, finished: Finished, facts: Facts) -> dict[str, Any]:
        # A message that only calls tools has no content, not an empty one.
        message: dict[str, Any] = {"role": "assistant", "content": reply.text or (None if reply.tool_calls else "")}
        if reply.thinking:
            message["reasoning_content"] = reply.thinking
        if reply.tool_calls:
            message["tool_calls"] = list(reply.tool_calls)
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish_reason}
        return {
            "id": self._id,
            "object": "chat.completion",
            "created": self._created,
            "model": reply.model,
            "choices": [choice],
            "usage": _usage(reply.usage),
        }

    def _tool_call(self, event: ToolCallDelta) -> dict[str, Any]:
        function: dict[str, Any] = {"arguments": event.arguments}
        call: dict[str, Any] = {"index": event.index, "function": function}
        if event.index not in self._tool_calls_begun:
            self._tool_calls_begun.add(event.index)
            call |= {"id": event.id or f"call_{event.index}", "type": "function"}
            function["name"] = event.name or ""
        return call

    def _chunk(self, model: str, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        chunk = self._envelope(model) | {"choices": [choice]}
        if self._include_usage:
            chunk["usage"] = None  # the protocol: every chunk has the key, the last one the counts
        return _event(chunk)

    def _envelope(self, model: str) -> dict[str, Any]:
        return {"id": self._id, "object": "chat.completion.chunk", "created": self._created, "model": model}


def _usage(usage: Usage) -> dict[str, int] | None:
    if usage.prompt_tokens is None or usage.completion_tokens is None:
        return None
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"
