"""What a mock model says and how it behaves."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modelway.backends.mock.faults import Fault

if TYPE_CHECKING:
    from modelway.backends.mock.history import ModelRequest

#: A text, cut into a piece a word; or the pieces themselves.
Reply = str | Sequence[str]

# A word with the white space before it; white space at the end is a piece of its own.
_PIECE = re.compile(r"\s*\S+|\s+$")


def pieces_of(reply: Reply) -> list[str]:
    """The pieces a reply is streamed in, one a token; joined they are the reply."""
    return _PIECE.findall(reply) if isinstance(reply, str) else list(reply)


@dataclass(frozen=True, slots=True)
class MockToolCall:
    """A call the model makes when the request offers tools and does not bring a tool's result."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MockModelConfig:
    """One model of the mock server; its name is its key in ``MultiModelMockBackend.models``.

    ``reply`` may be a function of the request; without one the model says its name. ``ttft_s`` and
    ``per_token_s`` are seconds. ``max_context`` is in tokens, a token being four characters.
    ``capabilities`` are Ollama's words (completion, tools, thinking, vision); without them: completion,
    and whatever the other fields show. ``details`` replaces what discovery is told by default: ``family`` llama,
    ``parameter_size`` 7.6B, ``quantization_level`` Q4_K_M. ``remote_host`` marks a cloud model that the server
    passes on.
    ``load_s`` is how long loading it takes; ``size_bytes`` is what it takes on disk and in memory, ``vram_bytes`` the
    part of it on a GPU.
    ``faults`` are met by the next requests, one each (None: served well), ``standing_fault`` by all after
    them; both can be changed while the server runs.
    """

    reply: Reply | Callable[[ModelRequest], Reply] | None = None
    thinking: Reply = ""
    tool_calls: Sequence[MockToolCall] = ()
    ttft_s: float = 0.0
    per_token_s: float = 0.0
    max_context: int = 8192
    capabilities: Sequence[str] | None = None
    #: Servers before 0.30 leave capabilities and lengths out of ``/api/tags``, newer ones list only some capabilities.
    capabilities_in_tags: bool = True
    size_bytes: int = 4_000_000_000
    vram_bytes: int = 0
    load_s: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)
    license_text: str | None = None
    remote_host: str | None = None
    faults: Sequence[Fault | None] = ()
    standing_fault: Fault | None = None

    def can(self, capability: str) -> bool:
        return capability in self.all_capabilities

    @property
    def all_capabilities(self) -> list[str]:
        if self.capabilities is not None:
            return list(self.capabilities)
        return ["completion", *(["tools"] if self.tool_calls else []), *(["thinking"] if self.thinking else [])]


@dataclass(frozen=True, slots=True)
class OllamaLimits:
    """How the mock server schedules models, as variables of its environment tell Ollama; 0 is no limit.

    ``max_loaded`` models (OLLAMA_MAX_LOADED_MODELS), which together take at most ``memory_bytes``, unless one alone
    takes more; ``slots`` answers of a model at one time (OLLAMA_NUM_PARALLEL); ``max_queue`` requests waiting for a
    load (OLLAMA_MAX_QUEUE), never 0; ``keep_alive_s`` for fresh loads (OLLAMA_KEEP_ALIVE).
    """

    max_loaded: int = 0
    memory_bytes: int = 0
    slots: int = 0
    max_queue: int = 512
    keep_alive_s: float = 300.0
