"""The total deadline, how long a model may load that has loaded before, and first tokens that come late."""

from __future__ import annotations

import asyncio
import re

import pytest
from conductor_kit import CODE, asked, collect, config_text, going_on, notices, one_at_a_time, text_of
from gateway_support import CHAT, HELLO, client_of, gateway_over
from scripted_backend import DONE, PAUSE, failure

from modelway.errors import NoModelAvailable, StreamInterrupted
from modelway.events import Degraded, Ended, Failed, ModelLoading, ModelSelected, TextDelta

TOTAL = "[deadlines]\ntotal_ms = 60\n"


def in_total(text: str) -> str:
    return TOTAL + text


async def test_an_answer_that_runs_past_the_total_deadline_is_interrupted(scripted):
    conductor, backend = scripted(edit=in_total, code=[TextDelta("a"), TextDelta("b"), asyncio.Event()])
    events, error = await collect(conductor, CODE)
    assert isinstance(error, StreamInterrupted)
    assert (error.kind, error.partial, error.model, error.backend) == ("timeout", "ab", "code-model", "local")
    assert "the total deadline of 60 ms (total_ms) passed before it was complete" in str(error)
    assert isinstance(events[-1], Failed)
    assert (conductor.history[-1].outcome, backend.running) == ("interrupted", 0)
    assert conductor.router.outcomes == [("code-model", "cancelled")], "our deadline is no fault of the model"


async def test_an_answer_that_trickles_on_is_interrupted_too(scripted):
    conductor, backend = scripted(edit=in_total, code=[TextDelta("x"), PAUSE] * 1_000_000)
    _, error = await collect(conductor, CODE)
    assert isinstance(error, StreamInterrupted)
    assert error.kind == "timeout"
    assert backend.running == 0


async def test_before_the_first_token_nothing_was_available(scripted):
    conductor, backend = scripted(edit=in_total, code=[failure("reset")], deep=[asyncio.Event()])
    _, error = await collect(conductor, CODE)
    assert isinstance(error, NoModelAvailable)
    assert str(error).startswith("the total deadline of 60 ms (total_ms) passed before a first token")
    assert backend.running == 0


async def test_the_earlier_deadline_is_the_one_that_is_named(scripted):
    conductor, _ = scripted(edit=in_total, code=[asyncio.Event()])
    _, error = await collect(conductor, CODE, deadline_ms=20)
    assert str(error).startswith("the deadline of 20 ms passed before a first token")


async def test_the_total_deadline_holds_in_the_queue(scripted):
    conductor, backend = scripted(edit=lambda text: in_total(one_at_a_time(text)), code=[asyncio.Event()])
    first = conductor.stream(CODE)
    await anext(first)
    holding = asyncio.ensure_future(anext(first))
    while not backend.running:  # noqa: ASYNC110  (a script tells nobody)
        await asyncio.sleep(0)
    _, error = await collect(conductor, CODE, model="code-model")
    assert isinstance(error, NoModelAvailable)
    assert "total_ms" in str(error)
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)


async def test_no_other_model_goes_on_with_an_answer_whose_time_is_over(scripted):
    conductor, backend = scripted(edit=lambda text: in_total(going_on(text)), code=[TextDelta("a"), asyncio.Event()])
    events, error = await collect(conductor, CODE)
    assert isinstance(error, StreamInterrupted)
    assert (error.partial, notices(events), len(backend.calls)) == ("a", [], 1)


async def test_the_total_deadline_holds_behind_a_seam(scripted):
    conductor, backend = scripted(
        edit=lambda text: in_total(going_on(text)),
        code=[TextDelta("a"), failure("reset")],
        deep=[asyncio.Event()],
    )
    events, error = await collect(conductor, CODE)
    assert isinstance(error, StreamInterrupted)
    assert (error.partial, error.kind, error.model) == ("a", "timeout", "deep-model")
    assert len(notices(events)) == 1
    assert backend.running == 0


async def test_a_running_answer_has_no_total_deadline_by_default(server, conductor):
    gate = server.hold("code-model", after=1)
    reading = asyncio.create_task(collect(conductor, CODE))
    await server.wait_for(lambda: gate.waiting == 1)
    asyncio.get_running_loop().call_later(0.1, gate.release)
    events, error = await reading
    assert error is None
    assert text_of(events) == "code-model says so"


