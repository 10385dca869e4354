"""`Waiters`: requests that wait for the router, on any loop and thread, and what becomes of their permits."""

from __future__ import annotations

import asyncio
import os
import random
import threading
from typing import Any

import pytest
from waiting_kit import OK, cancel_at_each_step, exit_code_of_child, limited, rates, run_on_loops, steps

import modelway as mw
from modelway.router import for_core
from modelway.waiters import Waiters

FAILED = mw.RequestOutcome(False, kind="timeout")


def idle(router: mw.ModelRouter, *models: str) -> bool:
    return all(
        (router.load(model).running, router.load(model).waiting) == (0, 0) for model in models or router.profiles
    )


async def serve(waiters: Waiters, model: str = "a", user: str | None = None, hold: int = 1, tokens: int = 0) -> str:
    with waiters.admit(model, user, tokens=tokens) as permit:
        assert await permit.granted()
        await steps(hold)
        permit.finish(OK, tokens=tokens)
    return model


async def test_m21_one_model_runs_as_many_as_it_may_and_queues_the_rest_fairly() -> None:
    waiters = Waiters(limited("a", max_concurrent=3))
    inside = most = 0
    order = []

    async def one(user: str) -> None:
        nonlocal inside, most
        with waiters.admit("a", user, tokens=10) as permit:
            await permit.granted()
            order.append(user)
            inside += 1
            most = max(most, inside)
            await steps(3)
            inside -= 1
            permit.finish(OK, tokens=10)

    await asyncio.gather(*(one("greedy") for _ in range(30)), *(one("modest") for _ in range(5)))
    assert most == 3
    assert idle(waiters.router)
    assert max(place for place, user in enumerate(order) if user == "modest") < 3 + 2 * 5 + 1, order
    assert waiters.router.health("a").successes == 35


async def test_m22_each_request_alone_falls_back_while_others_run() -> None:
    waiters = Waiters(limited("a", "b", max_concurrent=4))
    router = waiters.router

    async def one(number: int) -> str:
        for model in ("a", "b"):
            try:
                with waiters.admit(model, tokens=5) as permit:
                    await permit.granted()
                    await steps(number % 3)
                    permit.finish(FAILED if model == "a" and number % 2 else OK, tokens=5)
                    if model == "b" or number % 2 == 0:
                        return model
            except mw.NoModelAvailable:
                assert model == "a", "only what failed is left alone"
        raise AssertionError("nobody served")

    served = await asyncio.gather(*map(one, range(40)))
    assert {served[number] for number in range(1, 40, 2)} == {"b"}
    assert idle(router)
    seen = [router.health(model) for model in ("a", "b")]
    assert sum(health.successes for health in seen) == 40, "each was served once"
    assert router.health("b").failures == 0


async def test_who_waits_sees_its_place() -> None:
    waiters = Waiters(limited("a", max_concurrent=1))
    with waiters.admit("a", "ann") as first, waiters.admit("a", "bob") as second, waiters.admit("a", "cid") as third:
        assert (first.is_waiting, second.is_waiting) == (False, True)
        assert (first.place(), second.place(), third.place()) == (None, (1, None), (2, None))
        assert not await third.granted(within_s=0)
        second.cancel()
        assert third.place() == (1, None)
        first.finish(OK)
        assert await third.granted()
        assert not third.is_waiting
        third.finish(OK)
        third.finish(FAILED)
        third.cancel()
    assert idle(waiters.router)
    assert waiters.router.health("a").failures == 0, "given back once"


async def test_cancelled_at_each_step_nothing_is_lost() -> None:
    def scenario() -> Any:
        waiters = Waiters(limited("a", max_concurrent=1))
        before = asyncio.ensure_future(serve(waiters, user="ann", hold=2))
        after: list[asyncio.Task[str]] = []

        async def main() -> None:
            await steps(1)
            victim = waiters.admit("a", "bob")
            after.append(asyncio.ensure_future(serve(waiters, user="cid", hold=2)))
            with victim:
                await victim.granted()
                await steps(2)
                victim.finish(OK)

        async def check() -> None:
            await asyncio.wait_for(asyncio.gather(before, *after), 2)
            assert idle(waiters.router)
            assert len(waiters._wakes) == 0
            assert waiters._alarms == {}

        return main(), check

    assert await cancel_at_each_step(scenario) >= 5


