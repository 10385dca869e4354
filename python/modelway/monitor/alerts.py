"""Which troubles there are, which of them last long enough to be told, and which were told.

Each is told once, and so is its end. One outage is one alert: while a server does not answer, nothing more is said of
its circuits and of those of its models.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from modelway.events import AvailabilityChanged
from modelway.monitor.sentences import over_sentence, trouble_sentence

if TYPE_CHECKING:
    from modelway.config.settings import Settings


class Trouble(NamedTuple):
    """``what`` as in :class:`AvailabilityChanged`; ``model`` None: of the whole backend."""

    what: str
    backend: str
    model: str | None = None


@dataclass(slots=True)
class _Record:
    since: float
    told: AvailabilityChanged | None = None


class AlertBook:
    """Pure: the time is passed in, and what is to be told is returned."""

    def __init__(self) -> None:
        self._records: dict[Trouble, _Record] = {}

    def note(self, trouble: Trouble, now: float, *, is_on: bool, is_gone: bool = False) -> AvailabilityChanged | None:
        """A trouble is there, or is not; the alert that it is over, where it was told.

        ``is_gone``: the configuration no longer has what was in trouble.
        """
        if is_on:
            self._records.setdefault(trouble, _Record(now))
            return None
        record = self._records.pop(trouble, None)
        if record is None or record.told is None:
            return None
        lasted_s = now - record.since
        message = over_sentence(trouble.what, trouble.backend, trouble.model, lasted_s, is_gone=is_gone)
        return AvailabilityChanged(trouble.model, trouble.backend, trouble.what, True, lasted_s, message)

    def forget_gone(self, settings: Settings, now: float) -> list[AvailabilityChanged]:
        """Troubles of what ``settings`` does not have are over."""
        there = {model.id: model.backend for model in settings.models}
        backends = {backend.name for backend in settings.backends}
        gone = [
            trouble
            for trouble in self._records
            if trouble.backend not in backends or (trouble.model and there.get(trouble.model) != trouble.backend)
        ]
        ends = (self.note(trouble, now, is_on=False, is_gone=True) for trouble in gone)
        return [end for end in ends if end is not None]

    def due(
        self, settings: Settings, defaults: AbstractSet[str], untried: AbstractSet[Trouble], now: float
    ) -> list[AvailabilityChanged]:
        """The alerts to be told now.

        ``defaults``: ids of the models that are missed if they are missing. ``untried``: troubles of which nobody knows
        whether they still are: a circuit that lets a probe pass, a server that is being asked.
        """
        alerts = []
        for trouble, record in self._records.items():
            if record.told or now < self._due_at(trouble, record, settings) or self._is_covered(trouble):
                continue
            if trouble in untried or (trouble.what == "missing" and trouble.model not in defaults):
                continue
            lasted_s = now - record.since
            message = trouble_sentence(trouble.what, trouble.backend, trouble.model, lasted_s, settings)
            record.told = AvailabilityChanged(trouble.model, trouble.backend, trouble.what, False, lasted_s, message)
            alerts.append(record.told)
        return alerts

    def next_due(self, settings: Settings, now: float) -> float | None:
        """When the next trouble will have lasted long enough, if none ends before."""
        times = (self._due_at(trouble, record, settings) for trouble, record in self._records.items())
        return min((time for time in times if time > now), default=None)

    def in_force(self) -> list[AvailabilityChanged]:
        """The alerts that were told and are not over."""
        return [record.told for record in self._records.values() if record.told]

    def _due_at(self, trouble: Trouble, record: _Record, settings: Settings) -> float:
        lasts = trouble.what in {"circuit", "unreachable"}  # the others end by somebody's hand alone
        return record.since + (settings.health.alert_after_ms / 1000 if lasts else 0.0)

    def _is_covered(self, trouble: Trouble) -> bool:
        if trouble.what != "circuit":
            return False
        wider = [Trouble("unreachable", trouble.backend)]
        if trouble.model is not None:
            wider.append(Trouble("circuit", trouble.backend))
        return any(other in self._records for other in wider)
