"""Asks the backends on this device what they have, reads the heads of model files, and completes the configuration.

Nothing declared is overridden, except that a model its server hands on to another host is never shown nearer
than it is. Backends elsewhere are not asked: that would already be a connection out of this device. Only those on the
local network are that the configuration calls the user's own.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from modelway.backends.base import ServedModel, same_name
from modelway.backends.factory import make_backend, make_door
from modelway.config.fields import is_task
from modelway.config.sections import ModelConfig
from modelway.config.settings import (
    ResolvedBackend,
    ResolvedModel,
    Settings,
    default_backend,
    implicit_models,
    implied_capabilities,
)
from modelway.config.settings import resolve as resolve_config
from modelway.config.written import Config, load_config
from modelway.discovery.guesses import guess_strengths
from modelway.discovery.memory import estimated_bytes
from modelway.errors import BackendError, EgressRefused
from modelway.pools import Door, PoolManager
from modelway.privacy.licenses import license_words
from modelway.privacy.locality import checked_destination
from modelway.router import ModelRouter

_log = logging.getLogger(__name__)

#: How ``Config.describe`` calls what was found here.
_DISCOVERED = "discovered"
_GUESSED = "guessed"
_ESTIMATED = "estimated"
#: What is no server's own word.
_ORIGINS = {"strengths": _GUESSED, "memory_bytes": _ESTIMATED}

#: For reading the heads of model files: some 20 ms each, more where the disk is slow or far.
_FILES_S = 10.0
#: No name of a family, a size or a quantisation is longer.
_WORD_CHARS = 60


async def discover(config: Config | None = None, *, timeout_s: float = 0.5) -> Config:
    """``config`` (None: the one that ``load_config`` finds) completed with what its backends on this device have.

    Models nobody declared are added under the name their server calls them, or ``name@backend`` where two have
    it; facts left out of declared ones are filled in. A backend that does not answer within ``timeout_s`` seconds
    is left as it is; files are read, if that takes longer. Loads no model. Raises :class:`ConfigError` for a
    configuration that can't be used.
    """
    config = load_config() if config is None else config
    settings = resolve_config(config)
    asked = [backend for backend in settings.backends if tells_its_models(backend)]
    pools = PoolManager()
    try:
        doors = _doors(config, settings, asked)
        asking = (_ask(backend, settings.models, pools, timeout_s, doors.get(backend.name)) for backend in asked)
        answers = await asyncio.gather(*asking)
    finally:
        await pools.aclose()
    return complete(config, {backend.name: served for backend, served in zip(asked, answers, strict=True)})


def tells_its_models(backend: ResolvedBackend) -> bool:
    """Whether discovery asks it: one of the user's own that has a server, or files, and so more than is declared."""
    return backend.is_own and (backend.url is not None or backend.kind == "llama_cpp")


def complete(config: Config, answers: Mapping[str, Sequence[ServedModel]]) -> Config:
    """``config`` completed with what each backend (by name) says it has; ``discover`` without the asking."""
    default = default_backend(config)
    default_name = default.name if default else ""
    implicit = implicit_models(config)
    told = {(backend, same_name(served.name)): served for backend, models in answers.items() for served in models}
    models: list[ModelConfig] = []
    found: dict[str, str] = {}

    def add(model: ModelConfig, facts: Mapping[str, Any]) -> None:
        found.update({f"models[{len(models)}].{key}": _ORIGINS.get(key, _DISCOVERED) for key in facts})
        models.append(model)

    # A server's model may be declared twice, with other settings each time, so claims are collected first.
    claimed = set()
    for written in config.models:
        key = (written.backend or default_name, same_name(_name_there(written)))
        claimed.add(key)
        facts = _absent_facts(written, told[key]) if key in told else {}
        add(written.model_copy(update=facts), facts)
    for name in implicit:
        key = (default_name, same_name(name))
        claimed.add(key)
        if key in told:
            facts = {"id": name, "backend": default_name, **_facts(told[key])}
            add(ModelConfig(**facts), facts)
    taken = {name for model in config.models for name in (model.id, *model.aliases)}.union(implicit)
    for facts in _undeclared({key: served for key, served in told.items() if key not in claimed}, taken):
        try:
            add(ModelConfig(**facts), facts)
        except ValidationError:  # a name that can't stand in a header, say; nobody could ask for it anyway
            _log.debug("backend %s has a model whose name can't be used", facts["backend"])
    return config.with_found_models(tuple(models), found)


