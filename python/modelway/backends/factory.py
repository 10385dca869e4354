"""The backend that a configuration asks for; only its own module is imported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from modelway.backends.base import Backend, Deadlines
from modelway.config.rates import NO_LIMITS
from modelway.errors import ConfigError, ConfigProblem
from modelway.pools import ConnectionConfig, Door, Pass, PoolManager
from modelway.privacy.ledger import EgressLedger
from modelway.privacy.locality import place_of_url

if TYPE_CHECKING:
    from modelway.config.settings import ResolvedBackend, ResolvedModel, Settings


def makings(settings: ResolvedBackend, models: Sequence[ResolvedModel]) -> object:
    """What :func:`make_backend` reads: where it is equal, one backend serves both.

    Limits and memory are kept by the router. Only a backend that serves its models itself is made of them, too.
    """
    own: object = None
    if settings.kind == "llama_cpp":
        own = _files(models)
    elif settings.kind == "mock":
        own = tuple(models)
    return replace(settings, limits=NO_LIMITS, memory_bytes=None), own, destinations(settings, models)


def destinations(settings: ResolvedBackend, models: Sequence[ResolvedModel]) -> frozenset[str]:
    """The places out of this device where what is asked of the backend may go; empty: none."""
    places = {settings.destination, *(model.destination for model in models)}
    return frozenset(place for place in places if place is not None)


def make_door(
    settings: Settings,
    definition: ResolvedBackend,
    models: Sequence[ResolvedModel],
    clear_control: Callable[[str], Pass | None],
) -> Door | None:
    """The way out to where answers of the backend may be made; None: on this device.

    ``clear_control`` makes the pass for what is asked of the server itself.
    """
    places = destinations(definition, models)
    if not places:
        return None
    is_far = definition.location != "device"
    ledger = EgressLedger(settings.state_folder)
    return Door(places, ledger, is_far=is_far, control=partial(clear_control, definition.name))


def make_backend(
    settings: ResolvedBackend,
    models: Sequence[ResolvedModel],
    pools: PoolManager,
    deadlines: Deadlines,
    door: Door | None = None,
) -> Backend:
    """A backend of ``settings.kind`` with its ``models``. Opens and starts nothing; raises ConfigError.

    One with :func:`destinations` needs a ``door`` to them.
    """
    path = f"backends.{settings.name}"
    connections = ConnectionConfig(
        max_connections=settings.max_connections,
        connect_s=deadlines.connect_s,
        keep_alive_s=settings.keep_alive_s,
        max_age_s=settings.max_connection_age_s,
        place=place_of_url(settings.url) if settings.url else "device",
        is_encrypted=(settings.url or "").lower().startswith("https:"),
    )
    if settings.kind == "llama_cpp":
        from modelway.backends.llama_cpp import LlamaCppBackend

        return LlamaCppBackend(
            settings.name,
            _files(models),
            pools=pools,
            deadlines=deadlines,
            folder=settings.folder,
            threads=settings.threads,
            context=settings.context,
            parallel=settings.parallel,
            connections=connections,
        )
    if settings.kind == "mock":
        from modelway.backends.mock.backend import MockBackend

        return MockBackend(
            settings.name,
            models,
            pools=pools,
            deadlines=deadlines,
            connections=connections,
            url=settings.url,
            door=door,
        )
    if settings.url is None:
        raise ConfigError([ConfigProblem(f"{path}.url", f"missing; a backend of kind {settings.kind} needs one")])
    if settings.kind == "ollama":
        from modelway.backends.ollama import OllamaBackend

        return OllamaBackend(
            settings.name,
            settings.url,
            pools=pools,
            deadlines=deadlines,
            connections=connections,
            door=door,
        )
    if settings.kind == "openai":
        from modelway.backends.openai_compat import OpenAICompatBackend

        return OpenAICompatBackend(
            settings.name,
            settings.url,
            pools=pools,
            deadlines=deadlines,
            connections=connections,
            api_key_env=settings.api_key_env,
            door=door,
        )
    kinds = "ollama, openai, llama_cpp, mock"
    raise ConfigError([ConfigProblem(f"{path}.kind", f'"{settings.kind}" is no kind of backend; use one of {kinds}')])


def _files(models: Sequence[ResolvedModel]) -> dict[str, Path]:
    return {model.id: model.path for model in models if model.path is not None}
