"""The tables of the configuration file, each key documented at its field: meaning, unit, default and why.

Shape is checked here: types, ranges, unknown keys, and what a key rules out in its own table. The tables that
limit what may be used are in ``limits.py``, those of privacy and of what people are told in ``trust.py``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from modelway.config.fields import (
    Capabilities,
    Command,
    Cost,
    Count,
    EnvironmentVariable,
    Keywords,
    Milliseconds,
    Name,
    OwnName,
    OwnNames,
    Priors,
    Seconds,
    Section,
    Tasks,
)
from modelway.config.limits import LimitsConfig
from modelway.config.trust import Destination
from modelway.errors import ConfigError, ConfigProblem
from modelway.privacy.locality import (
    PLACES,
    Place,
    check_url,
    further,
    is_literal,
    ollama_url,
    place_of_host,
    place_of_url,
)


class RoutingConfig(Section):
    """``[routing]``: words and phrases that speak for a task, matched as whole words in any case."""

    quick_keywords: Keywords = ()
    """Words for a quick answer; none by default: the length and shape of a prompt say it better."""
    deep_keywords: Keywords = ()
    """Words for deep thinking; none by default, for the same reason."""
    code_keywords: Keywords = ("function", "code", "debug", "implement", "refactor")
    """Words for writing or reading code."""
    math_keywords: Keywords = ("calculate", "solve", "equation", "integral", "prove")
    """Words for mathematics."""
    creative_keywords: Keywords = ("write", "poem", "story", "compose", "imagine")
    """Words for creative writing."""
    tool_use_keywords: Keywords = ()
    """Words for using tools; none by default: tool definitions in a request say it better."""
    prefer_warm: bool = False
    """Whether a model in memory that could serve passes a configured one that would have to be loaded first; told as
    the reason ``warm``. False: who is configured is waited for. A request may say otherwise."""

    def by_task(self) -> dict[str, tuple[str, ...]]:
        """The keywords by short task name."""
        suffix = "_keywords"
        return {key.removesuffix(suffix): getattr(self, key) for key in type(self).model_fields if key.endswith(suffix)}


class ClassifierConfig(Section):
    """``[classifier]``: how prompts are read."""

    weights: Annotated[str, Field(min_length=1)] | None = None
    """A file of own weights, as ``modelway train --out`` writes it, relative to the configuration file; absent: those
    that ``modelway train`` wrote into the user's configuration folder, else the shipped ones."""
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """The probability below which no task is followed and the prompt counts as general; absent: what the weights
    were made with."""
    priors: Priors | None = None
    """What share of the prompts each task is expected to have, as in ``{ code = 0.5, quick = 0.1 }``; tasks not named
    share the rest in the weights' own proportions. Absent: the weights' own shares, those of natural traffic for the
    shipped ones: about 62 % general, 15 % quick, 9 % code, 8 % creative, 3 % deep, 3 % math, 1 % tool_use."""


class TimeoutsConfig(Section):
    """``[timeouts]``: how soon the first token of a warm model is wanted. They end no request: of models that are equal
    otherwise, one that is expected to answer later stands behind those that keep them, and a first token that comes
    later is told."""

    quick_ms: Milliseconds = 100
    """For quick answers, milliseconds: below what people notice as a wait."""
    standard_ms: Milliseconds = 2_000
    """For everything else, milliseconds."""
    deep_ms: Milliseconds = 30_000
    """For deep thinking, milliseconds."""


class DeadlinesConfig(Section):
    """``[deadlines]``: when an attempt is given up. Each is its own."""

    connect_ms: Milliseconds | None = None
    """To open a connection, milliseconds; absent: 1,000 on this device and 5,000 elsewhere."""
    load_ms: Milliseconds = 120_000
    """To load a model into memory, milliseconds: a large model on a slow disk takes minutes."""
    first_token_ms: Milliseconds = 30_000
    """From the request (or from when its model is loaded) to the first token, milliseconds."""
    between_tokens_ms: Milliseconds = 30_000
    """From one token to the next, milliseconds."""
    total_ms: Milliseconds | None = None
    """From the request to the end of its answer, over all waits and attempts, milliseconds; absent: no limit. A long
    answer is no fault, and one that has stopped coming is noticed by ``between_tokens_ms``."""


