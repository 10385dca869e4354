"""The bytes of Ollama's answers: one JSON object a line, flushed line by line."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import Any

import orjson

from modelway.backends.mock.wire import Answer, Timing


def timestamp(ns: int) -> str:
    """RFC 3339 in UTC with the nine fraction digits that Go prints; ``ns`` since the epoch."""
    seconds, fraction = divmod(ns, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction:09d}Z"


@dataclass(frozen=True, slots=True)
class OllamaDialect:
    """Answers of ``/api/chat``, or of ``/api/generate`` where ``generates``.

    ``remote_host`` stands in every line of a cloud model's answer. ``done_reason`` is "load" or "unload"
    where that was all the request asked for; such an answer has no metrics.
    """

    asked: str
    generates: bool = False
    remote_host: str | None = None
    done_reason: str | None = None
    raw: bool = False
    content_type: str = "application/x-ndjson"

    def opening(self) -> bytes:
        return b""

    def pieces(self, answer: Answer) -> list[bytes]:
        thinking = [_line(self._record("", thinking=piece, done=False)) for piece in answer.thinking]
        return thinking + [self.text(piece) for piece in answer.text]

    def text(self, piece: str) -> bytes:
        return _line(self._record(piece, done=False))

    def closing(self, answer: Answer, timing: Timing) -> bytes:
        return _line(self._last("", "", answer, timing))

    def whole(self, answer: Answer, timing: Timing) -> bytes:
        return orjson.dumps(self._last("".join(answer.text), "".join(answer.thinking), answer, timing))

    def failure(self, message: str) -> bytes:
        return _line({"error": message})

    def malformed(self) -> bytes:
        return self.text("never closed")[:-4] + b"\n"

    def wrong_type(self) -> bytes:
        return _line(self._record("", done=False) | {"response" if self.generates else "message": 7})

    def _last(self, text: str, thinking: str, answer: Answer, timing: Timing) -> dict[str, Any]:
        calls = [
            {
                "id": f"call_{hashlib.sha256(f'{index}{call.name}'.encode()).hexdigest()[:8]}",
                "function": {"index": index, "name": call.name, "arguments": dict(call.arguments)},
            }
            for index, call in enumerate(answer.tool_calls)
        ]
        record = self._record(text, thinking=thinking, calls=calls, done=True)
        if self.done_reason is not None:
            return record | {"done_reason": self.done_reason}
        record["done_reason"] = "length" if answer.cut else "stop"
        if self.generates and not self.raw:
            record["context"] = list(range(1, answer.prompt_tokens + answer.tokens + 1))
        spent = timing.durations()
        return record | {
            "total_duration": spent["total"],
            "load_duration": spent["load"],
            "prompt_eval_count": answer.prompt_tokens,
            "prompt_eval_duration": spent["prompt_eval"],
            "eval_count": answer.tokens,
            "eval_duration": spent["eval"],
        }

    def _record(self, text: str, *, thinking: str = "", calls: Any = (), done: bool) -> dict[str, Any]:
        record: dict[str, Any] = {"model": self.asked}
        if self.remote_host is not None:
            record |= {"remote_model": self.asked.partition(":")[0], "remote_host": self.remote_host}
        record["created_at"] = timestamp(time.time_ns())
        said: dict[str, Any] = {"response" if self.generates else "content": text}
        if thinking:
            said["thinking"] = thinking
        if calls:
            said["tool_calls"] = calls
        return record | (said if self.generates else {"message": {"role": "assistant"} | said}) | {"done": done}


def _line(record: dict[str, Any]) -> bytes:
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
