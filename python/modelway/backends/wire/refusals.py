"""A server's no, as an error: which status and text mean what, for Ollama and OpenAI shapes alike."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from modelway.backends.wire.records import parse
from modelway.errors import BackendError
from modelway.origin import Origin

#: Longer waits are not honoured: nobody knows what a server will do in an hour.
MAX_RETRY_AFTER_S = 300.0
MAX_DETAIL_CHARS = 200
#: Servers wrap an error in another, and Ollama passes on texts that are JSON themselves; none does so more often.
_MAX_WRAPS = 8

_KINDS = {400: "rejected", 401: "unauthorized", 402: "unauthorized", 403: "unauthorized", 404: "missing",
          408: "timeout", 413: "rejected", 422: "rejected", 429: "rate_limited", 503: "busy", 529: "busy"}  # fmt: skip

#: What a server says where the model lacks an ability, whatever status it wraps it in.
_LACKS = (
    ("tools", re.compile(r"not support (tool|function)|\btools?\b.{0,40}(requires --|not supported)", re.I)),
    ("vision", re.compile(r"not support (vision|image)|image input is not supported|required for image input", re.I)),
)
#: A wrong option that Ollama answers with 500: the caller's fault.
_WRONG_OPTION = re.compile(r'option "[^"]*" must be ')

_SENTENCES = {
    "rejected": "the server refused the request",
    "unauthorized": "the server refused the key; check the variable that api_key_env names",
    "missing": "the server does not have it; install it there or correct its name",
    "rate_limited": "the server limits the rate of requests",
    "busy": "the server is busy",
}


def refusal(
    origin: Origin, status: int, body: bytes, headers: Mapping[str, str], now: datetime | None = None
) -> BackendError:
    """The error for an answer other than 200; ``now`` is the wall time that Retry-After dates count from."""
    said = _said(body)
    kind, lacks = _meaning(status, said)
    wait_s = retry_after_s(headers.get("Retry-After"), now or datetime.now(UTC))
    return _error(origin, kind, said, lacks, status=status, wait_s=wait_s)


def reported(origin: Origin, error: object) -> BackendError:
    """The error for an error object that came after 200; its ``code`` counts where it is an HTTP status."""
    code = error.get("code") if isinstance(error, dict) else None
    status = code if type(code) is int and 400 <= code <= 599 else None
    said = _text_of(error)
    kind, lacks = _meaning(status or 500, said)
    return _error(origin, kind, said, lacks, status=status)


def clean(said: str) -> str:
    """At most 200 characters on one line, without control and direction characters."""
    # A long text is cut before it is walked through.
    shown = "".join(" " if unicodedata.category(char) in _UNCLEAN else char for char in said[: 8 * MAX_DETAIL_CHARS])
    shown = " ".join(shown.split())
    return shown if len(shown) <= MAX_DETAIL_CHARS else shown[: MAX_DETAIL_CHARS - 1] + "…"


_UNCLEAN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Seconds from a Retry-After header, seconds or a date, capped; None for the past and for rubbish."""
    if value is None:
        return None
    value = value.strip()
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", value):
        return min(float(value), MAX_RETRY_AFTER_S)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    wait_s = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now.timestamp()
    return min(wait_s, MAX_RETRY_AFTER_S) if wait_s >= 0 else None


def _meaning(status: int, said: str) -> tuple[str, str | None]:
    """Outcome kind, and the ability that the model lacks if that is why."""
    if status in (400, 500, 501):
        for ability, pattern in _LACKS:
            if pattern.search(said):
                return "rejected", ability
    if status == 500 and _WRONG_OPTION.search(said):
        return "rejected", None
    return _KINDS.get(status, "server_error"), None


def _error(
    origin: Origin, kind: str, said: str, lacks: str | None, *, status: int | None, wait_s: float | None = None
) -> BackendError:
    what = _SENTENCES.get(kind, "the server failed")
    if status is not None and 300 <= status < 400:
        what = "the server sends requests elsewhere, where they don't follow; correct the url"
    detail = clean(said)
    facts = ": ".join(str(fact) for fact in (status, detail) if fact)
    return origin.error(
        kind,
        f"{what} ({facts})" if facts else what,
        status=status,
        retry_after_s=wait_s,
        detail=detail,
        lacks=lacks,
    )


def _said(body: bytes) -> str:
    try:
        return _text_of(parse(body))
    except ValueError:
        return body.decode("utf-8", "replace")


def _text_of(value: Any, wraps: int = _MAX_WRAPS) -> str:
    """The sentence inside an error of either shape, also where it is wrapped."""
    if isinstance(value, dict):
        key = next((key for key in ("error", "message", "detail") if key in value), None)
        return _text_of(value[key], wraps - 1) if key and wraps else ""
    if isinstance(value, str):
        if value.startswith("{") and wraps:
            try:
                return _text_of(parse(value.encode("utf-8", "replace")), wraps - 1) or value
            except ValueError:
                return value
        return value
    return "" if value is None else str(value)
