"""The backend that a configuration asks for; only its own module is imported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelway.backends.base import Backend, Deadlines
from modelway.errors import ConfigError, ConfigProblem
from modelway.pools import PoolManager

if TYPE_CHECKING:
    from modelway.config.settings import ResolvedBackend, ResolvedModel


def make_backend(
    settings: ResolvedBackend, models: Sequence[ResolvedModel], pools: PoolManager, deadlines: Deadlines
) -> Backend:
    """A backend of ``settings.kind`` with its ``models``. Opens and starts nothing; raises ConfigError."""
    path = f"backends.{settings.name}"
    if settings.kind == "llama_cpp":
        from modelway.backends.llama_cpp import LlamaCppBackend

        return LlamaCppBackend(
            settings.name,
            {model.id: model.path for model in models if model.path is not None},
            pools=pools,
            deadlines=deadlines,
            folder=settings.folder,
            threads=settings.threads,
            context=settings.context,
            parallel=settings.parallel,
            max_connections=settings.max_connections,
        )
    if settings.kind == "mock":
        from modelway.backends.mock.backend import MockBackend

        return MockBackend(settings.name, models, pools=pools, deadlines=deadlines, url=settings.url)
    if settings.url is None:
        raise ConfigError([ConfigProblem(f"{path}.url", f"missing; a backend of kind {settings.kind} needs one")])
    if settings.kind == "ollama":
        from modelway.backends.ollama import OllamaBackend

        return OllamaBackend(
            settings.name,
            settings.url,
            pools=pools,
            deadlines=deadlines,
            max_connections=settings.max_connections,
        )
    if settings.kind == "openai":
        from modelway.backends.openai_compat import OpenAICompatBackend

        return OpenAICompatBackend(
            settings.name,
            settings.url,
            pools=pools,
            deadlines=deadlines,
            max_connections=settings.max_connections,
            api_key_env=settings.api_key_env,
        )
    kinds = "ollama, openai, llama_cpp, mock"
    raise ConfigError([ConfigProblem(f"{path}.kind", f'"{settings.kind}" is no kind of backend; use one of {kinds}')])
