"""The fault table as data: what strikes and when, what the caller sees, what counts, what the servers saw.

A row is played over every protocol by ``test_fault_table.py``, and through the gateway by
``test_fault_table_gateway.py``. What needs a script and not a row stands in ``test_fault_table_callers.py``,
``test_fault_table_memory.py`` and ``test_fault_table_times.py``. These stand elsewhere:

- SIGTERM: ``test_gateway_life.py`` and ``test_cli_serve.py``
- 1,000 clients at 4 slots, answered or refused, fairly: ``test_scenario_load.py``
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from typing import Any

import pytest
from conductor_kit import TOOLS
from fault_network import slow_names, unknown_names
from fault_scene import FIRST, PROTOCOLS, Protocol, Scene

from modelway.backends.mock import Fault, FaultKind


class Then(enum.Enum):
    """What becomes of the request."""

    NEXT = "the next candidate serves, with a notice"
    INTERRUPTED = "the caller keeps what came and is told that the answer broke off, once"
    CALLER = "the caller is told, and no other model is asked"
    SERVED = "the model serves all the same"


class Counts(enum.Enum):
    """What the fault is to the health of the model and of its backend."""

    BACKEND = "a hard failure of the backend, and so of all its models"
    HARD = "a hard failure of the model alone"
    RATE = "lowers the share of answered requests alone"
    NOT = "says nothing"


@dataclass(frozen=True)
class Row:
    """One fault. ``outcome`` is the kind that the first attempt ends with.

    ``partial`` is what the caller has by then. ``within_s`` bounds how long the caller waits to be told: from the
    request where the next one serves, from when the fault struck where the answer breaks off; where a deadline has to
    pass (``hasty``) it bounds how long after that the server is left. ``held`` and ``hold_s`` tell why, and for how
    long, the model is set aside. ``asks`` are further fields of the request. ``arrange`` is called before it.
    """

    name: str
    then: Then
    outcome: str
    counts: Counts
    fault: Fault | Callable[[], Fault] | None = None
    partial: str = ""
    text: str = FIRST
    within_s: float | None = None
    held: str | None = None
    hold_s: float | None = None
    asks: Mapping[str, Any] = field(default_factory=dict)
    hasty: bool = False
    url: str | None = None
    certificate: str | None = None
    arrange: Callable[[Scene, pytest.MonkeyPatch], Awaitable[None]] | None = None
    #: How many requests reach the first server.
    arrivals: int = 1
    #: Whether the next request must find the connection of this one, where the server does not close it.
    keeps_connection: bool = True
    #: How many requests meet the fault.
    times: int = 1
    #: What is told beside the notice where the next one serves, by its kind.
    degraded: tuple[str, ...] = ()
    protocols: tuple[Protocol, ...] = PROTOCOLS

    @property
    def fault_now(self) -> Fault | None:
        """The fault; a date in it counts from now."""
        return self.fault() if callable(self.fault) else self.fault


def _next(
    name: str, fault: FaultKind | Fault | Callable[[], Fault], outcome: str, counts: Counts = Counts.HARD, **more: Any
) -> Row:
    fault = Fault(fault, after=0) if isinstance(fault, FaultKind) else fault
    return Row(name, Then.NEXT, outcome, counts, fault, **more)


def _broken(name: str, kind: FaultKind, outcome: str, **more: Any) -> Row:
    return Row(name, Then.INTERRUPTED, outcome, Counts.HARD, Fault(kind, after=2), partial="one two", **more)


def _told(name: str, fault: Fault, outcome: str, **more: Any) -> Row:
    return Row(name, Then.CALLER, outcome, Counts.NOT, fault, **more)


def _served(name: str, fault: Fault | None, **more: Any) -> Row:
    return Row(name, Then.SERVED, "success", Counts.NOT, fault, **more)


def _no_connection(name: str, **more: Any) -> Row:
    return Row(name, Then.NEXT, "connect", Counts.BACKEND, arrivals=0, **more)


async def _is_down(scene: Scene, _: pytest.MonkeyPatch) -> None:
    await scene.first.down()


async def _knows_no_names(_: Scene, patch: pytest.MonkeyPatch) -> None:
    unknown_names(patch)


async def _looks_names_up_slowly(_: Scene, patch: pytest.MonkeyPatch) -> None:
    slow_names(patch)


async def _has_a_kept_connection_that_breaks(scene: Scene, _: pytest.MonkeyPatch) -> None:
    await scene.conductor.complete("hello")
    scene.first.fail("first-model", Fault(FaultKind.RESET_BEFORE_HEADERS), times=1)


def _set_aside(status: int, retry_after: str | timedelta | None) -> Fault:
    """A refusal for now; a time span becomes the date that lies so far from now."""
    if isinstance(retry_after, timedelta):
        retry_after = format_datetime(datetime.now(UTC) + retry_after, usegmt=True)
    return Fault.http(status, retry_after=retry_after)


CONNECTION = [
    _no_connection("refused", arrange=_is_down, within_s=0.05),
    _no_connection("unknown-name", url="http://localhost:PORT", arrange=_knows_no_names, within_s=0.05),
    _no_connection("slow-name", url="http://localhost:PORT", arrange=_looks_names_up_slowly, hasty=True),
    _no_connection("tls-expired", url="https://localhost:PORT", certificate="expired", within_s=0.3),
    _no_connection("tls-wrong-host", url="https://localhost:PORT", certificate="wrong host", within_s=0.3),
    _no_connection("tls-self-signed", url="https://localhost:PORT", certificate="self-signed", within_s=0.3),
    _no_connection("tls-to-a-server-without", url="https://127.0.0.1:PORT", within_s=0.3),
    _served("tls-good", None, url="https://localhost:PORT", certificate="good"),
    _next("reset-before-headers", FaultKind.RESET_BEFORE_HEADERS, "reset", protocols=("openai", "closing")),
    # Ollama's version was asked before, over a connection that was kept: a reset of that one is not yet a failure.
    _next(
        "reset-of-a-fresh-connection-too",
        FaultKind.RESET_BEFORE_HEADERS,
        "reset",
        times=2,
        arrivals=2,
        protocols=("ollama",),
    ),
    _served(
        "reset-of-a-stale-connection",
        None,
        arrange=_has_a_kept_connection_that_breaks,
        arrivals=3,
        keeps_connection=False,
        protocols=("ollama", "openai"),
    ),
]

BEFORE_THE_FIRST_TOKEN = [
    _next("m20-reset-at-once", FaultKind.RESET_MID_STREAM, "interrupted"),
    _next("m20-close-at-once", FaultKind.CLOSE_MID_STREAM, "interrupted"),
    _next("m20-no-end-and-no-text", FaultKind.END_WITHOUT_DONE, "interrupted"),
    _next("m20-error-record-at-once", FaultKind.ERROR_RECORD, "server_error"),
    _next("m20-broken-record-at-once", FaultKind.MALFORMED_RECORD, "malformed"),
    _next("m20-wrong-type-at-once", FaultKind.WRONG_TYPE, "malformed"),
    _next("m20-cut-utf8-at-once", FaultKind.CUT_UTF8, "interrupted"),
    _next("m20-giant-line-at-once", FaultKind.GIANT_RECORD, "malformed"),
    _next("m18-empty-answer", FaultKind.EMPTY_ANSWER, "empty"),
    _next("m19-stall-before-headers", FaultKind.STALL_BEFORE_HEADERS, "timeout", hasty=True, within_s=0.1),
    _next("m19-trickle-before-headers", FaultKind.TRICKLE_BEFORE_HEADERS, "timeout", hasty=True, within_s=0.1),
    _next("m19-stall-at-once", FaultKind.STALL_MID_STREAM, "timeout", hasty=True, within_s=0.1),
    _next("m19-trickle-at-once", FaultKind.TRICKLE, "timeout", hasty=True, within_s=0.1),
]

AFTER_THE_FIRST_TOKEN = [
    _broken("m17-reset", FaultKind.RESET_MID_STREAM, "interrupted", within_s=0.1),
    _broken("m17-close", FaultKind.CLOSE_MID_STREAM, "interrupted", within_s=0.1),
    _broken("m17-no-end", FaultKind.END_WITHOUT_DONE, "interrupted", within_s=0.1),
    _broken("m17-cut-utf8", FaultKind.CUT_UTF8, "interrupted", within_s=0.1),
    _broken("m17-error-record", FaultKind.ERROR_RECORD, "server_error", within_s=0.1),
    _broken("m17-broken-record", FaultKind.MALFORMED_RECORD, "malformed", within_s=0.1),
    _broken("m17-wrong-type", FaultKind.WRONG_TYPE, "malformed", within_s=0.1),
    _broken("m17-giant-line", FaultKind.GIANT_RECORD, "malformed"),
    _broken("m19-stall", FaultKind.STALL_MID_STREAM, "timeout", hasty=True, within_s=0.1),
    _broken("m19-trickle", FaultKind.TRICKLE, "timeout", hasty=True, within_s=0.1),
]

STATUSES = [
    _next("404", Fault.http(404), "missing", Counts.NOT, held="missing", hold_s=60),
    _told("400", Fault.http(400), "rejected"),
    _told("wrong-option", Fault.http(500, 'option "temperature" must be of type float32'), "rejected"),
    _next("no-tools", Fault.http(400, '"m" does not support tools'), "rejected", Counts.NOT, asks={"tools": TOOLS}),
    _told("401", Fault.http(401), "unauthorized", held="unauthorized", hold_s=60),
    _told("403", Fault.http(403), "unauthorized", held="unauthorized", hold_s=60),
    *(
        _next(
            f"{status}-{name}",
            partial(_set_aside, status, said),
            outcome,
            Counts.RATE,
            held=outcome,
            hold_s=hold_s,
            # Read by the same code whatever is spoken.
            protocols=(protocol,) if said else PROTOCOLS,
        )
        for status, outcome, protocol in ((429, "rate_limited", "openai"), (503, "busy", "ollama"))
        for name, said, hold_s in (
            ("without-retry-after", None, 1),
            ("seconds", "7", 7),
            ("date", timedelta(seconds=100), 100),
            ("past-date", timedelta(seconds=-100), 1),
            ("negative", "-1", 1),
            ("1e9", "1000000000", 300),
            ("far-date", "Fri, 31 Dec 9999 23:59:59 GMT", 300),
            ("rubbish", "soon, or Fri, 99 Foo 2026", 1),
        )
    ),
    _next("500", Fault.http(500), "server_error"),
    _next("500-out-of-memory", Fault.http(500, "CUDA error: out of memory"), "server_error", degraded=("memory",)),
    _next("502-html", Fault.html(502), "server_error"),
    _next("504-html", Fault.html(504, "<html>\x1b[31m" + "Gateway Time-out " * 1_000), "server_error"),
    _next("redirect", Fault.redirect("http://127.0.0.1:1/elsewhere"), "server_error"),
    _next("page", FaultKind.PAGE, "malformed"),
    _next("wrong-content-type", FaultKind.WRONG_CONTENT_TYPE, "malformed"),
    _next("huge-header", FaultKind.HUGE_HEADER, "malformed"),
]

SERVED = [
    _served("utf8-split", Fault(FaultKind.REPACKETED), text=FIRST),
    _served("utf8-invalid", Fault(FaultKind.INVALID_UTF8), text="one\ufffd three 😀"),
    _served("blank-lines", Fault(FaultKind.BLANK_LINES)),
    _served("tiny-lines", Fault(FaultKind.TINY_RECORDS, count=10_000), text="one" + "x" * 10_000 + " two three 😀"),
    _served("data-after-done", Fault(FaultKind.DATA_AFTER_DONE)),
    _served("late", Fault(FaultKind.DELAY, interval_s=0.05)),
]

ROWS = [*CONNECTION, *BEFORE_THE_FIRST_TOKEN, *AFTER_THE_FIRST_TOKEN, *STATUSES, *SERVED]
