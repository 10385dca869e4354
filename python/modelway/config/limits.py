"""The tables that limit what may be used: rates, quotas, and how many may wait.

Nothing is limited by default, but how many may wait: who has a machine alone is never refused by a number
that nobody wrote.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from modelway.config.fields import Name, Section

#: The core counts what passes in a minute in 32 bits.
Rate = Annotated[int, Field(ge=1, le=2**32 - 1)]
Amount = Annotated[int, Field(ge=1, le=2**53)]


class LimitsConfig(Section):
    """Rates. Requests wait while a rate is used up, but where it is a user's own: then they are refused."""

    requests_per_minute: Rate | None = None
    """Requests a minute; absent: no limit."""
    request_burst: Amount | None = None
    """How many of them may come at once, before the others are spread over the minute; absent: a whole minute's."""
    tokens_per_minute: Rate | None = None
    """Tokens a minute, read and written; estimated when a request comes, corrected when it ends. Absent: no limit."""
    token_burst: Amount | None = None
    """How many of them may be used at once, which is also the most that one request may use; absent: a whole
    minute's."""

    @field_validator("request_burst", "token_burst")
    @classmethod
    def _needs_its_rate(cls, burst: int | None, info: ValidationInfo) -> int | None:
        rate = f"{str(info.field_name).removesuffix('_burst')}s_per_minute"
        # A rate that failed its own check is not there either; one problem is enough then.
        if burst is not None and rate in info.data and info.data[rate] is None:
            raise ValueError(f"{burst} is a part of {rate}, which is absent; write it too, or remove the line")
        return burst


class UserLimitsConfig(LimitsConfig):
    """``[limits.user]``: what each user may use. All requests that name no user are one user's together."""

    quota_requests: Amount | None = None
    """Requests in each window of ``quota_window_s``; absent: no limit."""
    quota_tokens: Amount | None = None
    """Tokens in each window, read and written; absent: no limit."""
    quota_window_s: Annotated[int, Field(ge=1, le=366 * 86_400)] = 86_400
    """How long a window is, seconds: a day. Windows follow one another from the beginning of 1970 in UTC, so a day's
    begins at midnight there."""


class AllLimitsConfig(LimitsConfig):
    """``[limits]``: what all requests together may use."""

    user: UserLimitsConfig = UserLimitsConfig()
    """What each user may use."""


class FairnessConfig(Section):
    """``[fairness]``: how those who wait are told apart, and how many may."""

    max_users: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000
    """How many users' rates and quotas are kept apart. Beyond, a newcomer is refused until somebody's past no longer
    matters; so invented names cost no memory. Nothing is kept where users have no limits."""
    shares: Annotated[dict[Name, Annotated[int, Field(ge=1, le=1_000)]], Field(min_length=1)] | None = None
    """Users to whom more of a queue is due than to others, as in ``{ alice = 2 }``: twice the tokens of one who has
    the usual share, 1."""
    max_waiting: Annotated[int, Field(ge=0, le=1_000_000)] = 512
    """How many requests may wait for each backend; beyond, they are refused with when to come back."""