class MemoryConfig(Section):
    """``[memory]``: models that do not fit into memory together."""

    manage: bool = True
    """Whether modelway says what is loaded and unloaded, where it can (Ollama, llama_cpp) and knows how much memory
    there is. False: each server does as it likes."""
    max_wait_s: Annotated[float, Field(gt=0, le=86_400)] = 30.0
    """How long a request waits at most for its model to be loaded while requests to others keep the memory, seconds, as
    far as those that run and the load itself allow."""
    computes_alone: bool | None = None
    """Whether only one model of a device computes at a time; absent: where no graphics card is known. On few cores two
    at once take several times as long as one after the other. Embeddings are too short to wait for their turn."""
    embedding_bytes: Annotated[int, Field(ge=0, le=2**53)] | None = None
    """What of the memory is for embedding models alone (their only strength is ``embedding``), bytes: then they do
    not push out the others, nor are pushed out by them. Absent: what the largest of them needs, but no more than a
    tenth; 0: all share all."""


class ServerConfig(Section):
    """``[server]``: the gateway."""

    host: str = "127.0.0.1"
    """The address to listen on, loopback only: whoever reaches the gateway may use its models."""
    port: Annotated[int, Field(ge=0, le=65535)] = 11633
    """The TCP port; 0 takes a free one."""
    notice_after_ms: Milliseconds = 2_000
    """After how many milliseconds without a token a streamed answer is opened with a comment line."""
    write_timeout_ms: Milliseconds = 30_000
    """After how many milliseconds a client that does not read its answer is taken to have left: its connection is
    closed, and that to the model's server with it."""

    @field_validator("host")
    @classmethod
    def _loopback(cls, host: str) -> str:
        if place_of_host(host) != "device":
            raise ValueError(
                f'"{host}" is no loopback address; write "127.0.0.1" or "::1" (who reaches the gateway may use it)'
            )
        return host


class HealthConfig(Section):
    """``[health]``: when a failing model is left alone, and for how long."""

    failures_to_open: Annotated[int, Field(ge=1, le=1_000)] = 5
    """Hard failures in a row after which a model is asked no more until its delay is over."""
    backoff_ms: Milliseconds = 5_000
    """The first delay, milliseconds; doubled by each failed probe."""
    max_backoff_ms: Milliseconds = 300_000
    """The longest delay, milliseconds."""
    window_ms: Annotated[int, Field(ge=10, le=86_400_000)] = 30_000
    """The stretch of time whose share of answered requests is looked at, milliseconds: long enough for some requests,
    and short enough for a fault to show."""
    least_success_percent: Annotated[int, Field(ge=0, le=100)] = 80
    """Of a hundred requests of this window so many must have been answered, else the model is left alone as after
    hard failures in a row; a full or limiting server counts here too. 0: the share is not looked at."""
    samples_to_judge: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    """So many requests must have ended in the window before their share is looked at: of fewer, one failure says
    too much."""
    retry_percent: Annotated[int, Field(ge=0, le=100)] = 20
    """Of a hundred requests to a backend in 10 seconds so many may be second attempts, after another model or it has
    failed; so an outage does not multiply the load on what still works."""
    retries_per_s: Annotated[int, Field(ge=0, le=1_000_000)] = 10
    """So many second attempts a second are allowed to each backend besides: of few requests a share is nothing."""
    check_ms: Milliseconds = 30_000
    """How often a backend on this device that works is asked for its models, milliseconds."""
    recheck_ms: Milliseconds = 2_500
    """How often one in trouble is asked whether it answers, milliseconds: what has recovered is used soon."""
    alert_after_ms: Milliseconds = 60_000
    """How long a failure must last to be worth an alert, milliseconds: shorter ones are what fallbacks are for."""
    alert_command: Command = ()
    """A program to run for each alert, as in ``["notify-send", "modelway"]``: the sentence is its last argument, the
    alert as JSON its standard input. No shell reads it."""

    @field_validator("max_backoff_ms")
    @classmethod
    def _not_below_first(cls, longest: int, info: ValidationInfo) -> int:
        first = info.data.get("backoff_ms", 0)
        if longest < first:
            raise ValueError(f"{longest} is less than backoff_ms, {first}; the longest delay can't be the shorter one")
        return longest


