"""Every row of the fault table over every protocol, with what must be back, and open no more, after it."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator

import pytest
from conductor_kit import notices, text_of
from fault_network import tls_server
from fault_rows import ROWS, STATUSES, Counts, Row, Then
from fault_scene import SECOND, Protocol, Scene, scene
from leaks import no_leaks

from modelway.backends.mock import Fault, FaultKind
from modelway.backends.wire.refusals import MAX_DETAIL_CHARS
from modelway.errors import BackendError, NoModelAvailable, StreamInterrupted
from modelway.events import (
    ConductorMessage,
    Degraded,
    Failed,
    FallingBack,
    Finished,
    ModelLoading,
    ModelSelected,
    TextDelta,
)
from modelway.types import RequestOutcome

#: What modelway says itself, in characters, before it quotes a server.
SENTENCE = 100
#: How often a row may be played until it is as fast as it should be, on a machine that does other things too.
TRIES = 3


@pytest.fixture(autouse=True)
async def _nothing_is_left() -> AsyncIterator[None]:
    async with no_leaks():
        yield


@pytest.mark.parametrize(
    ("row", "protocol"),
    [pytest.param(row, protocol, id=f"{row.name}-{protocol}") for row in ROWS for protocol in row.protocols],
)
async def test_fault(row: Row, protocol: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(TRIES):
        tls = tls_server(row.certificate, monkeypatch) if row.certificate else None
        async with scene(protocol, hasty=row.hasty, url=row.url, tls=tls) as stage:
            took_s = await play(row, stage, monkeypatch)
        if row.within_s is None or took_s < row.within_s:
            return
    pytest.fail(f"it took {took_s:.3f} s each time, and should take less than {row.within_s}")


async def play(row: Row, stage: Scene, monkeypatch: pytest.MonkeyPatch) -> float:
    """Play the row and check all that it says; the seconds that ``within_s`` bounds."""
    if fault := row.fault_now:
        stage.first.fail("first-model", fault, times=row.times)
    if row.arrange:
        await row.arrange(stage, monkeypatch)
    loop = asyncio.get_running_loop()
    began, told_at = loop.time(), 0.0
    events: list[ConductorMessage] = []
    error: Exception | None = None
    try:
        async for event in stage.conductor.stream("hello", **row.asks):
            events.append(event)
            if isinstance(event, FallingBack | Failed):
                told_at = loop.time()
    except Exception as raised:
        error = raised
    # Whoever is told has everything back at that moment: there is nothing to wait for.
    stage.router.check_books()
    await stage.at_rest()
    check_caller(row, events, error)
    check_health(row, stage)
    check_servers(row, stage)
    attempts = [attempt.outcome for attempt in stage.conductor.history[-1].attempts]
    assert attempts == [row.outcome, "success"][: 2 if row.then is Then.NEXT else 1]
    await check_next_request(row, stage)
    check_rate(row, stage)
    match stage.first.request_history:
        case [record, *_] if row.hasty:
            return (record.ended or 0.0) - told_at
        case [record, *_] if row.then is Then.INTERRUPTED:
            return told_at - (record.struck or 0.0)
    return told_at - began


def check_caller(row: Row, events: list[ConductorMessage], error: Exception | None) -> None:
    assert isinstance(events[0], ModelSelected)
    assert events[0].model == "first-model"
    assert len([event for event in events if isinstance(event, Failed)]) == (error is not None)
    match row.then:
        case Then.NEXT:
            assert error is None
            assert notices(events) == [("first-model", "second-model")]
            assert text_of(events) == SECOND
            assert isinstance(events[-1], Finished)
            assert (events[-1].model, events[-1].backend) == ("second-model", "second")
            assert tuple(event.kind for event in events if isinstance(event, Degraded)) == row.degraded
            kinds = [type(event) for event in events if not isinstance(event, ModelLoading | Degraded)]
            assert kinds[:3] == [ModelSelected, FallingBack, TextDelta], "the notice comes before the first word"
        case Then.INTERRUPTED:
            assert isinstance(error, StreamInterrupted)
            assert (error.kind, error.partial) == (row.outcome, row.partial)
            assert (error.model, error.backend) == ("first-model", "first")
            assert isinstance(events[-1], Failed)
            assert events[-1].partial == text_of(events) == row.partial
            assert not notices(events), "no second model is spliced in"
            assert row.partial not in f"{error} {error!r}"
        case Then.CALLER:
            assert isinstance(error, BackendError)
            assert (error.kind, error.model, error.backend) == (row.outcome, "first-model", "first")
            assert not notices(events)
            assert not text_of(events)
        case Then.SERVED:
            assert error is None
            assert text_of(events) == row.text
            assert not notices(events)
            assert isinstance(events[-1], Finished)
            assert events[-1].model == "first-model"
            flagged = [event.kind for event in events if isinstance(event, Degraded)]
            assert flagged == (["encoding"] if "\ufffd" in row.text else [])


def check_health(row: Row, stage: Scene) -> None:
    """One hard failure opens a circuit here; the spare model tells of the backend's."""
    health, spare = stage.router.health("first-model"), stage.router.health("spare-model")
    assert spare.available == (row.counts is not Counts.BACKEND)
    assert spare.state == "closed"
    match row.counts:
        case Counts.BACKEND | Counts.HARD:
            assert (health.state, health.consecutive_failures) == ("open", 1)
        case Counts.RATE | Counts.NOT:
            assert (health.state, health.consecutive_failures) == ("closed", 0)
    assert health.held == row.held
    if row.hold_s is not None:
        assert health.retry_in_s is not None
        assert row.hold_s - 3 < health.retry_in_s <= row.hold_s


