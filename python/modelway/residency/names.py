"""Whose memory it is, of which a server tells by its own names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from modelway.backends.base import same_name

if TYPE_CHECKING:
    from modelway.config.settings import ResolvedModel


class Names:
    """The ids of ``backend``'s models by what it calls them; several may be one model there."""

    def __init__(self, models: Iterable[ResolvedModel], backend: str) -> None:
        self._ids: dict[str, list[str]] = defaultdict(list)
        for model in models:
            if model.backend == backend:
                # A file's model is known by our id.
                self._ids[same_name(model.name if model.path is None else model.id)].append(model.id)

    def of(self, name: str) -> list[str]:
        """Our ids of the model that the backend calls ``name``; empty for one that nobody has configured."""
        return self._ids.get(same_name(name), [])
