"""The models and backends of one configuration, for as long as a request uses them.

A request runs to its end on the configuration it began with. So a replaced configuration retires its
lineup: new requests get the next one, and the old one closes with the last request that uses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelway.backends.factory import make_backend
from modelway.errors import UnknownModel
from modelway.pools import PoolManager

if TYPE_CHECKING:
    from modelway.backends.base import Backend
    from modelway.config.settings import ResolvedModel, Settings


class Lineup:
    """Backends are made on first use; ``async with`` counts one request that uses them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.closed = False
        self._models = {model.id: model for model in settings.models}
        self._definitions = {backend.name: backend for backend in settings.backends}
        self._backends: dict[str, Backend] = {}
        self._pools = PoolManager()
        self._requests = 0
        self._retired = False

    def model(self, model_id: str) -> ResolvedModel:
        """Raises :class:`UnknownModel` where the decision was made from another configuration."""
        try:
            return self._models[model_id]
        except KeyError:
            raise UnknownModel(f"{model_id}: the configuration was replaced meanwhile", model_id) from None

    def backend(self, name: str) -> Backend:
        backend = self._backends.get(name)
        if backend is None:
            definition = self._definitions[name]
            models = [model for model in self.settings.models if model.backend == name]
            backend = make_backend(definition, models, self._pools, definition.deadlines)
            self._backends[name] = backend
        return backend

    async def __aenter__(self) -> Lineup:
        self._requests += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self._requests -= 1
        if self._retired and not self._requests:
            await self.aclose()

    async def retire(self) -> None:
        """Close now, or with the last request."""
        self._retired = True
        if not self._requests:
            await self.aclose()

    async def aclose(self) -> None:
        """Close backends and connections at once; idempotent, and may be called again where it was cancelled."""
        for backend in self._backends.values():
            await backend.aclose()
        await self._pools.aclose()
        self.closed = True