class BackendConfig(Section):
    """``[[backends]]``: a server, or an engine that modelway runs itself."""

    name: Name
    """What models' ``backend`` calls it."""
    kind: Literal["ollama", "openai", "llama_cpp", "mock"]
    """``ollama``; ``openai``: any server that speaks OpenAI's protocol; ``llama_cpp``: model files run here by
    modelway; ``mock``: scripted answers, for trying a configuration without any engine."""
    url: str | None = Field(default=None, validate_default=True)
    """The server's base address; ``ollama`` without it: $OLLAMA_HOST, else http://127.0.0.1:11434."""
    api_key_env: EnvironmentVariable | None = None
    """The environment variable that holds the key; never the key itself, which would end in backups."""
    max_connections: Annotated[int, Field(ge=0, le=100_000)] = 0
    """How many answers may be streamed at once; 0: no limit."""
    keep_alive_s: Seconds = 30.0
    """How long a connection that is not in use is kept for the next request, seconds: the pause between two turns of a
    conversation. A server that closes it sooner costs a reconnect."""
    max_connection_age_s: Seconds = 600.0
    """How old connections may get and carry another request, seconds: so that a server whose name leads to another
    address by now is found there."""
    limits: LimitsConfig = LimitsConfig()
    """What all requests to its models together may use; none by default."""
    memory_bytes: Annotated[int, Field(ge=1, le=2**53)] | None = None
    """The memory that its models share, bytes; absent: for ollama and llama_cpp on this device what the machine has,
    together with the others of which nothing is written, else unknown."""
    location: Place | None = None
    """May declare a place further away than the address says (the mouth of a tunnel), never a nearer one."""
    threads: Annotated[int, Field(ge=1, le=1_024)] | None = None
    """llama_cpp only: CPU threads a model; absent: half of the cores."""
    context: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    """llama_cpp only: context of each of a model's parallel requests in tokens; absent: 4,096."""
    parallel: Annotated[int, Field(ge=1, le=256)] | None = None
    """llama_cpp only: requests that one model answers at once; absent: 1."""
    folder: Annotated[str, Field(min_length=1)] | None = None
    """llama_cpp only: a folder, relative to the configuration file; the ``.gguf`` files in it and below are models,
    each called as its file."""

    @field_validator("url")
    @classmethod
    def _fits_kind(cls, url: str | None, info: ValidationInfo) -> str | None:
        kind = info.data.get("kind")
        if url is None:
            if kind == "openai":
                raise ValueError("missing; write the server's base address, as in http://127.0.0.1:8000/v1")
            return None
        if kind == "llama_cpp":
            raise ValueError('modelway runs this engine itself; remove the line, or take kind = "openai"')
        checked = check_url(url)
        if checked.lower().startswith("http:") and is_literal(checked) and place_of_url(checked) == "external":
            raise ValueError("prompts would leave the local network in plain text; write https://")
        return checked

    @field_validator("location")
    @classmethod
    def _never_nearer(cls, location: Place | None, info: ValidationInfo) -> Place | None:
        url = info.data.get("url")
        place = place_of_url(url) if url else PLACES[0]
        if location and further(location, place) != location:
            raise ValueError(f'"{location}" is nearer than the address, which is "{place}"; remove the line')
        return location

    @field_validator("threads", "context", "parallel", "folder")
    @classmethod
    def _llama_cpp_only(cls, value: int | str | None, info: ValidationInfo) -> int | str | None:
        kind = info.data.get("kind", "llama_cpp")
        if kind != "llama_cpp":
            raise ValueError(
                f"only a backend of kind llama_cpp has it, and this one is of kind {kind}; remove the line"
            )
        return value

    def address(self, environ: Mapping[str, str] = os.environ) -> str | None:
        """``url``, or for Ollama without one what ``$OLLAMA_HOST`` means; None: modelway runs it itself.

        Raises :class:`ConfigError` where that variable holds no address.
        """
        if self.url is not None or self.kind != "ollama":
            return self.url
        try:
            return ollama_url(environ.get("OLLAMA_HOST"))
        except ValueError as error:
            raise ConfigError([ConfigProblem("$OLLAMA_HOST", str(error))]) from error


