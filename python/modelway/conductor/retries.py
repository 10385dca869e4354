"""Asking a failed model again, where no other is left: which one, and after what pause.

Another model is always the better second attempt; so this begins where the chain is exhausted. The pause is jittered in
full, or all whom one failure met would come back together, and it begins when the model may be asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from modelway.conductor.failures import Failure
from modelway.errors import BackendError

#: The longest first pause, doubled each time, and the longest of all.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 1.0
#: A request without a deadline does not wait longer than this for a server that asked us to.
LONGEST_WAIT_S = 10.0

#: Failures that may be over in a moment. A time-out has cost its time already; the others change by somebody's hand.
_PASSING = frozenset(
    {"connect", "reset", "server_error", "malformed", "empty", "interrupted", "busy", "rate_limited"}
)  # fmt: skip


class Again(NamedTuple):
    """Ask ``model`` again after ``pause_s`` seconds."""

    model: str
    pause_s: float


def again(
    errors: Mapping[str, Failure],
    held_s: Callable[[str], float | None],
    *,
    retries: int,
    chance: float,
    left_s: float | None,
) -> Again | None:
    """The first model of ``errors`` whose failure may pass in time; they hold the latest of each.

    ``held_s`` is for how long a model must be left alone, None: nobody knows. ``retries`` have been made for this
    request, ``chance`` is in [0, 1), ``left_s`` what is left of the request's deadline.
    """
    jitter_s = chance * min(_FIRST_PAUSE_S * 2**retries, _LONGEST_PAUSE_S)
    most_s = LONGEST_WAIT_S if left_s is None else left_s
    for model, error in errors.items():
        if may_pass(error) and (hold_s := held_s(model)) is not None and hold_s + jitter_s < most_s:
            return Again(model, hold_s + jitter_s)
    return None


def may_pass(error: Failure) -> bool:
    """Whether the same model may answer the same request a moment later."""
    return isinstance(error, BackendError) and error.lacks is None and error.kind in _PASSING
