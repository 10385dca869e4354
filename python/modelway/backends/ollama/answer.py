"""The lines of Ollama's ``/api/chat`` in, events out. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import orjson

from modelway.backends.wire.records import DamagedRecord, count, mapping, objects, parse_object, text
from modelway.backends.wire.refusals import clean, reported
from modelway.events import BackendEvent, Ended, TextDelta, ThinkingDelta, ToolCallDelta, Usage
from modelway.origin import Origin

_METRICS = (
    "total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration",
    "done_reason",
)  # fmt: skip


class OllamaAnswer:
    """Reads one answer. ``done`` once its last line came; lines after it are not read.

    An answer that was made elsewhere is cut off, unless it ``may_be_handed_on``.
    """

    def __init__(self, origin: Origin, *, may_be_handed_on: bool = False):
        self.done = False
        self._origin = origin
        self._may_be_handed_on = may_be_handed_on
        self._last: dict[str, Any] = {}
        self._calls = 0
        self._empty = True
        self._is_damaged = False

    def feed(self, record: bytes) -> Iterator[BackendEvent]:
        if self.done:
            return
        line = parse_object(record, self._origin)
        self._is_damaged |= isinstance(line, DamagedRecord)
        # First of all: an error line has nothing else, and comes under status 200.
        if line.get("error") is not None:
            raise reported(self._origin, line["error"])
        if (host := line.get("remote_host")) and not self._may_be_handed_on:
            where = clean(str(host))
            raise self._origin.error("malformed", f"the server sent the request on to {where}, which nobody allowed")
        message = mapping(line, "message", self._origin)
        if thought := text(message, "thinking", self._origin):
            self._empty = False
            yield ThinkingDelta(thought)
        if said := text(message, "content", self._origin):
            self._empty = False
            yield TextDelta(said)
        for call in objects(message, "tool_calls", self._origin):
            self._empty = False
            yield self._tool_call(call)
        done = line.get("done", False)
        if not isinstance(done, bool):
            raise self._origin.error("malformed", "field 'done' of the answer is neither true nor false")
        if done:
            self.done = True
            self._last = line

    def end(self) -> Ended:
        if not self.done:
            # Ollama closes a runaway answer in good order, but never with this record.
            raise self._origin.error("interrupted", "the answer ended without its last record (done: true)")
        if self._empty:
            raise self._origin.error("empty", "the answer was empty")
        last = self._last
        reason = "length" if last.get("done_reason") == "length" else "tool_calls" if self._calls else "stop"
        load_ns = count(last, "load_duration")
        return Ended(
            finish_reason=reason,
            usage=Usage(count(last, "prompt_eval_count"), count(last, "eval_count")),
            load_ms=None if load_ns is None else load_ns / 1e6,
            raw={key: last[key] for key in _METRICS if key in last},
            is_damaged=self._is_damaged,
        )

    def _tool_call(self, call: dict[str, Any]) -> ToolCallDelta:
        """A whole call. Servers before 0.12 give it no id; the server's index is 0 for each."""
        function = mapping(call, "function", self._origin)
        name = text(function, "name", self._origin)
        if not name:
            raise self._origin.error("malformed", "a tool call of the answer has no name")
        index = self._calls
        self._calls += 1
        return ToolCallDelta(
            index=index,
            id=text(call, "id", self._origin) or f"call_{uuid4().hex[:8]}",
            name=name,
            arguments=orjson.dumps(mapping(function, "arguments", self._origin)).decode(),
        )
