"""The last resort: where no other model is left, one that failed is asked again, within attempts, time and budget."""

from __future__ import annotations

import asyncio

import pytest
from conductor_kit import VAGUE, asked, collect, few, notices, text_of
from scripted_backend import DONE, PAUSE, failure

from modelway.backends.mock import Fault
from modelway.errors import ModelwayError, NoModelAvailable
from modelway.events import Failed, FallingBack, TextDelta

URL = "http://127.0.0.1:9"
ANSWER = [TextDelta("hello"), DONE]


@pytest.mark.parametrize("kind", ["connect", "reset", "server_error", "malformed", "empty", "interrupted"])
async def test_the_only_model_is_asked_again_where_its_failure_may_pass(scripted, kind):
    conductor, _ = scripted(edit=lambda _: few(URL, "code"), code=[[failure(kind)], [failure(kind)], ANSWER])
    events, error = await collect(conductor, VAGUE)
    assert error is None
    assert notices(events) == [("code-model", "code-model")] * 2
    assert text_of(events) == "hello"
    told = [event.announce() for event in events if isinstance(event, FallingBack)]
    assert all(sentence.startswith("code-model could not answer (") for sentence in told)
    assert all(sentence.endswith("; asking it again.") for sentence in told)
    assert [attempt.outcome for attempt in conductor.history[-1].attempts] == [kind, kind, "success"]


@pytest.mark.parametrize("kind", ["timeout", "missing"])
async def test_what_will_not_pass_is_not_tried_again(scripted, kind):
    conductor, backend = scripted(edit=lambda _: few(URL, "code"), code=[failure(kind)])
    events, error = await collect(conductor, VAGUE)
    assert isinstance(error, NoModelAvailable)
    assert (len(backend.calls), notices(events)) == (1, [])


async def test_three_attempts_are_all_and_each_model_is_named_once(scripted):
    conductor, backend = scripted(
        edit=lambda _: few(URL, "code", "deep"), code=[failure("reset")], deep=[failure("connect")]
    )
    events, error = await collect(conductor, VAGUE)
    assert [call.model_id for call in backend.calls] == ["code-model", "deep-model", "code-model"]
    assert notices(events) == [("code-model", "deep-model"), ("deep-model", "code-model")]
    assert isinstance(error, NoModelAvailable)
    assert [attempt.model for attempt in error.attempts] == ["code-model", "deep-model"]


async def test_a_chain_of_three_is_not_walked_twice(scripted):
    broken = [failure("reset")]
    conductor, backend = scripted(
        edit=lambda _: few(URL, "code", "deep", "math"), code=broken, deep=broken, math=broken
    )
    await collect(conductor, VAGUE)
    assert len(backend.calls) == 3


async def test_the_first_whose_failure_may_pass_is_the_one(scripted):
    conductor, backend = scripted(
        edit=lambda _: few(URL, "code", "deep"), code=[failure("timeout")], deep=[[failure("reset")], ANSWER]
    )
    events, error = await collect(conductor, VAGUE)
    assert error is None
    assert notices(events) == [("code-model", "deep-model"), ("deep-model", "deep-model")]
    assert len(backend.calls) == 3


async def test_retry_after_is_waited_for(scripted):
    limited = failure("rate_limited", retry_after_s=0.05)
    conductor, backend = scripted(edit=lambda _: few(URL, "code"), code=[[limited], ANSWER])
    began = asyncio.get_running_loop().time()
    reply = await conductor.complete(VAGUE)
    assert reply.text == "hello"
    assert asyncio.get_running_loop().time() - began >= 0.05
    assert reply.warnings == ("code-model could not answer (its server limits the rate of requests); asking it again.",)
    assert len(backend.calls) == 2


@pytest.mark.parametrize(("retry_after_s", "deadline_ms"), [(11.0, None), (5.0, 4_000), (0.5, 400)])
async def test_a_server_that_asks_for_more_than_there_is_time_is_not_waited_for(scripted, retry_after_s, deadline_ms):
    limited = failure("rate_limited", retry_after_s=retry_after_s)
    conductor, backend = scripted(edit=lambda _: few(URL, "code"), code=[[limited], ANSWER])
    events, error = await collect(conductor, VAGUE, deadline_ms=deadline_ms)
    assert isinstance(error, NoModelAvailable)
    assert error.attempts[0].next_try_s == pytest.approx(retry_after_s, abs=0.4)
    assert (len(backend.calls), notices(events)) == (1, [])


async def test_a_circuit_that_opened_is_not_asked_again(scripted):
    one_failure = "[health]\nfailures_to_open = 1\n"
    conductor, backend = scripted(edit=lambda _: few(URL, "code", more=one_failure), code=[failure("reset")])
    events, error = await collect(conductor, VAGUE)
    assert isinstance(error, NoModelAvailable)
    assert (len(backend.calls), notices(events)) == (1, [])


async def test_the_budget_of_second_attempts_counts_and_hides_no_reason(scripted):
    none = "[health]\nretry_percent = 0\nretries_per_s = 0\n"
    conductor, backend = scripted(edit=lambda _: few(URL, "code", more=none), code=[failure("reset")])
    events, error = await collect(conductor, VAGUE)
    assert isinstance(error, NoModelAvailable)
    assert "scripted reset" in error.attempts[0].why
    assert len(backend.calls) == 1
    assert notices(events) == [("code-model", "code-model")], "it was said before the budget was asked"


async def test_a_conductor_that_is_closed_during_the_pause_asks_nobody(scripted):
    conductor, backend = scripted(edit=lambda _: few(URL, "code"), code=[failure("reset")])
    conductor._chance = lambda: 0.1
    stream = conductor.stream(VAGUE)
    while not isinstance(await anext(stream), FallingBack):
        pass
    pausing = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    await conductor.aclose()
    assert isinstance(await pausing, Failed)
    with pytest.raises(ModelwayError, match="closed"):
        await anext(stream)
    assert len(backend.calls) == 1


async def test_a_fault_that_passes_is_never_seen_as_an_error(server, open_conductor):
    """Over a real server: one model, and the first request to it breaks off before its answer."""
    conductor = open_conductor(few(server.url, "code"))
    server.fail("code-model", Fault.http(500), times=2)
    reply = await conductor.complete(VAGUE)
    assert reply.text == "code-model says so"
    assert asked(server) == ["code-model"] * 3
    assert len(reply.warnings) == 2


async def test_a_deadline_in_the_midst_of_a_retry_names_each_model_once(scripted):
    never = asyncio.Event()
    conductor, _ = scripted(
        edit=lambda _: few(URL, "code", "deep"), code=[[failure("reset")], [PAUSE, never]], deep=[failure("reset")]
    )
    _, error = await collect(conductor, VAGUE, deadline_ms=50)
    assert isinstance(error, NoModelAvailable)
    assert [attempt.model for attempt in error.attempts] == ["code-model", "deep-model"]
    assert error.attempts[0].why == "no first token by the deadline"
