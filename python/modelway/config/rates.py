"""Rates and quotas in force: what the written limits come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelway.config.limits import LimitsConfig, UserLimitsConfig


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``amount`` in ``window_s`` seconds on average, of which ``burst`` may come at once."""

    amount: int
    window_s: float
    burst: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Rates of requests and of tokens; None: no limit."""

    requests: Rate | None = None
    tokens: Rate | None = None


#: The default everywhere.
NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Quota:
    """At most ``amount`` of ``unit`` (``requests`` or ``tokens``) in each window."""

    unit: str
    amount: int
    window_s: float


def limits_of(written: LimitsConfig) -> Limits:
    """The rates that a table of limits sets."""
    return Limits(
        requests=_rate(written.requests_per_minute, written.request_burst),
        tokens=_rate(written.tokens_per_minute, written.token_burst),
    )


def quotas_of(written: UserLimitsConfig) -> tuple[Quota, ...]:
    """The quotas of each user."""
    amounts = {"requests": written.quota_requests, "tokens": written.quota_tokens}
    window_s = float(written.quota_window_s)
    return tuple(Quota(unit, amount, window_s) for unit, amount in amounts.items() if amount is not None)


def _rate(per_minute: int | None, burst: int | None) -> Rate | None:
    return None if per_minute is None else Rate(per_minute, 60.0, burst or per_minute)
