"""Limits through the public API: who waits, who is refused, who is asked instead, and what the caller is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
from conductor_kit import CODE, VISION, asked, collect, config_text, notices, text_of

from modelway.backends.mock import Fault, FaultKind, MultiModelMockBackend
from modelway.conductor import Conductor, turn
from modelway.config import Config
from modelway.errors import InvalidRequest, NoModelAvailable, QueueFull, RateLimited
from modelway.events import ConductorMessage, Failed, FallingBack, Finished, ModelSelected, Queued


def limited(server: MultiModelMockBackend, more: str = "", model: str = "", backend: str = "") -> str:
    """The usual configuration with limits: ``model`` is TOML of the code model, ``backend`` of the one backend."""
    text = config_text(server.url, more=more)
    text = text.replace('id = "code-model"\n', f'id = "code-model"\n{model}\n')
    return text.replace('name = "local"\n', f'name = "local"\n{backend}\n')


async def until(events: AsyncGenerator[ConductorMessage, None], kind: type[ConductorMessage]) -> ConductorMessage:
    """The next event of this kind."""
    async for event in events:
        if isinstance(event, kind):
            return event
    raise AssertionError(f"no {kind.__name__} came")


def peak(server: MultiModelMockBackend) -> int:
    """The most requests that ran at once."""
    records = server.request_history
    return max(sum(r.started <= one.started < (r.ended or float("inf")) for r in records) for one in records)


async def waiting(conductor: Conductor, count: int, model: str = "code-model") -> None:
    """Return once so many requests wait for the model."""
    while conductor.router.load(model).waiting != count:  # noqa: ASYNC110  (the core tells nobody)
        await asyncio.sleep(0)


async def test_m21_requests_run_in_parallel_up_to_the_limit_and_the_others_in_turn(server, open_conductor):
    conductor = open_conductor(limited(server, model="max_concurrent = 2"))
    gate = server.hold("code-model")
    tasks = [asyncio.create_task(conductor.complete(CODE, user=f"user {i}")) for i in range(6)]
    await server.wait_for(lambda: gate.waiting == 2)
    await waiting(conductor, 4)
    assert conductor.router.load("code-model").running == 2
    assert len(asked(server)) == 2, "who waits has not reached the server"
    gate.release()
    replies = await asyncio.gather(*tasks)
    assert [reply.model for reply in replies] == ["code-model"] * 6
    assert peak(server) == 2
    assert [reply.warnings for reply in replies] == [()] * 6, "a wait is no warning"


async def test_m21_turns_go_by_user_and_not_by_request(server, open_conductor):
    conductor = open_conductor(limited(server, model="max_concurrent = 1"))
    gate = server.hold("code-model")
    order: list[str] = []

    async def ask(user: str) -> None:
        await conductor.complete(CODE, user=user)
        order.append(user)

    first = asyncio.create_task(ask("first"))
    await server.wait_for(lambda: gate.waiting == 1)
    greedy = [asyncio.create_task(ask("greedy")) for _ in range(20)]
    await waiting(conductor, 20)
    modest = asyncio.create_task(ask("modest"))
    await waiting(conductor, 21)
    gate.release()
    await asyncio.gather(first, modest, *greedy)
    assert order.index("modest") <= 3, "behind one request of each user who was there before, not behind twenty"


async def test_who_waits_is_told_where_and_the_history_knows_how_long(server, open_conductor):
    conductor = open_conductor(limited(server, model="max_concurrent = 1"))
    gate = server.hold("code-model")
    first = asyncio.create_task(conductor.complete(CODE))
    await server.wait_for(lambda: gate.waiting == 1)
    async with aclosing(conductor.stream(CODE)) as events:
        queued = await until(events, Queued)
        assert queued == Queued("code-model", "local", 1, None)
        gate.release()
        rest = [event async for event in events]
    assert rest[0] == Queued("code-model", "local", 0, 0.0)
    assert isinstance(rest[-1], Finished)
    await first
    at_once, waited = sorted(conductor.history, key=lambda record: record.queued_ms)
    assert at_once.queued_ms == 0
    assert 0 < waited.queued_ms <= waited.duration_ms
    assert waited.attempts[0].duration_ms < waited.duration_ms


async def test_a_place_is_told_again_when_it_has_come_nearer(server, open_conductor, monkeypatch):
    monkeypatch.setattr(turn, "LOOK_EVERY_S", 0.01)
    conductor = open_conductor(limited(server, model="max_concurrent = 1"))
    gate = server.hold("code-model")
    first = asyncio.create_task(conductor.complete(CODE, user="a"))
    await server.wait_for(lambda: gate.waiting == 1)
    between = asyncio.create_task(conductor.complete(CODE, user="b"))
    await waiting(conductor, 1)
    async with aclosing(conductor.stream(CODE, user="c")) as events:
        assert await until(events, Queued) == Queued("code-model", "local", 2, None)
        between.cancel()
        assert await until(events, Queued) == Queued("code-model", "local", 1, None)
        gate.release()
        assert [event.position async for event in events if isinstance(event, Queued)] == [0]
    await first


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (Queued("m", "b", 1, None), "The request waits for m: next in line."),
        (Queued("m", "b", 3, 12.4), "The request waits for m: number 3 in line, about 12 seconds."),
        (Queued("m", "b", 2, 0.01), "The request waits for m: number 2 in line, about a second."),
        (Queued("m", "b", 0, 0.0), ""),
    ],
)
def test_a_wait_is_one_plain_sentence(event, sentence):
    assert event.announce() == sentence


@pytest.mark.parametrize("turns", range(24))
async def test_cancelled_while_queued_the_place_is_given_back_and_nothing_was_sent(server, open_conductor, turns):
    conductor = open_conductor(limited(server, model="max_concurrent = 1"))
    gate = server.hold("code-model")
    first = asyncio.create_task(conductor.complete(CODE))
    await server.wait_for(lambda: gate.waiting == 1)
    second = asyncio.create_task(conductor.complete(CODE))
    for _ in range(turns):
        await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert second.cancelled()
    assert conductor.router.load("code-model").waiting == 0
    assert len(asked(server)) == 1
    gate.release()
    assert (await first).model == "code-model"
    assert [kind for _, kind in conductor.router.outcomes] == ["success"], "a place in the queue says nothing of health"
    assert {record.outcome for record in conductor.history} <= {"success", "cancelled"}


async def test_cancelled_in_the_moment_of_the_grant_it_goes_to_the_next(server, open_conductor):
    conductor = open_conductor(limited(server, model="max_concurrent = 1"))
    gate = server.hold("code-model")
    first = asyncio.create_task(conductor.complete(CODE))
    await server.wait_for(lambda: gate.waiting == 1)
    second, third = (asyncio.create_task(conductor.complete(CODE, user=user)) for user in "xy")
    await waiting(conductor, 2)
    gate.release()
    first.add_done_callback(lambda _: second.cancel())  # its end has granted the second, which has not woken yet
    assert (await third).model == "code-model"
    await asyncio.gather(first, second, return_exceptions=True)


async def test_a_deadline_bounds_the_wait_too(server, open_conductor):
    conductor = open_conductor(limited(server, model="max_concurrent = 1"))
    gate = server.hold("code-model")
    first = asyncio.create_task(conductor.complete(CODE))
    await server.wait_for(lambda: gate.waiting == 1)
    events, error = await collect(conductor, CODE, deadline_ms=60)
    assert isinstance(error, NoModelAvailable)
    assert "the deadline of 60 ms passed before a first token" in str(error)
    assert [type(event) for event in events] == [ModelSelected, Queued, Failed]
    assert conductor.router.load("code-model").waiting == 0
    gate.release()
    await first


async def test_who_waits_for_a_model_that_fails_meanwhile_is_served_by_the_next(server, open_conductor):
    more = "[health]\nfailures_to_open = 1\n"
    conductor = open_conductor(limited(server, more, model="max_concurrent = 1"))
    server.fail("code-model", Fault(FaultKind.STALL_BEFORE_HEADERS), times=1)
    first = asyncio.create_task(collect(conductor, CODE))
    await server.wait_for(lambda: len(server.request_history) == 1 and server.request_history[0].held)
    others = [asyncio.create_task(collect(conductor, CODE)) for _ in range(3)]
    await waiting(conductor, 3)
    server.unavailable_models.add("code-model")
    server.release()
    for events, error in await asyncio.gather(first, *others):
        assert error is None
        assert notices(events) == [("code-model", "deep-model")]
        assert text_of(events) == "deep-model says so"
    assert server.request_counts == {"code-model": 1, "deep-model": 4}


async def test_a_full_queue_sends_the_request_to_the_next_of_the_chain(server, open_conductor):
    conductor = open_conductor(limited(server, "[fairness]\nmax_waiting = 0", model="max_concurrent = 1"))
    gate = server.hold("code-model")
    first = asyncio.create_task(conductor.complete(CODE))
    await server.wait_for(lambda: gate.waiting == 1)
    events, error = await collect(conductor, CODE)
    assert error is None
    assert notices(events) == [("code-model", "deep-model")]
    assert (
        "as many requests wait for its backend as may"
        in next(e for e in events if isinstance(e, FallingBack)).announce()
    )
    assert text_of(events) == "deep-model says so"
    assert [attempt.model for attempt in conductor.history[-1].attempts] == ["deep-model"]
    gate.release()
    await first


async def test_where_all_queues_are_full_the_error_says_when_to_come_back(server, open_conductor):
    text = limited(server, "[fairness]\nmax_waiting = 0").replace(
        "supports_tools", "max_concurrent = 1\nsupports_tools"
    )
    conductor = open_conductor(text)
    gate = server.hold()
    models = list(conductor.router.profiles)
    tasks = [asyncio.create_task(conductor.complete(CODE, model=model)) for model in models]
    await server.wait_for(lambda: gate.waiting == len(models))
    events, error = await collect(conductor, CODE)
    assert isinstance(error, QueueFull)
    assert error.retry_after_s is not None
    assert error.retry_after_s > 0
    assert all(model in str(error) for model in models)
    assert isinstance(events[-1], Failed)
    assert conductor.history[-1].outcome == "queue_full"
    assert len(asked(server)) == len(models), "nothing was sent for it"
    gate.release()
    await asyncio.gather(*tasks)


@pytest.mark.parametrize(
    ("limits", "limit"),
    [
        ("requests_per_minute = 2", "user requests"),
        ("tokens_per_minute = 600", "user tokens"),
        ("quota_requests = 2", "quota requests"),
        ("quota_tokens = 600", "quota tokens"),
    ],
)
async def test_the_users_own_limit_goes_to_the_caller_and_concerns_nobody_else(server, open_conductor, limits, limit):
    conductor = open_conductor(limited(server, f"[limits.user]\n{limits}"))
    # Held, so that the estimate of both counts: their real tokens are far fewer.
    gate = server.hold()
    tasks = [asyncio.create_task(conductor.complete(CODE, user="alice")) for _ in range(2)]
    await server.wait_for(lambda: gate.waiting == 2)
    events, error = await collect(conductor, CODE, user="alice")
    assert isinstance(error, RateLimited)
    assert error.limit == limit
    assert error.retry_after_s is not None
    assert 0 < error.retry_after_s <= 86_400
    assert [type(event) for event in events] == [ModelSelected, Failed], "no other model is asked"
    assert conductor.history[-1].outcome == "limited"
    gate.release()
    await asyncio.gather(*tasks)
    assert (await conductor.complete(CODE, user="bob")).model == "code-model"
    assert (await conductor.complete(CODE)).model == "code-model"


async def test_tokens_are_corrected_by_what_the_model_says(server, open_conductor):
    conductor = open_conductor(limited(server, "[limits.user]\nquota_tokens = 1_000"))
    reply = await conductor.complete(CODE, user="alice")
    used = reply.usage.total_tokens
    assert used is not None
    assert 0 < used < 100
    assert conductor.router.standing("alice")["quota_tokens"]["remaining"] == 1_000 - used


async def test_a_failed_attempt_costs_the_user_no_tokens(server, open_conductor):
    conductor = open_conductor(limited(server, "[limits.user]\nquota_tokens = 1_000"))
    server.fail("code-model", Fault.http(500))
    reply = await conductor.complete(CODE, user="alice")
    assert reply.model == "deep-model"
    assert conductor.router.standing("alice")["quota_tokens"]["remaining"] == 1_000 - reply.usage.total_tokens


async def test_a_request_larger_than_the_models_burst_is_served_by_the_next(server, open_conductor):
    conductor = open_conductor(limited(server, model="limits = { tokens_per_minute = 600_000, token_burst = 100 }"))
    events, error = await collect(conductor, CODE)
    assert error is None
    assert notices(events) == [("code-model", "deep-model")]
    assert "larger than the model's rate of tokens ever lets pass" in events[1].announce()
    short = await conductor.complete(CODE, options={"max_tokens": 20})
    assert short.model == "code-model", "a short answer is within it"


async def test_second_attempts_have_a_budget(server, open_conductor):
    conductor = open_conductor(limited(server, "[health]\nretry_percent = 0\nretries_per_s = 0"))
    server.fail("code-model", Fault.http(500))
    events, error = await collect(conductor, CODE)
    assert isinstance(error, NoModelAvailable)
    assert "as many second attempts as it may" in str(error)
    assert asked(server) == ["code-model"]
    assert isinstance(events[-1], Failed)


async def test_a_length_as_large_as_can_be_is_admitted_like_any(server, open_conductor):
    conductor = open_conductor(config_text(server.url) + VISION)  # whose context is not known
    assert (await conductor.complete(CODE, model="vision-model", context_tokens=2**53)).model == "vision-model"


async def test_a_user_is_a_name(conductor):
    for wrong in (3, "\ud800"):
        with pytest.raises(InvalidRequest, match="user"):
            await conductor.complete(CODE, user=wrong)


async def test_a_closed_conductor_lets_nobody_wait_for_ever(server, open_conductor):
    conductor = open_conductor(limited(server, model="max_concurrent = 1"))
    gate = server.hold("code-model")
    first, *others = [asyncio.create_task(conductor.complete(CODE)) for _ in range(3)]
    await server.wait_for(lambda: gate.waiting == 1)
    await waiting(conductor, 2)
    await conductor.aclose()
    results = await asyncio.gather(first, *others, return_exceptions=True)
    assert [str(result) for result in results] == ["this conductor is closed; make a new one"] * 3
    assert len(asked(server)) == 1


async def test_l6_no_window_exceeds_its_limit_and_the_rest_queue_or_are_refused(server, open_conductor):
    # Faster than the row's numbers, in the same proportions: 250 a second in all, 100 a second to the backend.
    common = "[limits]\nrequests_per_minute = 15_000\nrequest_burst = 50\n"
    limits = "limits = { requests_per_minute = 6_000, request_burst = 20 }"
    conductor = open_conductor(limited(server, f"{common}[fairness]\nmax_waiting = 50", backend=limits))
    began = time.monotonic()
    results = await asyncio.gather(
        *(conductor.complete(CODE, user=f"user {i % 7}") for i in range(200)), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, QueueFull)]
    served = [result for result in results if not isinstance(result, BaseException)]
    assert len(served) + len(refused) == 200
    assert len(served) >= 20 + 50
    assert len(refused) > 50
    assert all(error.retry_after_s for error in refused)
    arrivals = sorted(record.started - began for record in server.request_history)
    assert len(arrivals) == len(served)
    early = [(count, at_s) for count, at_s in enumerate(arrivals, 1) if count > 20 + 100 * (at_s + 0.005)]
    assert early == [], "never more than the burst and what has flowed in since"


async def test_conductors_that_share_a_router_share_its_slots(server, open_conductor):
    one = open_conductor(limited(server, model="max_concurrent = 1"))
    other = Conductor(router=one.router)
    gate = server.hold("code-model")
    first = asyncio.create_task(one.complete(CODE))
    await server.wait_for(lambda: gate.waiting == 1)
    second = asyncio.create_task(other.complete(CODE))
    await waiting(one, 1)
    gate.release()
    assert [reply.model for reply in await asyncio.gather(first, second)] == ["code-model"] * 2
    assert peak(server) == 1
    await other.aclose()


async def test_limits_that_grow_let_those_go_on_who_wait(server, open_conductor):
    conductor = open_conductor(limited(server, model="max_concurrent = 1"))
    gate = server.hold("code-model")
    tasks = [asyncio.create_task(conductor.complete(CODE)) for _ in range(3)]
    await waiting(conductor, 2)
    conductor.router.replace_config(Config.from_toml(limited(server, model="max_concurrent = 3")))
    await server.wait_for(lambda: gate.waiting == 3)
    gate.release()
    await asyncio.gather(*tasks)
