"""What the routes of both protocols share: a request understood, an answer made, and a way to write it.

A protocol turns a body into an :class:`Ask`; :func:`make_answer` decides what the model says to it; the
ask's :class:`Dialect` turns that into bytes. Nothing here knows of sockets or faults.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from modelway.backends.mock.config import MockModelConfig, MockToolCall, pieces_of
from modelway.backends.mock.history import ModelRequest

#: What makes a loaded model unfit for a request that wants something else: its context and other options of its load.
Setup = tuple[tuple[str, object], ...]

#: How many characters the mock counts as one token.
CHARS_PER_TOKEN = 4


class Refusal(Exception):
    """A request the server answers with an HTTP error; ``extra`` are further fields of the error object."""

    def __init__(self, status: int, message: str, **extra: Any):
        self.status = status
        self.message = message
        self.extra = extra
        super().__init__(message)


@dataclass(slots=True)
class Timing:
    """Nanoseconds of one request, by the monotonic clock; a real server reports no zero durations."""

    started: int = field(default_factory=time.perf_counter_ns)
    loaded: int = 0
    first_piece: int = 0

    def durations(self) -> dict[str, int]:
        """total, load, prompt_eval and eval, each at least 1; they add up to no more than the total."""
        now = time.perf_counter_ns()
        loaded = self.loaded or self.started
        first = self.first_piece or now
        return {
            "total": max(1, now - self.started),
            "load": max(1, loaded - self.started),
            "prompt_eval": max(1, first - loaded),
            "eval": max(1, now - first),
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model says to one request; ``cut`` where the length limit ended it."""

    thinking: list[str]
    text: list[str]
    tool_calls: Sequence[MockToolCall]
    prompt_tokens: int
    cut: bool = False

    @property
    def tokens(self) -> int:
        return len(self.thinking) + len(self.text) + len(self.tool_calls)


class Dialect(Protocol):
    """How one answer is written. Each method gives whole records, ready to be sent."""

    @property
    def content_type(self) -> str: ...

    def opening(self) -> bytes:
        """What comes before the first piece; may be empty."""

    def pieces(self, answer: Answer) -> list[bytes]:
        """One record a piece of the answer, in order."""

    def closing(self, answer: Answer, timing: Timing) -> bytes:
        """What ends a good answer."""

    def text(self, piece: str) -> bytes:
        """A record with a piece of text."""

    def failure(self, message: str) -> bytes:
        """An error object where a record was due."""

    def malformed(self) -> bytes:
        """A record that is framed as it should be and is not JSON."""

    def wrong_type(self) -> bytes:
        """A record that is JSON and not of the protocol's shape."""

    def whole(self, answer: Answer, timing: Timing) -> bytes:
        """The body of an answer that is not streamed."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request of either protocol, as far as it decides the answer.

    ``limit`` is the most pieces it may have. ``silent``: the model is only to be loaded or unloaded.
    ``keep_alive_s``: how long the model is to stay in memory afterwards; None: as long as before. ``setup`` is what it
    has to be loaded with.
    """

    stream: bool
    dialect: Dialect
    prompt_tokens: int
    limit: int | None = None
    thinks: bool = True
    wants_tool: bool = False
    silent: bool = False
    keep_alive_s: float | None = None
    setup: Setup = ()

    @property
    def unloads(self) -> bool:
        """Whether the model is only to leave."""
        return self.silent and self.keep_alive_s == 0


def make_answer(name: str, config: MockModelConfig, ask: Ask, record: ModelRequest) -> Answer:
    """What model ``name`` says: thinking, then tool calls or text, cut at the limit of the request."""
    if ask.silent:
        return Answer([], [], (), ask.prompt_tokens)
    thinking = pieces_of(config.thinking) if ask.thinks else []
    if ask.wants_tool and config.tool_calls:
        return Answer(thinking, [], config.tool_calls, ask.prompt_tokens)
    reply = config.reply(record) if callable(config.reply) else config.reply
    text = pieces_of(f"I am {name}, a mock model." if reply is None else reply)
    if ask.limit is None or len(thinking) + len(text) <= ask.limit:
        return Answer(thinking, text, (), ask.prompt_tokens)
    thinking = thinking[: ask.limit]
    return Answer(thinking, text[: ask.limit - len(thinking)], (), ask.prompt_tokens, cut=True)


def text_and_images(content: object) -> tuple[str, int]:
    """The text of a message's content, and how many images stand in it (OpenAI's parts)."""
    if isinstance(content, str):
        return content, 0
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    texts = [part["text"] for part in parts if isinstance(part.get("text"), str)]
    return "".join(texts), sum(part.get("type") == "image_url" for part in parts)


def tokens_in(texts: Sequence[str]) -> int:
    """The mock's count of prompt tokens: never 0, and it grows with the text."""
    return 1 + sum(map(len, texts)) // CHARS_PER_TOKEN
