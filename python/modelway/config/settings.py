"""The resolved configuration: what is in force, with every default, address and place worked out.

``Config`` (written.py) is what was written; ``resolve`` turns it into ``Settings``, which the router and the
backends read. Problems that only show across tables (a model on a backend that nobody declared) are found
here; names in chains are checked by the Rust core when it builds its table.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from modelway.config.rates import NO_LIMITS, Limits, Quota, limits_of, quotas_of
from modelway.errors import ConfigError, ConfigProblem
from modelway.near import did_you_mean
from modelway.privacy.licenses import identify, tier_of
from modelway.privacy.locality import CLOUD, Place, destination_of_url, further, is_cloud_name, is_literal, place_of_url
from modelway.types import LicenseTier, TaskClass

if TYPE_CHECKING:
    from modelway.config import Config
    from modelway.config.limits import FairnessConfig
    from modelway.config.sections import (
        BackendConfig,
        DeadlinesConfig,
        HealthConfig,
        MemoryConfig,
        ModelConfig,
        ServerConfig,
        TimeoutsConfig,
    )
    from modelway.config.trust import PrivacyConfig, TerminologyConfig, WarningsConfig

#: Where a strength stands for something that the model can do at all.
_IMPLIED_CAPABILITY = {
    "quick": "LowLatency",
    "deep": "DeepReasoning",
    "code": "CodeGeneration",
    "math": "MathReasoning",
    "creative": "CreativeWriting",
    "tool_use": "ToolUse",
}


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds; each is its own. ``first_token`` counts from when the model is loaded."""

    connect_s: float = 1.0
    load_s: float = 120.0
    first_token_s: float = 30.0
    between_tokens_s: float = 30.0


@dataclass(frozen=True, slots=True)
class ResolvedBackend:
    """One server or managed engine. ``max_connections`` 0: no limit. ``url`` None: it is started by modelway.

    ``destination`` is what consent to it names; None: it is on this device. ``is_literal``: its address is written as
    such and needs no look-up. ``is_own``: it is on this device, or on the local network by its literal address where
    the configuration says that this counts as the user's own.
    """

    name: str
    kind: str
    url: str | None = None
    location: Place = "device"
    destination: str | None = None
    api_key_env: str | None = None
    max_connections: int = 0
    keep_alive_s: float = 30.0
    max_connection_age_s: float = 600.0
    threads: int | None = None
    context: int | None = None
    parallel: int | None = None
    folder: Path | None = None
    limits: Limits = NO_LIMITS
    memory_bytes: int | None = None
    is_literal: bool = True
    is_own: bool = True
    deadlines: Deadlines = Deadlines()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedModel:
    """One model. ``id`` is ours, ``name`` what its server calls it; tasks are short names, None is unknown.

    ``num_ctx`` is the context that Ollama loads it with: a written ``max_context``. A discovered one is what
    the model was made for, which may take more memory than there is. ``destination`` is what consent to it names; None:
    it runs on this device. ``license`` is its short name, None: not recognised.
    """

    id: str
    backend: str
    name: str
    aliases: tuple[str, ...] = ()
    path: Path | None = None
    strengths: tuple[str, ...] = ()
    weaknesses: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ("TextGeneration",)
    avg_ttft_ms: int | None = None
    avg_tokens_per_sec: float | None = None
    max_context: int | None = None
    num_ctx: int | None = None
    memory_bytes: int | None = None
    is_memory_estimated: bool = False
    pinned: bool = False
    max_concurrent: int | None = None
    limits: Limits = NO_LIMITS
    supports_streaming: bool = True
    supports_tools: bool = False
    cost_tier: str = "free"
    license_tier: str = "unknown"
    family: str | None = None
    parameters: str | None = None
    quantization: str | None = None
    size_bytes: int | None = None
    location: Place = "device"
    destination: str | None = None
    license: str | None = None
    display_name: str = ""


