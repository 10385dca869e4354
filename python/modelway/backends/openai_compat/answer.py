"""The chunks of an OpenAI-compatible chat completion in, events out. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelway.backends.wire.records import DamagedRecord, count, mapping, objects, parse_object, text
from modelway.backends.wire.refusals import reported
from modelway.events import BackendEvent, Ended, TextDelta, ThinkingDelta, ToolCallDelta, Usage
from modelway.origin import Origin

_FINISHES = {"length": "length", "tool_calls": "tool_calls", "function_call": "tool_calls"}


class OpenAIAnswer:
    """Reads one answer. ``done`` once ``[DONE]`` came; a finish reason before the end of the body will do, too."""

    def __init__(self, origin: Origin):
        self.done = False
        self._origin = origin
        self._finish: str | None = None
        self._usage: dict[str, Any] = {}
        self._raw: dict[str, Any] = {}
        self._calls: set[int] = set()
        self._empty = True
        self._is_damaged = False

    def feed(self, record: bytes) -> Iterator[BackendEvent]:
        if self.done:
            return
        if record.strip() == b"[DONE]":
            self.done = True
            return
        chunk = parse_object(record, self._origin)
        self._is_damaged |= isinstance(chunk, DamagedRecord)
        if chunk.get("error") is not None:
            raise reported(self._origin, chunk["error"])
        if usage := mapping(chunk, "usage", self._origin):
            self._usage = usage
        self._raw |= {key: chunk[key] for key in ("usage", "timings") if chunk.get(key)}
        for choice in objects(chunk, "choices", self._origin):
            # Only one answer was asked for; a server's further ones have no place to go.
            if choice.get("index", 0) == 0:
                yield from self._deltas(mapping(choice, "delta", self._origin))
                if reason := text(choice, "finish_reason", self._origin):
                    self._finish = reason

    def end(self) -> Ended:
        if not self.done and self._finish is None:
            raise self._origin.error("interrupted", "the answer ended without a finish reason or [DONE]")
        if self._empty:
            raise self._origin.error("empty", "the answer was empty")
        reason = _FINISHES.get(self._finish or "stop", "stop")
        return Ended(
            # Some servers say "stop" after a tool call.
            finish_reason="tool_calls" if self._calls and reason == "stop" else reason,
            usage=Usage(count(self._usage, "prompt_tokens"), count(self._usage, "completion_tokens")),
            raw=self._raw | ({"finish_reason": self._finish} if self._finish else {}),
            is_damaged=self._is_damaged,
        )

    def _deltas(self, delta: dict[str, Any]) -> Iterator[BackendEvent]:
        # llama.cpp, vLLM and DeepSeek use the first name, Ollama and OpenRouter the second.
        thought = text(delta, "reasoning_content", self._origin) or text(delta, "reasoning", self._origin)
        if thought:
            self._empty = False
            yield ThinkingDelta(thought)
        if said := text(delta, "content", self._origin):
            self._empty = False
            yield TextDelta(said)
        for call in objects(delta, "tool_calls", self._origin):
            self._empty = False
            yield self._tool_call(call)

    def _tool_call(self, call: dict[str, Any]) -> ToolCallDelta:
        index = call.get("index", 0)
        if type(index) is not int:
            raise self._origin.error("malformed", "the index of a tool call of the answer is no number")
        function = mapping(call, "function", self._origin)
        first = index not in self._calls
        self._calls.add(index)
        return ToolCallDelta(
            index=index,
            # Some servers repeat both with every piece.
            id=(text(call, "id", self._origin) or None) if first else None,
            name=(text(function, "name", self._origin) or None) if first else None,
            arguments=text(function, "arguments", self._origin),
        )
