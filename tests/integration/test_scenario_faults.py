"""Faults, callers that leave, and deadlines through the public API against the mock server."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

import pytest
from conductor_kit import CODE, asked, collect, notices, text_of

from modelway.backends.mock import Fault, FaultKind
from modelway.errors import BackendError, NoModelAvailable, StreamInterrupted
from modelway.events import Failed, ModelSelected, TextDelta

# --- faults before and after the first token


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(FaultKind.RESET_MID_STREAM, after=2), "interrupted"),
        (Fault(FaultKind.END_WITHOUT_DONE, after=2), "interrupted"),
        (Fault(FaultKind.ERROR_RECORD, after=2), "server_error"),
        (Fault(FaultKind.MALFORMED_RECORD, after=2), "malformed"),
        (Fault(FaultKind.WRONG_TYPE, after=2), "malformed"),
    ],
    ids=lambda value: value.kind.value if isinstance(value, Fault) else "",
)
async def test_m17_a_break_in_mid_stream_keeps_what_came_and_is_never_spliced(server, either, fault, kind):
    server.fail("code-model", fault)
    events, error = await collect(either, CODE)
    assert isinstance(error, StreamInterrupted)
    assert (error.partial, error.model, error.backend) == ("code-model says", "code-model", "local")
    assert error.kind == kind
    assert text_of(events) == "code-model says"
    assert isinstance(events[-1], Failed)
    assert events[-1].partial == "code-model says"
    assert asked(server) == ["code-model"]
    record = either.history[-1]
    assert (record.outcome, record.model, [a.outcome for a in record.attempts]) == ("interrupted", None, [error.kind])
    assert either.router.health("code-model").failures == 1
    assert "says" not in str(error)
    assert "says" not in repr(error)


async def test_m18_an_empty_answer_is_a_failure_and_the_next_one_serves(server, either):
    server.fail("code-model", Fault(FaultKind.EMPTY_ANSWER))
    events, error = await collect(either, CODE)
    assert error is None
    assert notices(events) == [("code-model", "deep-model")]
    assert text_of(events) == "deep-model says so"
    assert [attempt.outcome for attempt in either.history[-1].attempts] == ["empty", "success"]


@pytest.mark.parametrize("fault", [FaultKind.STALL_BEFORE_HEADERS, FaultKind.STALL_MID_STREAM])
async def test_m19_no_first_token_in_time_goes_to_the_next(server, hasty, fault):
    server.fail("code-model", Fault(fault, after=0))
    events, error = await collect(hasty, CODE)
    assert error is None
    assert notices(events) == [("code-model", "deep-model")]
    assert [attempt.outcome for attempt in hasty.history[-1].attempts] == ["timeout", "success"]
    await server.wait_for(lambda: server.request_history[0].cancelled)


async def test_m19_a_stall_between_tokens_is_an_interruption(server, hasty):
    server.fail("code-model", Fault(FaultKind.STALL_MID_STREAM, after=1))
    events, error = await collect(hasty, CODE)
    assert isinstance(error, StreamInterrupted)
    assert (error.kind, error.partial, text_of(events)) == ("timeout", "code-model", "code-model")
    assert asked(server) == ["code-model"]
    await server.wait_for(lambda: server.request_history[0].cancelled)


@pytest.mark.parametrize("kind", [FaultKind.MALFORMED_RECORD, FaultKind.WRONG_TYPE, FaultKind.CUT_UTF8])
async def test_m20_a_malformed_answer_is_recorded_and_the_next_one_serves(server, either, kind):
    server.fail("code-model", Fault(kind, after=0))
    events, error = await collect(either, CODE)
    assert error is None
    assert text_of(events) == "deep-model says so"
    assert notices(events) == [("code-model", "deep-model")]
    assert either.history[-1].attempts[0].outcome in {"malformed", "interrupted"}
    assert either.router.health("code-model").failures == 1


@pytest.mark.parametrize(
    ("fault", "outcome", "counts"),
    [
        (Fault(FaultKind.RESET_BEFORE_HEADERS), "reset", 1),
        (Fault.http(500), "server_error", 1),
        (Fault.html(502), "server_error", 1),
        (Fault.http(503), "busy", 0),
        (Fault.http(429, retry_after="1"), "rate_limited", 0),
        (Fault.http(404, "model 'code-model' not found"), "missing", 0),
    ],
    ids=["reset", "500", "html502", "503", "429", "404"],
)
async def test_a_failure_before_the_first_token_is_left_at_once(server, either, fault, outcome, counts):
    server.fail("code-model", fault)
    events, error = await collect(either, CODE)
    assert error is None
    assert notices(events) == [("code-model", "deep-model")]
    assert [attempt.outcome for attempt in either.history[-1].attempts] == [outcome, "success"]
    assert either.router.health("code-model").consecutive_failures == counts


@pytest.mark.parametrize(
    ("fault", "kind"), [(Fault.http(400), "rejected"), (Fault.http(401), "unauthorized")], ids=["400", "401"]
)
async def test_a_refusal_goes_to_the_caller_and_to_no_other_model(server, either, fault, kind):
    server.fail("code-model", fault)
    events, error = await collect(either, CODE)
    assert isinstance(error, BackendError)
    assert (error.kind, error.model) == (kind, "code-model")
    assert isinstance(events[-1], Failed)
    assert asked(server) == ["code-model"]
    assert either.history[-1].outcome == kind
    assert either.router.health("code-model").consecutive_failures == 0


# --- leaving early


async def test_m24_a_cancelled_caller_closes_the_upstream_and_counts_neither_way(server, either):
    gate = server.hold("code-model", after=1)
    first = asyncio.Event()

    async def read() -> None:
        async for event in either.stream(CODE):
            if isinstance(event, TextDelta):
                first.set()

    reader = asyncio.create_task(read())
    await first.wait()
    await server.wait_for(lambda: gate.waiting == 1)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await server.wait_for(lambda: server.request_history[0].cancelled)
    assert asked(server) == ["code-model"]
    record = either.history[-1]
    assert (record.outcome, [attempt.outcome for attempt in record.attempts]) == ("cancelled", ["cancelled"])
    health = either.router.health("code-model")
    assert (health.successes, health.failures) == (0, 0)


@pytest.mark.parametrize("after", [0, 1], ids=["before the first token", "in mid-stream"])
async def test_m24_a_closed_stream_closes_the_upstream(server, either, after):
    server.hold("code-model", after=after)
    stream = either.stream(CODE)
    events = [await anext(stream) for _ in range(1 + after)]
    assert isinstance(events[0], ModelSelected)
    waiting = asyncio.ensure_future(anext(stream))
    await server.wait_for(lambda: bool(server.request_history) and server.request_history[0].held)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await stream.aclose()
    await server.wait_for(lambda: server.request_history[0].cancelled)
    assert either.history[-1].outcome == "cancelled"


async def test_m24_a_loop_left_by_break_closes_the_upstream(server, either):
    server.hold("code-model", after=1)
    async for event in either.stream(CODE):
        if isinstance(event, TextDelta):
            break
    await server.wait_for(lambda: server.request_history[0].cancelled)
    assert either.history[-1].outcome == "cancelled"


async def test_m24_a_stream_closed_at_a_delta_closes_the_upstream(server, either):
    server.hold("code-model", after=1)
    async with aclosing(either.stream(CODE)) as stream:
        while not isinstance(await anext(stream), TextDelta):
            pass
    await server.wait_for(lambda: server.request_history[0].cancelled)
    assert [attempt.outcome for attempt in either.history[-1].attempts] == ["cancelled"]


async def test_no_fallback_starts_after_the_caller_left(server, either):
    server.hold("code-model")
    reader = asyncio.create_task(collect(either, CODE))
    await server.wait_for(lambda: bool(server.request_history) and server.request_history[0].held)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await server.wait_for(lambda: server.request_history[0].cancelled)
    assert asked(server) == ["code-model"]


# --- the request's own deadline


async def test_the_deadline_bounds_all_attempts_together(server, conductor):
    server.fail("code-model", Fault.http(500))
    server.hold("deep-model")
    events, error = await collect(conductor, CODE, deadline_ms=500)
    assert isinstance(error, NoModelAvailable)
    assert "deadline of 500 ms" in str(error)
    why = {attempt.model: attempt.why for attempt in error.attempts}
    assert "500" in why["code-model"]
    assert why["deep-model"] == "no first token by the deadline"
    assert why["general-model"] == "not asked: the deadline had passed"
    assert isinstance(events[-1], Failed)
    assert asked(server) == ["code-model", "deep-model"]
    await server.wait_for(lambda: server.request_history[1].cancelled)
    outcomes = [attempt.outcome for attempt in conductor.history[-1].attempts]
    assert outcomes == ["server_error", "cancelled"]
    assert conductor.router.health("deep-model").failures == 0


async def test_the_deadline_leaves_an_answer_alone_that_has_begun(server, conductor):
    gate = server.hold("code-model", after=1)
    stream = conductor.stream(CODE, deadline_ms=500)
    events = [await anext(stream), await anext(stream)]
    assert isinstance(events[1], TextDelta)
    past = asyncio.Event()
    asyncio.get_running_loop().call_later(0.6, past.set)
    await past.wait()
    gate.release()
    events += [event async for event in stream]
    assert text_of(events) == "code-model says so"


async def test_l5_two_of_a_chain_fail_and_the_third_serves_within_a_second(server, either):
    server.fail("code-model", Fault.http(500))
    server.fail("deep-model", Fault(FaultKind.RESET_BEFORE_HEADERS))
    began = time.perf_counter()
    events, error = await collect(either, CODE)
    assert time.perf_counter() - began < 1.0
    assert error is None
    assert notices(events) == [("code-model", "deep-model"), ("deep-model", "general-model")]
    assert text_of(events) == "general-model says so"
    assert [attempt.outcome for attempt in either.history[-1].attempts] == ["server_error", "reset", "success"]
