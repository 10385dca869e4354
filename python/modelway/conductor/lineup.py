"""The models and backends of one configuration, for as long as a request uses them.

A request runs to its end on the configuration it began with. So a replaced configuration retires its
lineup: new requests get the next one, and the old one ends with the last request that uses it. A backend that
is the same in both is shared: it keeps its connections and child processes, and is closed by whichever lineup
leaves it last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelway.backends.factory import make_backend, make_door, makings
from modelway.errors import UnknownModel
from modelway.pools import PoolManager, PoolStats

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelway.backends.base import Backend
    from modelway.config.settings import ResolvedModel, Settings
    from modelway.pools import Pass
    from modelway.terminology import Words


class Lineup:
    """Backends are made on first use, or taken over from ``before``; ``async with`` counts one request that uses them.

    Lineups made from one another share what they can, wherever in that row they stand. ``clear_control`` is that of
    the router.
    """

    def __init__(
        self,
        settings: Settings,
        words: Words,
        before: Lineup | None = None,
        *,
        clear_control: Callable[[str], Pass | None],
    ) -> None:
        self.settings = settings
        self._clear_control = clear_control
        self.closed = False
        self.words = words
        self.has_models_elsewhere = any(model.destination is not None for model in settings.models)
        self._models = {model.id: model for model in settings.models}
        self._definitions = {backend.name: backend for backend in settings.backends}
        self._makings = {
            name: makings(definition, self._models_of(name)) for name, definition in self._definitions.items()
        }
        self._shared: _Shared = _Shared() if before is None else before._shared
        self._backends: dict[str, Backend] = {}
        self._requests = 0
        self._retired = False
        # Now, not on first use: the lineup before may close in between, and what both need with it.
        for name, made_of in self._makings.items():
            if (backend := self._shared.taken(made_of, self)) is not None:
                self._backends[name] = backend

    def model(self, model_id: str) -> ResolvedModel:
        """Raises :class:`UnknownModel` where the decision was made from another configuration."""
        try:
            return self._models[model_id]
        except KeyError:
            raise UnknownModel(f"{model_id}: the configuration was replaced meanwhile", model_id) from None

    def backend(self, name: str) -> Backend:
        """The backend of this name, made now if no lineup has it yet."""
        backend = self._backends.get(name)
        if backend is None:
            made_of = self._makings[name]
            backend = self._shared.taken(made_of, self)
            if backend is None:
                definition = self._definitions[name]
                models = self._models_of(name)
                door = make_door(self.settings, definition, models, self._clear_control)
                backend = make_backend(definition, models, self._shared.pools, definition.deadlines, door)
                self._shared.add(backend, made_of, self)
            self._backends[name] = backend
        return backend

    def pool_stats(self) -> list[PoolStats]:
        """The connections of all backends that are in use, those of retired lineups too."""
        return self._shared.pools.stats()

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
        """Leave the backends at once, which closes those that no other lineup uses.

        Idempotent, and may be called again where it was cancelled.
        """
        await self._shared.leave(self)
        self.closed = True

    def _models_of(self, backend: str) -> list[ResolvedModel]:
        return [model for model in self.settings.models if model.backend == backend]


@dataclass(eq=False, slots=True)
class _InUse:
    """A backend, what it was made of, and the lineups that use it."""

    backend: Backend
    made_of: object
    users: set[Lineup]


class _Shared:
    """The backends that a row of lineups uses, and their connections."""

    def __init__(self) -> None:
        self.pools = PoolManager()
        self._in_use: list[_InUse] = []
        self._left: list[_InUse] = []

    def add(self, backend: Backend, made_of: object, user: Lineup) -> None:
        self._in_use.append(_InUse(backend, made_of, {user}))

    def taken(self, made_of: object, user: Lineup) -> Backend | None:
        """The backend that is made of just this, used by ``user`` from now on; None if there is none."""
        for entry in self._in_use:
            if entry.made_of == made_of:
                entry.users.add(user)
                return entry.backend
        return None

    async def leave(self, user: Lineup) -> None:
        """``user`` uses none of them any more; those that nobody uses then are closed."""
        for entry in self._in_use:
            entry.users.discard(user)
        # First of all out of reach of a lineup that comes while they close.
        self._left += [entry for entry in self._in_use if not entry.users]
        self._in_use = [entry for entry in self._in_use if entry.users]
        # Each stays until it is closed: where this is cancelled, the next call goes on.
        for entry in list(self._left):
            await entry.backend.aclose()
            if entry in self._left:
                self._left.remove(entry)