async def test_a_probe_that_is_cancelled_frees_its_place() -> None:
    router = limited("a", backoff_ms=1, max_backoff_ms=1)
    waiters = Waiters(router)
    for _ in range(5):
        router.record_outcome("a", FAILED)
    while not router.health("a").available:
        await steps(1)
    with waiters.admit("a"), pytest.raises(mw.NoModelAvailable):
        waiters.admit("a")
    with waiters.admit("a") as probe:
        probe.finish(OK)
    assert router.health("a").state == "closed"


async def test_a_circuit_that_opens_meanwhile_lets_nobody_through() -> None:
    heard = []
    router = limited("a", max_concurrent=1, failures_to_open=1)
    waiters = Waiters(router)
    waiters.listen(heard.append)
    with waiters.admit("a") as first, waiters.admit("a") as second:
        first.finish(FAILED)
        with pytest.raises(mw.NoModelAvailable, match="left alone"):
            await second.granted()
    assert idle(router)
    assert [(alert.model, alert.what, alert.is_over) for effects in heard for alert in effects.alerts] == [
        ("a", "circuit", False)
    ]
    waiters.unlisten(heard.append)
    router.record_outcome("a", OK)
    waiters.apply(router.observe("ollama", reachable=True, missing=["a"]))
    assert len(heard) == 1, "who has stopped listening hears nothing"


async def test_a_rate_lets_go_on_in_time_without_anybody_asking() -> None:
    rate = {"requests": {"amount": 100, "window_s": 1.0, "burst": 1}}
    waiters = Waiters(limited("a", "b", limits=rates(all=rate)))
    loop = asyncio.get_running_loop()
    start = loop.time()
    await asyncio.gather(*(serve(waiters, model) for model in "abab"))
    assert loop.time() - start >= 0.028, "three of four wait 10 ms each, on clocks of milliseconds"
    assert idle(waiters.router)
    assert waiters._alarms == {}


async def test_limits_refuse_with_when_and_which() -> None:
    rate = {"requests": {"amount": 1, "window_s": 60.0, "burst": 1}, "tokens": None}
    waiters = Waiters(limited("a", limits=rates(user=rate)))
    await serve(waiters, user="ann")
    with pytest.raises(mw.RateLimited, match="come back in") as limited_:
        waiters.admit("a", "ann")
    assert limited_.value.limit == "user requests"
    assert 59 < limited_.value.retry_after_s <= 60
    await serve(waiters, user="bob")
    standing = waiters.router.standing("ann")
    assert (standing["requests"]["limit"], standing["requests"]["remaining"]) == (1, 0)
    assert waiters.router.standing("cid")["requests"]["remaining"] == 1
    assert idle(waiters.router)


async def test_more_room_wakes_who_waits() -> None:
    router = limited("a", max_concurrent=1)
    waiters = Waiters(router)
    with waiters.admit("a") as first, waiters.admit("a") as second:
        router.replace_table(for_core(router.settings))
        waiters.tick()
        assert await second.granted()
        first.finish(OK)
        second.finish(OK)
    assert idle(router)


async def test_a_request_larger_than_a_new_limit_is_told() -> None:
    router = limited("a", max_concurrent=1)
    waiters = Waiters(router)
    small = for_core(router.settings) | {"limits": rates(all={"tokens": {"amount": 9, "window_s": 1.0, "burst": 9}})}
    small["models"] = [model | {"max_concurrent": 1} for model in small["models"]]
    with waiters.admit("a", tokens=1) as first, waiters.admit("a", tokens=10) as second:
        router.replace_table(small)
        waiters.tick()
        with pytest.raises(mw.RateLimited) as refused:
            await second.granted()
        assert (refused.value.limit, refused.value.retry_after_s) == ("all tokens", None)
        first.finish(OK)
    assert idle(router)


async def test_a_dropped_permit_is_given_back_with_a_warning() -> None:
    waiters = Waiters(limited("a", max_concurrent=1))
    running, queued = [waiters.admit("a")], [waiters.admit("a")]
    with pytest.warns(ResourceWarning, match="was dropped"):
        queued.clear()
    with pytest.warns(ResourceWarning, match="was dropped"):
        running.clear()
    assert idle(waiters.router)


