"""The limits that a request stands under, as one header: ``backend.queue=512 requests; model.concurrency=4 requests``.

What is left of a user's own is told apart, in ``x-ratelimit-*``.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from modelway.errors import UnknownBackend
from modelway.router import ModelRouter

#: Whose limits every request stands under.
_EVERYBODYS = {"all": "all", "user": "user", "gateway": "gateway"}


class LimitsHeader:
    """Made once for each model and configuration: no request waits for the list of all."""

    def __init__(self, router: ModelRouter) -> None:
        self._router = router
        self._settings: object = None
        self._managed: object = None
        self._made: dict[str, str] = {}

    def of(self, model: str) -> str:
        """Of a request to ``model``; of one that came to none, also where it has gone since: what holds for all."""
        settings, managed = self._router.settings, self._router.managed
        if settings is not self._settings or managed is not self._managed:
            self._settings, self._managed, self._made = settings, managed, {}
        if model not in self._made:
            self._made[model] = "; ".join(self._words(model))
        return self._made[model]

    def _words(self, model: str) -> list[str]:
        owners = dict(_EVERYBODYS)
        if (profile := self._router.profiles.get(model)) is not None:
            owners |= {f"model {model}": "model", f"backend {profile.backend_id}": "backend"}
            with suppress(UnknownBackend):  # the configuration was replaced this moment
                owners.setdefault(self._router.device(profile.backend_id), "device")
        limits = self._router.limits_in_force()
        return [f"{owners[limit['of']]}.{_word(limit)}" for limit in limits if limit["of"] in owners]


def _word(limit: Mapping[str, Any]) -> str:
    window = f"/{limit['window_s']:g}s" if "window_s" in limit else ""
    burst = f" burst {limit['burst']}" if "burst" in limit else ""
    return f"{limit['what']}={limit['limit']} {limit['unit']}{window}{burst}"
