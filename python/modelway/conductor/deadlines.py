"""A request's own deadlines, in the loop's time.

Connect, load, first token and the time between tokens bound one attempt and are kept by its backend. These bound the
request over all waits, attempts and pauses.
"""

from __future__ import annotations

from dataclasses import dataclass


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
