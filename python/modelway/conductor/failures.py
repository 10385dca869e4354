"""What the failure of one model means for the request: does the next one get it, and in what words."""

from __future__ import annotations

from modelway.errors import Attempt, BackendError, NoModelAvailable

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
_LACKS = {"tools": "it can't call tools", "vision": "it can't read images"}

#: These would be answered alike by any other model, or hide a wrong key behind a fallback.
_TO_THE_CALLER = frozenset({"rejected", "unauthorized"})


def moves_on(error: BackendError | NoModelAvailable) -> bool:
    """Whether the next candidate gets the request."""
    if isinstance(error, NoModelAvailable):
        return True
    return error.lacks is not None or error.kind not in _TO_THE_CALLER


def clause(error: BackendError | NoModelAvailable) -> str:
    """Why a model could not answer, as a part of a sentence for people."""
    if isinstance(error, NoModelAvailable):
        return error.attempts[0].why if error.attempts else "the configuration was replaced meanwhile"
    if error.lacks is not None:
        return _LACKS.get(error.lacks, f"it lacks {error.lacks}")
    return _CLAUSES[error.kind]


def failed_attempt(model: str, error: BackendError | NoModelAvailable, next_try_s: float | None) -> Attempt:
    """The candidate that failed, with all that is known of why."""
    if isinstance(error, NoModelAvailable):
        return Attempt(model, clause(error), next_try_s)
    # Time will not teach it what it lacks.
    return Attempt(model, str(error), None if error.lacks is not None else next_try_s)