class ModelConfig(Section):
    """``[[models]]``: one model, and what is known of it."""

    id: OwnName
    """What requests and chains call it; unique."""
    backend: Name | None = None
    """The name of its backend; absent: the first one of kind ollama."""
    name: Name | None = None
    """What its server calls it; absent: ``id``."""
    aliases: OwnNames = ()
    """Other names that requests may use."""
    path: Annotated[str, Field(min_length=1)] | None = None
    """llama_cpp only: the GGUF file, relative to the configuration file; absent: the one in the backend's ``folder``
    that is called ``name``."""
    strengths: Tasks = ()
    """Tasks it is good at, best first."""
    weaknesses: Tasks = ()
    """Tasks it is asked for last."""
    capabilities: Capabilities | None = None
    """What it can do at all; absent: what its server says, else what its strengths imply."""
    avg_ttft_ms: Count | None = None
    """Usual time to the first token when warm, milliseconds."""
    avg_tokens_per_sec: Annotated[float, Field(ge=0, le=1e9)] | None = None
    """Usual speed, tokens a second."""
    max_context: Annotated[int, Field(ge=1, le=2**32 - 1)] | None = None
    """Prompt and answer together, tokens; absent: what its server says, else unknown: nothing is refused for length."""
    memory_bytes: Count | None = None
    """What it takes in memory when loaded, bytes; absent: estimated from its file and its context. What is measured
    when it is loaded corrects an estimate, and a written value that was too small."""
    pinned: bool = False
    """Whether it stays in memory once it is loaded, whoever waits for room."""
    max_concurrent: Annotated[int, Field(ge=1, le=2**32 - 1)] | None = None
    """How many requests it answers at once, others wait their turn; absent: on llama_cpp its backend's ``parallel``,
    else any number: how many a server can take, it knows best."""
    limits: LimitsConfig = LimitsConfig()
    """What all requests to it together may use; none by default."""
    supports_streaming: bool = True
    """Whether it can answer piece by piece."""
    supports_tools: bool | None = None
    """Whether it takes tool definitions; absent: what its server says, else whether strengths or capabilities do."""
    cost_tier: Cost | None = None
    """What an answer costs: ``free``, ``low``, ``medium``, ``high``; absent: free here, medium at a provider."""
    license: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Its licence by name (``apache-2.0``, ``llama3.1``); absent: what its server says, else unknown."""
    family: Name | None = None
    """What it is built like (``llama``, ``qwen2``); absent: what its server says, else unknown."""
    parameters: Name | None = None
    """How many weights it has (``7.6B``); absent: what its server says, else unknown."""
    quantization: Name | None = None
    """What most of them are stored in (``Q4_K_M``); absent: what its server says, else unknown."""
    size_bytes: Count | None = None
    """The size of its files, bytes; absent: what its server says, else unknown."""
    location: Place | None = None
    """May declare a place further away than its backend (a model that a local server hands on), never a nearer one."""
    destination: Destination | None = None
    """The host where a model that its server hands on runs, which is what consent names; absent: what its server says,
    else its backend's address."""
    display_name: Name | None = None
    """What people are shown; absent: ``id``."""