def _doors(config: Config, settings: Settings, asked: Sequence[ResolvedBackend]) -> dict[str, Door]:
    """The ways out to those of ``asked`` that are on the local network."""
    far = [backend for backend in asked if backend.location != "device"]
    if not far:
        return {}
    router = ModelRouter(config)  # whose core says what may be asked
    doors = {backend.name: make_door(settings, backend, (), router.clear_control) for backend in far}
    return {name: door for name, door in doors.items() if door is not None}


async def _ask(
    backend: ResolvedBackend,
    models: Sequence[ResolvedModel],
    pools: PoolManager,
    timeout_s: float,
    door: Door | None,
) -> list[ServedModel]:
    own = [model for model in models if model.backend == backend.name]
    client = make_backend(backend, own, pools, backend.deadlines, door)
    try:
        async with asyncio.timeout(_FILES_S if backend.kind == "llama_cpp" else timeout_s):
            return await client.served()
    except (BackendError, EgressRefused, TimeoutError) as error:
        kind = error.kind if isinstance(error, BackendError) else type(error).__name__
        _log.debug("backend %s did not tell its models: %s", backend.name, kind)
        return []
    finally:
        await client.aclose()


def _undeclared(served: Mapping[tuple[str, str], ServedModel], taken: set[str]) -> Iterator[dict[str, Any]]:
    """The keys of a ``[[models]]`` entry for each model that no entry claims."""
    count = Counter(name for _, name in served)
    for (backend, key), model in served.items():
        if "embedding" in model.capabilities and "completion" not in model.capabilities:
            continue  # it answers no chat
        is_free = count[key] == 1 and model.name not in taken and not is_task(model.name)
        name = model.name if is_free else f"{model.name}@{backend}"
        if name not in taken:
            own = {} if name == model.name or model.path is not None else {"name": model.name}
            yield {"id": name, "backend": backend, **own, **_facts(model)}


def _absent_facts(written: ModelConfig, served: ServedModel) -> dict[str, Any]:
    """What ``served`` adds to a declared model."""
    strengths = written.strengths if "strengths" in written.model_fields_set else None
    told = _facts(served, strengths, context=written.max_context)
    facts = {key: value for key, value in told.items() if key not in written.model_fields_set}
    if served.remote_host:
        facts |= _elsewhere(served.remote_host)
    return facts


def _facts(
    served: ServedModel, strengths: tuple[str, ...] | None = None, *, context: int | None = None
) -> dict[str, Any]:
    """What a server's words say of a model, as keys of ``[[models]]``; what they don't say is left out.

    ``strengths`` and ``context``: the declared ones; None: guessed, unknown.
    """
    if strengths is None:
        thinks = "thinking" in served.capabilities
        strengths = guess_strengths(served.name, thinks=thinks, parameters=served.parameters)
    facts: dict[str, Any] = {"strengths": strengths}
    if served.capabilities:
        facts["capabilities"] = _capabilities(strengths, served)
    if "completion" in served.capabilities:  # else the list is not Ollama's, and silent on tools
        facts["supports_tools"] = "tools" in served.capabilities
    if served.max_context and 0 < served.max_context < 2**32:
        facts["max_context"] = served.max_context
    if served.license and (license_name := license_words(served.license)):
        facts["license"] = license_name
    if served.remote_host:
        facts |= _elsewhere(served.remote_host)
    if served.path is not None:
        facts["path"] = str(served.path)
    if served.size_bytes is not None and served.size_bytes <= 2**53:
        facts["size_bytes"] = served.size_bytes
        if memory_bytes := estimated_bytes(served, context):
            facts["memory_bytes"] = min(memory_bytes, 2**53)
    told = {"family": served.family, "parameters": served.parameters, "quantization": served.quantization}
    facts.update({key: word for key, word in told.items() if word and _is_word(word)})
    return facts


def _elsewhere(remote_host: str) -> dict[str, Any]:
    """Where a model is that its server hands on to ``remote_host``, which should be a URL."""
    try:
        return {"location": "external", "destination": checked_destination(remote_host)}
    except ValueError:
        return {"location": "external"}


def _is_word(text: str) -> bool:
    """Whether it can be shown in a column and says something: servers write ``unknown`` too."""
    return len(text) <= _WORD_CHARS and text.isprintable() and text == text.strip() and text.lower() != "unknown"


def _name_there(model: ModelConfig) -> str:
    """What its server calls it; a file's model is known by our id."""
    return model.id if model.path is not None else model.name or model.id


def _capabilities(strengths: tuple[str, ...], served: ServedModel) -> tuple[str, ...]:
    told = (("vision", "VisionInput"), ("tools", "ToolUse"))
    said = (capability for word, capability in told if word in served.capabilities)
    return tuple(dict.fromkeys((*implied_capabilities(strengths), *said)))