async def test_the_upstream_is_closed_when_the_total_deadline_passes(server, open_conductor):
    conductor = open_conductor(config_text(server.url, more="[deadlines]\ntotal_ms = 300\n"))
    server.hold("code-model", after=1)
    _, error = await collect(conductor, CODE)
    assert isinstance(error, StreamInterrupted)
    assert error.partial == "code-model"
    await server.wait_for(lambda: server.request_history[0].cancelled)
    assert asked(server) == ["code-model"]


# --- a load that was seen before


async def test_a_load_that_was_seen_bounds_the_next_one(scripted):
    load = [ModelLoading("code-model", "local"), TextDelta("a"), Ended("stop", DONE.usage, load_ms=20_000)]
    conductor, backend = scripted(code=load)
    await conductor.complete(CODE)
    assert conductor.router.health("code-model").load_ms == 20_000
    await conductor.complete(CODE)
    assert [call.load_s for call in backend.calls] == [None, 80.0]


async def test_what_a_warm_model_says_of_loading_teaches_nothing(scripted):
    conductor, backend = scripted(code=[TextDelta("a"), Ended("stop", DONE.usage, load_ms=30)])
    await conductor.complete(CODE)
    await conductor.complete(CODE)
    assert conductor.router.health("code-model").load_ms is None
    assert [call.load_s for call in backend.calls] == [None, None]


async def test_a_load_counts_also_where_the_answer_broke_off(scripted):
    conductor, _ = scripted(code=[ModelLoading("code-model", "local"), PAUSE, TextDelta("a"), failure("reset")])
    await collect(conductor, CODE)
    assert conductor.router.health("code-model").load_ms is not None


# --- first tokens that come late


def hasty(text: str) -> str:
    return text.replace("standard_ms = 60_000", "standard_ms = 5")


def late() -> asyncio.Event:
    """Set when a first token is later than wanted."""
    event = asyncio.Event()
    asyncio.get_running_loop().call_later(0.02, event.set)
    return event


async def test_a_late_first_token_is_told_right_before_it(scripted):
    conductor, _ = scripted(edit=hasty, code=[late(), TextDelta("a"), TextDelta("b"), DONE])
    reply = await conductor.complete(CODE)
    assert [type(event) for event in reply.events[:3]] == [ModelSelected, Degraded, TextDelta]
    slow = reply.events[1]
    assert isinstance(slow, Degraded)
    assert slow.kind == "slow"
    assert re.match(r"code-model took 0\.0\d+ s to begin its answer; 0\.005 s were wanted\.", slow.detail)
    assert reply.warnings == (slow.detail,)


@pytest.mark.parametrize(
    ("edit", "begin"),
    [(str, []), (hasty, [ModelLoading("code-model", "local")])],
    ids=["in time", "a model that was loaded for it"],
)
async def test_what_is_not_slow(scripted, edit, begin):
    conductor, _ = scripted(edit=edit, code=[*begin, late(), TextDelta("a"), DONE])
    reply = await conductor.complete(CODE)
    assert reply.warnings == ()


async def test_each_task_has_its_own_budget(scripted):
    conductor, _ = scripted(edit=hasty, quick=[late(), TextDelta("a"), DONE], deep=[late(), TextDelta("a"), DONE])
    assert (await conductor.complete(CODE, task="quick")).warnings == ()
    assert (await conductor.complete(CODE, task="deep")).warnings == ()


async def test_the_gateway_hands_a_late_first_token_on(server, open_conductor):
    conductor = open_conductor(hasty(config_text(server.url)))
    gate = server.hold("code-model")
    async with gateway_over(conductor) as url, client_of(url) as client:
        asking = asyncio.create_task(client.post(CHAT, json={"model": "auto:code", "messages": HELLO, "stream": True}))
        await server.wait_for(lambda: gate.waiting == 1)
        asyncio.get_running_loop().call_later(0.02, gate.release)
        async with await asking as response:
            await response.read()
    assert response.headers["x-modelway-warning"].startswith("code-model took ")
