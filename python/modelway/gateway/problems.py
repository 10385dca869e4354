"""What went wrong, in terms every protocol can say: a status, a short stable word, a sentence.

The statuses are those that the protocols' own clients know how to treat: they retry 429 and 5xx, and
give a 4xx to their caller at once. A key that a backend refuses is **502**, not 401 or 403: the client's
own key is not at fault, and a client told so would ask its user for another one.
"""

from __future__ import annotations

import logging
import math
import re
import traceback
from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import web

from modelway.errors import (
    BackendError,
    ConsentRequired,
    ContextTooLong,
    EgressRefused,
    InvalidRequest,
    ModelwayError,
    NoModelAvailable,
    QueueFull,
    RateLimited,
    StreamInterrupted,
    UnknownModel,
)

logger = logging.getLogger("modelway.gateway")

#: Seconds after which to ask again where no model says when it will be tried.
DEFAULT_RETRY_S = 1

#: By outcome kind, for the failures of a backend that the conductor hands to the caller.
_BACKEND_STATUS = {"rejected": 400, "rate_limited": 429, "busy": 503, "timeout": 504}


#: OpenAI's word, on which clients cut their history; models whose context we don't know say it in their own.
_CONTEXT_CODE = "context_length_exceeded"
_TOO_LONG = re.compile(r"context (length|size|window)|too many tokens", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Problem:
    """One failure, before a protocol gives it its shape. ``partial`` is the text that came before it."""

    status: int
    code: str
    message: str
    retry_after_s: int | None = None
    partial: str | None = None


class Refused(ModelwayError):
    """A request that the gateway itself turns away, with the status it answers."""

    def __init__(self, status: int, code: str, message: str):
        self.status = status
        self.code = code
        super().__init__(message)


def problem_of(error: Exception) -> Problem:
    """The problem that an exception means.

    One that nobody expected is logged, and nothing of its text is shown.
    """
    message = str(error)
    waits: list[float | None] = []
    partial = None
    match error:
        case Refused():
            status, code = error.status, error.code
        case InvalidRequest():
            status, code = 400, "invalid_request"
        case ContextTooLong():
            status, code = 400, _CONTEXT_CODE
        case ConsentRequired() | EgressRefused():
            status, code = 403, "consent_required" if isinstance(error, ConsentRequired) else "egress_refused"
        case UnknownModel():
            status, code = 404, "model_not_found"
        case NoModelAvailable():
            status, code = 503, "no_model_available"
            waits = [attempt.next_try_s for attempt in error.attempts]
        case RateLimited() | QueueFull():
            status, code = _beyond_limit(error)
            waits = [error.retry_after_s]
        case StreamInterrupted():
            status, code = 502, "stream_interrupted"
            partial = error.partial
        case BackendError():
            status, code = _BACKEND_STATUS.get(error.kind, 502), f"backend_{error.kind}"
            if error.kind == "rejected" and _TOO_LONG.search(error.detail):
                code = _CONTEXT_CODE
            waits = [error.retry_after_s]
        case web.HTTPException():
            status, code = error.status, "http_error"
            message = _http_sentence(error)
        case _:
            _log_unexpected(error)
            status, code = 500, "internal_error"
            message = "modelway failed to handle this request; its log says where"
    return Problem(status, code, message, _retry_after(waits) if status in (429, 503) else None, partial)


def _beyond_limit(error: RateLimited | QueueFull) -> tuple[int, str]:
    if isinstance(error, QueueFull):
        return 503, "queue_full"
    if error.retry_after_s is None:  # time changes nothing, and clients would repeat a 429
        return 400, "larger_than_limit"
    return 429, "quota_exceeded" if error.limit.startswith("quota") else "rate_limit_exceeded"


def _log_unexpected(error: Exception) -> None:
    """Log where an exception came from: its type and places, never its text, which may hold a prompt."""
    places = "".join(traceback.format_tb(error.__traceback__))
    logger.error("unexpected %s in a request\n%s", type(error).__name__, places)


def _retry_after(waits: Iterable[float | None]) -> int:
    known = [wait for wait in waits if wait is not None]
    return max(1, math.ceil(min(known))) if known else DEFAULT_RETRY_S


def _http_sentence(error: web.HTTPException) -> str:
    match error:
        case web.HTTPNotFound():
            return "no such route; GET /v1/models and GET /api/tags list what can be asked"
        case web.HTTPMethodNotAllowed():
            return f"this route takes {', '.join(sorted(error.allowed_methods))}, not {error.method[:20]}"
        case web.HTTPRequestEntityTooLarge():
            return "the body is larger than 16 MiB; send less, for example smaller images"
        case _:
            return error.reason