def test_it_is_asked_on_a_loop() -> None:
    waiters = Waiters(limited("a"))
    with pytest.raises(RuntimeError, match="event loop"):
        waiters.admit("a")
    assert idle(waiters.router)


async def test_a_closed_loop_keeps_nothing_from_those_behind_it() -> None:
    waiters = Waiters(limited("a", max_concurrent=1))
    abandoned: list[Any] = []

    def leave_behind() -> None:
        loop = asyncio.new_event_loop()

        async def begin() -> None:
            abandoned.extend(waiters.admit("a", "ann") for _ in range(20))

        loop.run_until_complete(begin())
        loop.close()

    with waiters.admit("a", "bob") as holder:
        await asyncio.to_thread(leave_behind)
        here = asyncio.ensure_future(serve(waiters, user="cid"))
        await steps(2)
        assert waiters.router.load("a").waiting == 21
        holder.finish(OK)
    await asyncio.wait_for(here, 2)
    for _ in range(100):
        await steps(1)
    assert idle(waiters.router)
    for permit in abandoned:
        permit.cancel()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
async def test_a_forked_child_is_told() -> None:
    waiters = Waiters(limited("a"))

    def child() -> int:
        with pytest.raises(mw.ModelwayError, match="forked"):
            waiters.admit("a")
        return 7

    assert exit_code_of_child(child) == 7
    assert await serve(waiters) == "a"


def test_loops_in_several_threads_share_one_router() -> None:
    waiters = Waiters(limited("a", "b", max_concurrent=2))
    counts = {"served": 0, "gave up": 0}
    inside = dict.fromkeys("ab", 0)
    lock = threading.Lock()

    async def one(dice: random.Random) -> None:
        model = dice.choice("ab")
        task = asyncio.current_task()
        assert task is not None
        if dice.random() < 0.25:
            asyncio.get_running_loop().call_soon(task.cancel)
        try:
            with waiters.admit(model, dice.choice("xyz"), tokens=dice.randrange(100)) as permit:
                await permit.granted()
                with lock:
                    inside[model] += 1
                    assert inside[model] <= 2
                try:
                    await steps(1)
                finally:
                    with lock:
                        inside[model] -= 1
                permit.finish(OK, tokens=dice.randrange(100))
                with lock:
                    counts["served"] += 1
        except asyncio.CancelledError:
            task.uncancel()
            with lock:
                counts["gave up"] += 1

    async def main(seed: int) -> None:
        await asyncio.gather(*(one(random.Random(seed * 1000 + n)) for n in range(100)))

    assert run_on_loops(4, main) == []
    assert sum(counts.values()) == 400
    assert idle(waiters.router)
    assert sum(waiters.router.health(model).successes for model in "ab") == counts["served"]
    assert len(waiters._wakes) == 0


def test_four_threads_hammering_one_router_count_right() -> None:
    """Two seconds of admit, finish, cancel, tick, record_outcome, select and swaps without loops."""
    router = limited("a", "b", max_concurrent=3, max_users=50)
    stop = threading.Event()
    served = [0] * 4
    errors: list[BaseException] = []

    def hammer(number: int) -> None:
        dice = random.Random(number)
        held: list[int] = []
        try:
            while not stop.is_set():
                match dice.randrange(6):
                    case 0 | 1:
                        answer = router.admit(dice.choice("ab"), f"u{dice.randrange(5)}", tokens=dice.randrange(50))
                        held.append(answer.ticket)
                        assert router.load("a").running <= 3
                    case 2 | 3 if held:
                        ticket = held.pop(dice.randrange(len(held)))
                        if router.place(ticket) is None:
                            router.begin_admitted(ticket)
                            router.finish(ticket, OK, tokens=dice.randrange(50))
                            served[number] += 1
                        else:
                            router.cancel(ticket)
                    case 4:
                        router.tick()
                        router.standing("u1")
                    case _:
                        assert router.select("hello").model in {"a", "b"}
                if len(held) > 20:
                    router.cancel(held.pop())
            for ticket in held:
                router.cancel(ticket)
                router.cancel(ticket)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=hammer, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    stop.wait(2)
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert idle(router)
    assert sum(router.health(model).successes for model in "ab") == sum(served) > 0
    assert all(router.health(model).failures == 0 for model in "ab")