def check_servers(row: Row, stage: Scene) -> None:
    """What came upstream: the faulty request once, and another server only where the next candidate serves."""
    records = stage.first.request_history
    assert len(records) == row.arrivals
    assert len(stage.second.request_history) == (row.then is Then.NEXT)
    if row.certificate not in {None, "good"}:
        assert not stage.first.path_counts, "nothing was said to a server that could not prove its name"
    if records and row.hasty:
        assert records[0].cancelled, "who is too late is left"


async def check_next_request(row: Row, stage: Scene) -> None:
    """A model that failed or asked for it is left alone; one that served is asked again, over the same connection."""
    connections = stage.first.connections
    reply = await stage.conductor.complete("hello")
    left_alone = row.counts is not Counts.NOT or row.held is not None
    assert reply.model == ("second-model" if left_alone else "first-model")
    if row.then is Then.SERVED and stage.protocol != "closing":
        assert stage.first.connections == connections or not row.keeps_connection
    await stage.at_rest()


def check_rate(row: Row, stage: Scene) -> None:
    """An answer that lowers the share of good ones opens the circuit if the row did so before, and else not."""
    if row.then is not Then.SERVED and row.counts in {Counts.RATE, Counts.NOT}:
        stage.router.record_outcome("first-model", RequestOutcome(False, kind="busy"))
        state = stage.router.health("first-model").state
        assert state == ("open" if row.counts is Counts.RATE else "closed")


@pytest.mark.parametrize("protocol", ["ollama", "openai"])
@pytest.mark.parametrize("row", [row for row in STATUSES if row.counts is Counts.HARD], ids=lambda row: row.name)
async def test_of_what_a_server_said_no_more_than_a_clean_excerpt_is_told(row: Row, protocol: Protocol) -> None:
    async with scene(protocol) as stage:
        fault = row.fault_now
        assert fault is not None
        stage.first.fail("first-model", fault)
        stage.first.fail("spare-model", Fault.http(500))
        stage.second.fail("second-model", Fault.http(500))
        with pytest.raises(NoModelAvailable) as caught:
            await stage.conductor.complete("hello", **row.asks)
    first = next(attempt for attempt in caught.value.attempts if attempt.model == "first-model")
    assert first.why.isprintable()
    assert len(first.why) <= MAX_DETAIL_CHARS + SENTENCE


FLOODS = [
    # Kept, four million lines would be 32 MiB of pointers alone, and as many records of the answer more than that.
    Fault(FaultKind.BLANK_LINES, count=4_000_000),
    Fault(FaultKind.TINY_RECORDS, count=50_000),
]


@pytest.mark.parametrize("protocol", ["ollama", "openai"])
@pytest.mark.parametrize("fault", FLOODS, ids=lambda fault: fault.kind.value)
async def test_a_flood_of_lines_takes_bounded_memory(fault: Fault, protocol: Protocol) -> None:
    async with scene(protocol) as stage:
        await stage.conductor.complete("hello")  # what is made once
        stage.first.fail("first-model", fault)
        tracemalloc.start()
        try:
            events = 0
            async for _ in stage.conductor.stream("hello"):
                events += 1
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert events > (fault.count if fault.kind is FaultKind.TINY_RECORDS else 0)
        assert peak < 24 * 1024 * 1024
