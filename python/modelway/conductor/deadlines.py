"""A request's own deadlines, in the loop's time, and how long its model may load.

Connect, load, first token and the time between tokens bound one attempt and are kept by its backend. These bound the
request over all waits, attempts and pauses.
"""

from __future__ import annotations

from dataclasses import dataclass

#: A load that takes so many times the model's average is taken for stuck.
_LOAD_AVERAGES = 4.0
#: The learned deadline stays between a fourth of the configured one and its fivefold: an average of few loads, or of
#: loads from a warm page cache, must not turn the next slow one into a failure.
_LEAST_SHARE, _MOST_SHARE = 0.25, 5.0


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment, and its ``name`` as an error says it."""

    at: float
    name: str


@dataclass(frozen=True, slots=True)
class RequestDeadlines:
    """When the first token must have come, and when the answer must be complete; None: whenever."""

    first_token: Deadline | None
    total: Deadline | None


def request_deadlines(now: float, deadline_ms: float | None, total_ms: int | None) -> RequestDeadlines:
    """``deadline_ms`` is the caller's, for the first token; ``total_ms`` the configured one, for the whole answer."""
    total = first_token = None
    if total_ms is not None:
        total = first_token = Deadline(now + total_ms / 1000, f"the total deadline of {total_ms} ms (total_ms)")
    if deadline_ms is not None and (total_ms is None or deadline_ms < total_ms):
        first_token = Deadline(now + deadline_ms / 1000, f"the deadline of {deadline_ms:g} ms")
    return RequestDeadlines(first_token, total)


def learned_load_s(average_ms: float | None, configured_ms: int) -> float | None:
    """Seconds for a model that has loaded before, on average in ``average_ms``; None: as configured."""
    if average_ms is None:
        return None
    longest_ms = min(max(_LOAD_AVERAGES * average_ms, _LEAST_SHARE * configured_ms), _MOST_SHARE * configured_ms)
    return longest_ms / 1000