@dataclass(frozen=True, slots=True)
class ResolvedClassifier:
    """How prompts are read; None: the shipped weights, and the threshold that the weights were made with.

    ``priors``: the shares of what is asked, of the tasks (short names) that are named.
    """

    weights: Path | None
    threshold: float | None
    priors: dict[str, float]


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything in force. Tasks are short names; ``fallbacks`` is keyed by task or model name."""

    backends: tuple[ResolvedBackend, ...]
    models: tuple[ResolvedModel, ...]
    defaults: dict[str, str]
    fallbacks: dict[str, tuple[str, ...]]
    continue_midstream: bool
    keywords: dict[str, tuple[str, ...]]
    classifier: ResolvedClassifier
    timeouts: TimeoutsConfig
    deadlines: DeadlinesConfig
    health: HealthConfig
    memory: MemoryConfig
    prefer_warm: bool
    limits: Limits
    user_limits: Limits
    quotas: tuple[Quota, ...]
    fairness: FairnessConfig
    server: ServerConfig
    privacy: PrivacyConfig
    forbid_licenses: tuple[str, ...]
    warnings: WarningsConfig
    terminology: TerminologyConfig
    terminology_file: Path | None
    state_folder: Path


def resolve(config: Config, environ: Mapping[str, str] = os.environ) -> Settings:
    """Work out what ``config`` means on this machine. Reads ``$OLLAMA_HOST`` for an Ollama backend without ``url``.

    Raises :class:`ConfigError` with every problem found.
    """
    problems: list[ConfigProblem] = []
    backends: dict[str, ResolvedBackend] = {}
    for i, written in enumerate(config.backends):
        if written.name in backends:
            problems.append(
                ConfigProblem(f"backends[{i}].name", f'"{written.name}" is the name of an earlier backend; rename one')
            )
            continue
        backends[written.name] = _resolve_backend(written, config, environ, problems)
    models = _declared_models(config, backends, problems) + _implicit_models(config, backends, problems)
    forbidden = _forbidden_licenses(config.licenses.forbid, problems)
    if problems:
        raise ConfigError(problems, str(config.source or ""))
    return Settings(
        backends=tuple(backends.values()),
        models=tuple(models),
        defaults=dict(config.defaults),
        fallbacks=dict(config.fallbacks.chains),
        continue_midstream=config.fallbacks.continue_midstream,
        keywords=config.routing.by_task(),
        classifier=ResolvedClassifier(
            weights=_file(config.classifier.weights, config.base_dir),
            threshold=config.classifier.threshold,
            priors=dict(config.classifier.priors or {}),
        ),
        timeouts=config.timeouts,
        deadlines=config.deadlines,
        health=config.health,
        memory=config.memory,
        prefer_warm=config.routing.prefer_warm,
        limits=limits_of(config.limits),
        user_limits=limits_of(config.limits.user),
        quotas=quotas_of(config.limits.user),
        fairness=config.fairness,
        server=config.server,
        privacy=config.privacy,
        forbid_licenses=forbidden,
        warnings=config.warnings,
        terminology=config.terminology,
        terminology_file=_file(config.terminology.file, config.base_dir),
        state_folder=_file(config.state.folder, config.base_dir) or _user_state_folder(),
    )


def _forbidden_licenses(written: tuple[str, ...], problems: list[ConfigProblem]) -> tuple[str, ...]:
    """Tiers and licences by their short names; what is neither would forbid nothing, and nobody would notice."""
    tiers = [str(tier).lower() for tier in LicenseTier.all()]
    names = []
    for i, entry in enumerate(written):
        name = entry.lower() if entry.lower() in tiers else identify(entry)
        if name is None:
            hint = did_you_mean(entry, tiers) or f"write one of {', '.join(tiers)}, or a licence's name as in llama3.1"
            problems.append(ConfigProblem(f"licenses.forbid[{i}]", f'"{entry}" is no licence that is known; {hint}'))
        else:
            names.append(name)
    return tuple(names)


def _file(written: str | None, base_dir: Path) -> Path | None:
    """The file that is meant by what a configuration in ``base_dir`` says."""
    return base_dir / Path(written).expanduser() if written else None


def _user_state_folder() -> Path:
    import platformdirs

    return platformdirs.user_state_path("modelway")


def implied_capabilities(strengths: tuple[str, ...]) -> tuple[str, ...]:
    """The capabilities of a language model that is good at ``strengths`` (short task names)."""
    implied = (_IMPLIED_CAPABILITY[task] for task in strengths if task in _IMPLIED_CAPABILITY)
    return tuple(dict.fromkeys(("TextGeneration", *implied)))


def implicit_models(config: Config) -> dict[str, str]:
    """The names in ``[defaults]`` that no ``[[models]]`` declares, each with the task that names it first.

    Ollama's ``:latest`` may be left out of a declared model's name. A task's name is no model's: the Rust core
    says so.
    """
    declared = {
        name for model in config.models for name in (model.id, model.id.removesuffix(":latest"), *model.aliases)
    }
    tasks = {name.lower() for task in TaskClass.all() for name in (task.name, str(task))}
    implicit: dict[str, str] = {}
    for task, name in config.defaults.items():
        if name not in declared and name.lower() not in tasks:
            implicit.setdefault(name, task)
    return implicit


def default_backend(config: Config) -> BackendConfig | None:
    """The backend of every model that names none: the first one of kind ``ollama``."""
    return next((backend for backend in config.backends if backend.kind == "ollama"), None)


def _resolve_backend(
    written: BackendConfig, config: Config, environ: Mapping[str, str], problems: list[ConfigProblem]
) -> ResolvedBackend:
    url = None
    try:
        url = written.address(environ)
    except ConfigError as error:
        problems.extend(problem for problem in error.problems if problem not in problems)
    location: Place = further(place_of_url(url) if url else "device", written.location or "device")
    given = config.deadlines
    connect_ms = given.connect_ms or (1_000 if location == "device" else 5_000)
    return ResolvedBackend(
        name=written.name,
        kind=written.kind,
        url=url,
        location=location,
        destination=None if location == "device" or url is None else destination_of_url(url),
        is_literal=(literal := url is None or is_literal(url)),
        is_own=location == "device" or (location == "lan" and literal and config.privacy.allow_lan),
        api_key_env=written.api_key_env,
        max_connections=written.max_connections,
        keep_alive_s=written.keep_alive_s,
        max_connection_age_s=written.max_connection_age_s,
        threads=written.threads,
        context=written.context,
        parallel=written.parallel,
        folder=_file(written.folder, config.base_dir),
        limits=limits_of(written.limits),
        memory_bytes=written.memory_bytes,
        deadlines=Deadlines(
            connect_s=connect_ms / 1000,
            load_s=given.load_ms / 1000,
            first_token_s=given.first_token_ms / 1000,
            between_tokens_s=given.between_tokens_ms / 1000,
        ),
    )


def _declared_models(
    config: Config, backends: Mapping[str, ResolvedBackend], problems: list[ConfigProblem]
) -> list[ResolvedModel]:
    default = default_backend(config)
    models = []
    for i, written in enumerate(config.models):
        name = written.backend or (default.name if default else None)
        if name is None:
            problems.append(
                ConfigProblem(f"models[{i}].backend", "missing, and no backend of kind ollama to take; name a backend")
            )
            continue
        backend = backends.get(name)
        if backend is None:
            hint = did_you_mean(name, backends) or "declare it under [[backends]]"
            problems.append(ConfigProblem(f"models[{i}].backend", f'no backend is called "{name}"; {hint}'))
            continue
        if backend.kind == "llama_cpp" and written.path is None:
            problems.append(
                ConfigProblem(f"models[{i}].path", f'missing; backend "{name}" runs model files: name the .gguf file')
            )
        elif backend.kind != "llama_cpp" and written.path is not None:
            problems.append(
                ConfigProblem(
                    f"models[{i}].path",
                    f'backend "{name}" is of kind {backend.kind}, which runs no files; '
                    "remove the line or name a backend of kind llama_cpp",
                )
            )
        num_ctx = None if config.was_found(f"models[{i}].max_context") else written.max_context
        is_estimated = config.was_found(f"models[{i}].memory_bytes")
        model = _resolve_model(written, backend, config.base_dir, num_ctx, is_estimated)
        if written.location and model.location != written.location:
            problems.append(
                ConfigProblem(
                    f"models[{i}].location",
                    f'"{written.location}" is nearer than where it runs, which is "{model.location}"; remove the line',
                )
            )
        models.append(model)
    return models


def _resolve_model(
    written: ModelConfig, backend: ResolvedBackend, base_dir: Path, num_ctx: int | None, is_estimated: bool
) -> ResolvedModel:
    name = written.name or written.id
    location = _place_of_model(name, backend, written.location or "device")
    capabilities = _or(written.capabilities, implied_capabilities(written.strengths))
    tools = "tool_use" in written.strengths or "ToolUse" in capabilities
    return ResolvedModel(
        id=written.id,
        backend=backend.name,
        name=name,
        aliases=written.aliases,
        path=_file(written.path, base_dir),
        strengths=written.strengths,
        weaknesses=written.weaknesses,
        capabilities=capabilities,
        avg_ttft_ms=written.avg_ttft_ms,
        avg_tokens_per_sec=written.avg_tokens_per_sec,
        max_context=written.max_context,
        num_ctx=num_ctx,
        memory_bytes=written.memory_bytes,
        is_memory_estimated=is_estimated,
        pinned=written.pinned,
        max_concurrent=_or(written.max_concurrent, _slots(backend)),
        limits=limits_of(written.limits),
        supports_streaming=written.supports_streaming,
        supports_tools=_or(written.supports_tools, tools),
        cost_tier=written.cost_tier or _usual_cost(location),
        license_tier=tier_of(written.license),
        license=identify(written.license) if written.license else None,
        family=written.family,
        parameters=written.parameters,
        quantization=written.quantization,
        size_bytes=written.size_bytes,
        location=location,
        destination=_destination(name, backend, location, written.destination),
        display_name=written.display_name or written.id,
    )


def _implicit_models(
    config: Config, backends: Mapping[str, ResolvedBackend], problems: list[ConfigProblem]
) -> list[ResolvedModel]:
    default = default_backend(config)
    models = []
    for name, task in implicit_models(config).items():
        if default is None:
            problems.append(
                ConfigProblem(
                    f"defaults.{task}",
                    f'"{name}" is no declared model, and no backend of kind ollama could serve it; '
                    'declare it under [[models]] or add [[backends]] with kind = "ollama"',
                )
            )
            continue
        location = _place_of_model(name, backends[default.name], "device")
        models.append(
            ResolvedModel(
                id=name,
                backend=default.name,
                name=name,
                cost_tier=_usual_cost(location),
                location=location,
                destination=_destination(name, backends[default.name], location, None),
                display_name=name,
            )
        )
    return models


def _place_of_model(name: str, backend: ResolvedBackend, declared: Place) -> Place:
    """A model is at least as far away as its server; a local Ollama hands cloud names to its cloud."""
    if backend.kind == "ollama" and is_cloud_name(name):
        return "external"
    return further(backend.location, declared)


def _destination(name: str, backend: ResolvedBackend, location: Place, known: str | None) -> str | None:
    """What consent to a model names: where its answers are made, as far as that is known."""
    if location == "device":
        return None
    if known is not None:
        return known
    if backend.kind == "ollama" and is_cloud_name(name):
        return CLOUD
    return backend.destination or (destination_of_url(backend.url) if backend.url else None)


def _usual_cost(location: Place) -> str:
    """Own hardware costs nothing an answer; a provider's price is not known, so neither praised nor blamed."""
    return "medium" if location == "external" else "free"


def _slots(backend: ResolvedBackend) -> int | None:
    """How many requests one model of ``backend`` answers at once; None: only its server knows."""
    return (backend.parallel or 1) if backend.kind == "llama_cpp" else None


_T = TypeVar("_T")


def _or(value: _T | None, otherwise: _T) -> _T:
    return otherwise if value is None else value
