"""`WeightedSemaphore`: permits given back once on every path, from any loop and thread."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import threading
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from waiting_kit import cancel_at_each_step, exit_code_of_child, run_on_loops, steps

import modelway as mw


async def test_weights_share_the_capacity() -> None:
    semaphore = mw.WeightedSemaphore(10)
    async with semaphore.acquire(6):
        assert (semaphore.in_use, semaphore.capacity) == (6, 10)
        assert semaphore.try_acquire(5) is None
        small = semaphore.try_acquire(4)
        assert small is not None
        small.release()
        small.release()
        assert semaphore.in_use == 6, "released once"
    assert (semaphore.in_use, semaphore.waiting) == (0, 0)


async def test_what_can_never_be_is_refused_at_once() -> None:
    semaphore = mw.WeightedSemaphore(10)
    with pytest.raises(ValueError, match="1 or more"):
        semaphore.acquire(0)
    for refused in (semaphore.acquire, semaphore.try_acquire):
        with pytest.raises(mw.ModelwayError, match="weight of 11 is more than the whole capacity of 10"):
            refused(11)


async def test_a_permit_is_entered_once() -> None:
    permit = mw.WeightedSemaphore(1).acquire()
    async with permit:
        pass
    with pytest.raises(RuntimeError, match="acquire another"):
        async with permit:
            pass


async def test_who_waits_is_served_in_order() -> None:
    semaphore = mw.WeightedSemaphore(2)
    served = []

    async def take(name: int) -> None:
        async with semaphore.acquire(2):
            served.append(name)
            await steps(1)

    await asyncio.gather(*map(take, range(20)))
    assert served == list(range(20))
    assert (semaphore.in_use, semaphore.waiting) == (0, 0)


async def test_an_exception_gives_back_and_passes_through() -> None:
    semaphore = mw.WeightedSemaphore(1)
    with pytest.raises(ZeroDivisionError):
        async with semaphore.acquire():
            _ = 1 // 0
    assert semaphore.in_use == 0


@pytest.mark.parametrize("others", [0, 1, 3])
async def test_cancelled_at_each_step_nothing_is_lost(others: int) -> None:
    """The one that is cancelled stands between two that hold and wait; all others are served whenever it goes."""

    def scenario():
        semaphore = mw.WeightedSemaphore(2)

        async def take(weight: int) -> None:
            async with semaphore.acquire(weight):
                await steps(2)

        before = asyncio.ensure_future(take(2)) if others else None
        after = [asyncio.ensure_future(take(1)) for _ in range(others)]

        async def check() -> None:
            await asyncio.wait_for(asyncio.gather(*after, *([before] if before else [])), 2)
            assert (semaphore.in_use, semaphore.waiting) == (0, 0)

        return take(2), check

    assert await cancel_at_each_step(scenario) >= 3


async def test_a_grant_that_meets_a_cancellation_is_passed_on() -> None:
    semaphore = mw.WeightedSemaphore(1)
    holder = semaphore.acquire()

    async def take() -> str:
        async with semaphore.acquire():
            return "served"

    first, second = asyncio.ensure_future(take()), asyncio.ensure_future(take())
    await steps(2)
    assert semaphore.waiting == 2
    holder.release()
    first.cancel()  # granted by the line above, and not yet woken
    assert await second == "served"
    assert first.cancelled()
    assert (semaphore.in_use, semaphore.waiting) == (0, 0)


async def test_resizing_wakes_and_refuses() -> None:
    semaphore = mw.WeightedSemaphore(4)
    holder = semaphore.acquire(4)

    async def take(weight: int) -> None:
        async with semaphore.acquire(weight):
            pass

    heavy, light = asyncio.ensure_future(take(4)), asyncio.ensure_future(take(1))
    await steps(2)
    semaphore.resize(2)
    with pytest.raises(mw.ModelwayError, match="more than the new capacity of 2"):
        await heavy
    assert not light.done()
    semaphore.resize(5)
    await light
    holder.release()
    assert (semaphore.in_use, semaphore.waiting, semaphore.capacity) == (0, 0, 5)


async def test_a_dropped_permit_is_released_with_a_warning() -> None:
    semaphore = mw.WeightedSemaphore(1)
    held = [semaphore.acquire()]
    with pytest.warns(ResourceWarning, match="a permit was dropped"):
        held.clear()
    assert semaphore.in_use == 0
    holder = semaphore.acquire()
    held.append(semaphore.acquire())
    holder.release()
    assert semaphore.in_use == 1, "granted before anybody came to wait"
    with pytest.warns(ResourceWarning):
        held.clear()
    assert (semaphore.in_use, semaphore.waiting) == (0, 0)


async def test_a_permit_dropped_by_an_exception_does_not_hide_it() -> None:
    semaphore = mw.WeightedSemaphore(1)

    def fail() -> None:
        _permit = semaphore.acquire()
        raise KeyError("the real one")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            fail()
        except KeyError as error:
            assert error.args == ("the real one",)  # noqa: PT017  (its traceback has to be gone below)
        gc.collect()
    assert [warning.category for warning in caught] == [ResourceWarning]
    assert semaphore.in_use == 0


def test_loops_in_several_threads_share_it() -> None:
    semaphore = mw.WeightedSemaphore(3)
    inside = 0
    most = 0
    lock = threading.Lock()

    async def take(dice: random.Random) -> None:
        nonlocal inside, most
        for _ in range(60):
            weight = dice.choice((1, 2, 3))
            task = asyncio.current_task()
            assert task is not None
            if dice.random() < 0.2:
                asyncio.get_running_loop().call_soon(task.cancel)
            try:
                async with semaphore.acquire(weight):
                    with lock:
                        inside += weight
                        most = max(most, inside)
                    try:
                        await asyncio.sleep(0)
                    finally:
                        with lock:
                            inside -= weight
            except asyncio.CancelledError:
                task.uncancel()

    async def main(seed: int) -> None:
        await asyncio.gather(*(take(random.Random(seed * 100 + n)) for n in range(10)))

    assert run_on_loops(4, main) == []
    assert most <= 3
    assert (semaphore.in_use, semaphore.waiting) == (0, 0)


@pytest.mark.filterwarnings("ignore:a permit was dropped:ResourceWarning")
async def test_a_closed_loop_keeps_nothing_from_those_behind_it() -> None:
    semaphore = mw.WeightedSemaphore(1)
    holder = semaphore.acquire()
    abandoned = []

    def leave_waiters_behind() -> None:
        loop = asyncio.new_event_loop()

        async def take() -> None:
            async with semaphore.acquire():
                raise AssertionError("nobody runs this")

        async def begin() -> None:
            abandoned.extend(asyncio.ensure_future(take()) for _ in range(50))
            await steps(2)

        loop.run_until_complete(begin())
        loop.close()

    await asyncio.to_thread(leave_waiters_behind)
    assert semaphore.waiting == 50

    async def take() -> None:
        async with semaphore.acquire():
            pass

    here = asyncio.ensure_future(take())
    await steps(2)
    holder.release()
    await asyncio.wait_for(here, 2)
    assert (semaphore.in_use, semaphore.waiting) == (0, 0)
    for task in abandoned:
        task._log_destroy_pending = False  # their loop is gone, as meant


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
async def test_a_forked_child_is_told() -> None:
    semaphore = mw.WeightedSemaphore(1)
    queue = mw.FairQueue(1)
    uses = (semaphore.acquire, semaphore.try_acquire, lambda: semaphore.resize(2), lambda: queue.enter("ann"))

    def child() -> int:
        for use in uses:
            with pytest.raises(mw.ModelwayError, match="forked"):
                use()
        return 7

    assert exit_code_of_child(child) == 7
    async with semaphore.acquire():
        pass


@settings(derandomize=True, deadline=None, max_examples=60, database=None)
@given(
    st.integers(1, 6),
    st.lists(st.tuples(st.integers(1, 6), st.integers(0, 3), st.integers(0, 6), st.booleans()), max_size=12),
)
def test_any_mix_of_waiting_holding_and_giving_up(capacity: int, plans: list[tuple[int, int, int, bool]]) -> None:
    """(weight, steps until it comes, steps after which it is cancelled or ends, whether it is cancelled)"""

    async def main() -> None:
        semaphore = mw.WeightedSemaphore(capacity)
        inside = 0

        async def one(weight: int, delay: int, stay: int) -> None:
            nonlocal inside
            await steps(delay)
            async with semaphore.acquire(weight):
                inside += weight
                assert inside <= semaphore.in_use <= capacity
                try:
                    await steps(stay)
                finally:
                    inside -= weight

        async def cancel(task: asyncio.Task[None], after: int) -> None:
            await steps(after)
            task.cancel()

        tasks = [asyncio.ensure_future(one(min(weight, capacity), delay, stay)) for weight, delay, stay, _ in plans]
        killers = [
            asyncio.ensure_future(cancel(task, delay + stay))
            for task, (_, delay, stay, is_cancelled) in zip(tasks, plans, strict=True)
            if is_cancelled
        ]
        await asyncio.wait_for(asyncio.gather(*tasks, *killers, return_exceptions=True), 2)
        for task, (*_, is_cancelled) in zip(tasks, plans, strict=True):
            assert task.cancelled() <= is_cancelled
            assert task.cancelled() or task.exception() is None
        assert (semaphore.in_use, semaphore.waiting) == (0, 0)

    asyncio.run(main())
