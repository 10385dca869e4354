"""What the conductor expects of a backend, whatever protocol it speaks.

A backend knows how to talk to one server (or to its own child processes) and nothing of routing.
Messages and options arrive in OpenAI's spelling; each backend translates them to its own protocol.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from modelway.config.settings import Deadlines
from modelway.events import BackendEvent
from modelway.pools import Pass

__all__ = [
    "KNOWN_OPTIONS",
    "PROBE_S",
    "Backend",
    "ChatCall",
    "Deadlines",
    "LoadCall",
    "RunningModel",
    "ServedModel",
    "parameters_label",
    "same_name",
]

#: How long a probe may take: a server that needs longer to say its version serves nobody well.
PROBE_S = 2.0

#: Options every backend understands, in OpenAI's spelling (``think``: bool or a level, Ollama's word).
#: What a protocol cannot express is reported by ``unsupported_options``.
KNOWN_OPTIONS = frozenset({
    "temperature", "top_p", "top_k", "min_p", "max_tokens", "stop", "seed", "presence_penalty",
    "frequency_penalty", "repeat_penalty", "response_format", "tool_choice", "think", "logprobs", "top_logprobs",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class ChatCall:
    """One conversation to be continued by one model.

    ``model`` is the name the server knows it by, ``model_id`` ours. ``messages`` are OpenAI chat
    messages. ``options`` holds only KNOWN_OPTIONS; ``extra`` holds fields of the caller's protocol
    (``extra_protocol``: "openai" or "ollama") that we don't know: they are passed on unchanged to a
    backend that speaks the same protocol and left out otherwise. ``load_s`` is how long the model may take to load,
    where that is known better than by the backend's own deadline. ``egress`` allows the call to leave this device.
    """

    model: str
    model_id: str
    messages: Sequence[Mapping[str, Any]] = field(repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    tools: Sequence[Mapping[str, Any]] | None = field(default=None, repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)
    extra_protocol: str = "openai"
    num_ctx: int | None = None
    load_s: float | None = None
    egress: Pass | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class LoadCall:
    """One model to be brought into memory, or out of it; the fields are those of :class:`ChatCall`."""

    model: str
    model_id: str
    num_ctx: int | None = None
    load_s: float | None = None


@dataclass(frozen=True, slots=True)
class ServedModel:
    """What a server says of one of its models; None or empty where it does not say.

    ``capabilities`` are Ollama's words (completion, tools, vision, thinking, embedding). ``size_bytes`` is the size
    of its files, ``quantization`` what most weights are stored in (Q4_K_M), ``parameters`` how many there are (7.6B),
    ``family`` the architecture (llama, qwen2). ``kv_bytes_per_token`` is the memory that each token of its context
    takes, ``loaded_context`` the tokens that it is loaded for, in all requests at once, where nothing else is asked
    for. ``license`` is what its licence is called. ``path`` is the file of a model that modelway runs itself.
    """

    name: str
    capabilities: frozenset[str] = frozenset()
    max_context: int | None = None
    size_bytes: int | None = None
    license: str | None = None
    remote_host: str | None = None
    quantization: str | None = None
    parameters: str | None = None
    family: str | None = None
    kv_bytes_per_token: int | None = None
    loaded_context: int | None = None
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class RunningModel:
    """A model that a server has in memory; None where it does not say.

    ``size_bytes`` is all the memory it takes, ``vram_bytes`` its share on graphics cards, ``context`` the tokens it
    was loaded for.
    """

    name: str
    size_bytes: int | None = None
    vram_bytes: int | None = None
    context: int | None = None


class Backend(Protocol):
    """One server, or one managed engine. Safe to use from many tasks of one event loop."""

    name: str

    def unsupported_options(self, call: ChatCall) -> tuple[str, ...]:
        """Names of the call's options and extra fields that won't be honoured."""
        ...

    def stream(self, call: ChatCall) -> AsyncGenerator[BackendEvent, None]:
        """Ask for an answer and yield it piece by piece, ending with exactly one ``Ended``.

        Raises :class:`modelway.errors.BackendError` for every failure, before or after the first
        piece; never ends without ``Ended`` or an error. Closing the generator closes the upstream
        connection at once.
        """
        ...

    async def served(self) -> list[ServedModel]:
        """What the server has, by requests that cost nothing and load nothing."""
        ...

    async def running(self) -> list[RunningModel]:
        """What it has in memory, by one such request; empty where its protocol can't tell."""
        ...

    async def load(self, call: LoadCall) -> None:
        """Bring a model into memory; returns when it can serve. One that is there stays as it is.

        Raises :class:`modelway.errors.BackendError`; then it is not there, and nothing goes on.
        """
        ...

    async def unload(self, call: LoadCall) -> None:
        """Take a model out of memory; returns when its memory is free. Nothing happens where it is not there.

        Raises :class:`modelway.errors.BackendError`, of kind ``busy`` where a request uses it.
        """
        ...

    async def probe(self) -> None:
        """Ask whether the server answers, by one request that costs nothing and loads nothing.

        Raises :class:`modelway.errors.BackendError` where it does not, after ``PROBE_S`` at the latest. Nothing
        happens where there is no server to be asked.
        """
        ...

    async def aclose(self) -> None:
        """Close connections and end child processes; idempotent."""
        ...


def parameters_label(count: int) -> str | None:
    """So many weights as people write it: 7.6B, 135M; None for what no model has."""
    for unit, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        # Rounded, 999,999,999 are 1.0B and not 1000M.
        if 0.9995 * unit <= count < 999.5 * unit:
            return f"{count / unit:.{1 if count < 100 * unit else 0}f}{letter}"
    return None


def same_name(name: str) -> str:
    """The form in which two names of one model are equal.

    Servers compare names without regard to case. Ollama's ``registry.ollama.ai/library/mistral:latest`` is ``mistral``,
    and its lists leave out the registry and ``library``.
    """
    return name.lower().removeprefix("registry.ollama.ai/").removeprefix("library/").removesuffix(":latest")
