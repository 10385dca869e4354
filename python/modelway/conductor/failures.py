"""What failures mean for the request: does the next model get it, in what words, and what is said when none is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelway.errors import (
    Attempt,
    BackendError,
    ConsentRequired,
    EgressRefused,
    NoModelAvailable,
    QueueFull,
    RateLimited,
    UnknownModel,
)
from modelway.explain import limit_clause, none_left_sentence, rejection_sentence

if TYPE_CHECKING:
    from modelway.router import ModelRouter
    from modelway.types import RoutingDecision

#: How a candidate fails before its first token, or is not even asked.
Failure = BackendError | NoModelAvailable | RateLimited | QueueFull | ConsentRequired | EgressRefused

#: By outcome kind: how a failure is told in "MODEL could not answer (...)".
_CLAUSES = {
    "connect": "it can't be reached",
    "reset": "the connection broke before it answered",
    "timeout": "it did not begin to answer in time",
    "server_error": "its server reported an error",
    "malformed": "its server sent something that is no answer",
    "empty": "its answer was empty",
    "interrupted": "it broke off before it answered",
    "rate_limited": "its server limits the rate of requests",
    "busy": "its server is busy",
    "missing": "its server does not have it",
    "rejected": "its server refused the request",
    "unauthorized": "its server refused the key",
}
#: The same, in the midst of an answer, as a part of "the answer of MODEL broke off (...)".
_BREAKS = {
    "timeout": "nothing more came in time",
    "interrupted": "the connection broke",
    "reset": "the connection broke",
    "empty": "it ended without a word",
}
_LACKS = {"tools": "it can't call tools", "vision": "it can't read images"}

#: These would be answered alike by any other model, or hide a wrong key behind a fallback.
_TO_THE_CALLER = frozenset({"rejected", "unauthorized"})

#: Limits that hold for a model or its backend by the first word of their names; the others hold for the caller
#: whatever model is asked.
_OF_THE_CANDIDATE = ("model", "backend", "retries")


def moves_on(error: Failure) -> bool:
    """Whether the next candidate gets the request."""
    match error:
        case BackendError():
            return error.lacks is not None or error.kind not in _TO_THE_CALLER
        case RateLimited():
            return error.limit.startswith(_OF_THE_CANDIDATE)
    return True


def clause(error: Failure) -> str:
    """Why a model could not answer, as a part of a sentence for people."""
    match error:
        case NoModelAvailable():
            return error.attempts[0].why if error.attempts else "the configuration was replaced meanwhile"
        case QueueFull():
            return str(error).rpartition(": ")[2]  # behind the model's name
        case RateLimited():
            return limit_clause(error.limit)
        case ConsentRequired() | EgressRefused():
            return str(error)
        case BackendError(lacks=None):
            return _CLAUSES[error.kind]
    return _LACKS.get(error.lacks or "", f"it lacks {error.lacks}")


def break_clause(error: BackendError) -> str:
    """How an answer broke off, as a part of a sentence for people."""
    return _BREAKS.get(error.kind) or clause(error)


class Failures:
    """The candidates of one request that failed, and the errors that they come to.

    ``errors`` holds the latest of each model, in the order in which they failed first.
    """

    def __init__(self, router: ModelRouter) -> None:
        self.errors: dict[str, Failure] = {}
        self._router = router
        self._attempts: dict[str, Attempt] = {}

    def pass_over(self, model: str, why: str) -> None:
        """``model`` is not asked, as another's failure says that it would fail too."""
        self._attempts[model] = Attempt(model, why)

    def add(self, model: str, error: Failure, why: str) -> None:
        """``model`` failed; with all that is known of why, at least ``why``, and of when it may be tried again."""
        match error:
            case NoModelAvailable():
                attempt = Attempt(model, why, self._next_try_s(model))
            case ConsentRequired() | EgressRefused():
                attempt = Attempt(model, why)
            case QueueFull() | RateLimited():
                attempt = Attempt(model, why, error.retry_after_s)
            case BackendError():
                # Time will not teach it what it lacks.
                next_try_s = self._next_try_s(model) if error.lacks is None else None
                attempt = Attempt(model, str(error), next_try_s)
        if model in self._attempts and not isinstance(error, BackendError):
            # It may not be asked again now: what it said when it was asked tells more.
            attempt = self._attempts[model]._replace(next_try_s=attempt.next_try_s)
        self._attempts[model] = attempt
        self.errors[model] = error

    def none_left(self, decision: RoutingDecision, remedy: str | None) -> NoModelAvailable | QueueFull:
        """Every candidate failed; ``remedy``: what would help, where that is known. Where all that could serve have too
        many waiting, that is what to say."""
        attempts = (*self._attempts.values(), *self._set_aside(decision))
        message = none_left_sentence(attempts)
        if remedy is not None:
            message += f" | {remedy}"
        full = [error for error in self.errors.values() if isinstance(error, QueueFull)]
        if len(full) < len(self.errors):
            return NoModelAvailable(message, attempts)
        waits = [error.retry_after_s for error in full if error.retry_after_s is not None]
        return QueueFull(message, retry_after_s=min(waits, default=None))

    def deadline_passed(self, decision: RoutingDecision, running: str, deadline: str) -> NoModelAvailable:
        """The request's ``deadline``, so called, passed while ``running`` was asked, or waited for."""
        attempts = self._attempts | {
            running: Attempt(running, "no first token by the deadline", self._next_try_s(running))
        }
        for model in (decision.model, *decision.chain):
            if model not in attempts:
                attempts[model] = Attempt(model, "not asked: the deadline had passed", self._next_try_s(model))
        named = (*attempts.values(), *self._set_aside(decision))
        return NoModelAvailable(f"{deadline} passed before a first token; {none_left_sentence(named)}", named)

    def _set_aside(self, decision: RoutingDecision) -> list[Attempt]:
        """The models that the decision left out; only health mends with time."""
        return [
            Attempt(model, rejection_sentence(why), self._next_try_s(model) if why == "unavailable" else None)
            for model, why in decision.rejected
        ]

    def _next_try_s(self, model: str) -> float | None:
        try:
            health = self._router.health(model)
        except UnknownModel:  # the configuration was replaced meanwhile
            return None
        return 0.0 if health.available else health.retry_in_s
