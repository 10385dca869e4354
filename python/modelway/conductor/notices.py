"""What people are told beside an answer: who answers, warnings, who was passed over for want of consent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from modelway.errors import UnknownModel
from modelway.events import ConsentNeeded, Degraded, ModelSelected, WarningLabel
from modelway.explain import rejection_sentence
from modelway.types import SelectionReason, stakes_of

if TYPE_CHECKING:
    from modelway.conductor.lineup import Lineup
    from modelway.pools import Pass
    from modelway.privacy.labels import Labels
    from modelway.types import RoutingDecision, RoutingRequest

#: The decision is less than what was asked for by name.
_DEGRADED = frozenset({SelectionReason.Capability, SelectionReason.ContextLength, SelectionReason.Privacy})

#: The usual choice is passed over.
_PASSED_OVER = frozenset({SelectionReason.Fallback, SelectionReason.Warm})


class Notices:
    """The notices of one request. ``labels`` remembers what was told in its conversation."""

    def __init__(self, lineup: Lineup, labels: Labels, request: RoutingRequest) -> None:
        self._settings = lineup.settings
        self._words = lineup.words
        self._lineup = lineup
        self._labels = labels
        self._request = request

    def of_decision(
        self, decision: RoutingDecision, request_id: str
    ) -> Iterator[ModelSelected | Degraded | ConsentNeeded | WarningLabel]:
        """Once the model is chosen, before anything is asked of it."""
        yield self._selected(decision, request_id)
        if degraded := _degraded(decision, self._request):
            yield degraded
        for model, destination in decision.needs_consent:
            yield ConsentNeeded(model, destination, decision.kinds)
        yield from self._labels.beside(
            self._settings.warnings,
            self._words,
            conversation=self._request.conversation,
            task=str(decision.task),
            stakes=stakes_of(self._request.prompt) if self._settings.warnings.high_stakes else (),
        )

    def before_sending(self, egress: Pass | None) -> list[WarningLabel]:
        """Before the request leaves this device, if it does."""
        if egress is None:
            return []
        return self._labels.before_sending(
            self._settings.warnings,
            self._words,
            conversation=self._request.conversation,
            destination=egress.destination,
        )

    def _selected(self, decision: RoutingDecision, request_id: str) -> ModelSelected:
        return ModelSelected(
            model=decision.model,
            backend=decision.backend,
            task=str(decision.task),
            confidence=decision.confidence,
            location=str(decision.location),
            reason=str(decision.reason),
            explanation=decision.explanation,
            request_id=request_id,
            decision=decision,
            display_name=self._name_of(decision.model),
            hand_off=self._hand_off(decision),
        )

    def _name_of(self, model_id: str) -> str:
        """As it is written, else as people call what its server calls it."""
        try:
            model = self._lineup.model(model_id)
        except UnknownModel:  # the configuration was replaced meanwhile
            return model_id
        return self._words.name_of(model.name) if model.display_name == model.id else model.display_name

    def _hand_off(self, decision: RoutingDecision) -> str:
        """Said where another model answers than the one that answers in general."""
        usual = self._settings.defaults.get("general")
        return "" if usual is None or decision.model == usual else self._words.hand_off(str(decision.task))


def _degraded(decision: RoutingDecision, request: RoutingRequest) -> Degraded | None:
    """The notice that something else serves than what was asked for by name, or than the usual choice."""
    by_name = request.model is not None and decision.reason in _DEGRADED
    if not by_name and decision.reason not in _PASSED_OVER:
        return None
    # Models that could never have served may stand before the one that is passed for a warm one.
    passed = (one for one in decision.rejected if decision.reason != SelectionReason.Warm or one[1] == "cold")
    preferred, why = next(passed)
    detail = f"{decision.model} answers instead of {preferred}: {rejection_sentence(why)}."
    return Degraded(str(decision.reason), detail)
