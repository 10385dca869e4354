"""`FairQueue` and `RateLimiter`, on their own."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from waiting_kit import cancel_at_each_step, steps

import modelway as mw


async def test_users_take_turns_however_many_requests_they_send() -> None:
    queue = mw.FairQueue(slots=1)
    order = []

    async def one(user: str) -> None:
        async with queue.enter(user, cost=10) as place:
            assert place.position == 0
            order.append(user)
            await steps(1)

    await asyncio.gather(*(one("greedy") for _ in range(20)), *(one("modest") for _ in range(5)))
    assert Counter(order[:11])["modest"] == 5, order
    assert (queue.running, queue.waiting) == (0, 0)


async def test_twice_the_weight_gets_twice_as_much() -> None:
    queue = mw.FairQueue(slots=1)
    order = []

    async def one(user: str, weight: int) -> None:
        async with queue.enter(user, cost=10, weight=weight):
            order.append(user)
            await steps(1)

    await asyncio.gather(*(one("light", 1) for _ in range(20)), *(one("heavy", 2) for _ in range(20)))
    assert 18 <= Counter(order[:28])["heavy"] <= 20, order


async def test_the_real_cost_counts() -> None:
    queue = mw.FairQueue(slots=2)
    order = []

    async def one(user: str, real: int) -> None:
        async with queue.enter(user, cost=10) as place:
            order.append(user)
            await steps(1)
            place.correct(real)

    await asyncio.gather(*(one(user, real) for user, real in [("dear", 100), ("cheap", 1)] for _ in range(10)))
    assert Counter(order[:12])["cheap"] == 10, order


async def test_a_full_queue_refuses_and_a_place_can_be_seen() -> None:
    queue = mw.FairQueue(1, max_waiting=2)
    first, second, third = (queue.enter(user) for user in ("ann", "bob", "cid"))
    assert (first.position, second.position, third.position) == (0, 1, 2)
    assert second.eta_s is None
    with pytest.raises(mw.QueueFull, match="2 wait already"):
        queue.enter("dan")
    second.release()
    assert third.position == 1
    first.release()
    assert third.position == 0
    third.release()
    assert (queue.running, queue.waiting) == (0, 0)
    with pytest.raises(ValueError, match="slots must be 1 or more"):
        mw.FairQueue(0)


async def test_an_exception_in_a_slot_passes_through() -> None:
    queue = mw.FairQueue(1)
    with pytest.raises(ZeroDivisionError):
        async with queue.enter("ann"):
            _ = 1 // 0
    assert queue.running == 0


async def test_cancelled_at_each_step_no_slot_is_lost() -> None:
    def scenario():
        queue = mw.FairQueue(1)

        async def take(user: str) -> None:
            async with queue.enter(user, cost=3):
                await steps(2)

        others = [asyncio.ensure_future(take(user)) for user in ("ann", "cid")]

        async def check() -> None:
            await asyncio.wait_for(asyncio.gather(*others), 2)
            assert (queue.running, queue.waiting) == (0, 0)

        return take("bob"), check

    assert await cancel_at_each_step(scenario) >= 4


def test_a_limiter_says_how_long_to_wait() -> None:
    limiter = mw.RateLimiter(requests=1, per_s=60.0, burst=3)
    assert (limiter.burst, limiter.remaining) == (3, 3)
    assert [limiter.try_acquire() for _ in range(3)] == [0.0] * 3
    assert 59 < limiter.try_acquire() <= 60
    assert 119 < limiter.try_acquire(2) <= 120
    with pytest.raises(mw.RateLimited, match="more than the burst of 3") as never:
        limiter.try_acquire(4)
    assert (never.value.limit, never.value.retry_after_s) == ("burst", None)


@pytest.mark.parametrize(("requests", "per_s", "burst"), [(0, 1.0, None), (1, 0.0, None), (1, 1e9, None), (1, 1.0, 0)])
def test_what_is_no_rate_is_refused(requests: int, per_s: float, burst: int | None) -> None:
    with pytest.raises(ValueError, match="rate"):
        mw.RateLimiter(requests, per_s, burst)


async def test_turns_are_given_out_in_the_order_of_asking() -> None:
    limiter = mw.RateLimiter(requests=100, per_s=1.0, burst=2)
    loop = asyncio.get_running_loop()
    start = loop.time()
    order = []

    async def one(number: int) -> None:
        async with limiter.acquire():
            order.append(number)

    await asyncio.gather(*map(one, range(5)))
    assert order == list(range(5))
    assert loop.time() - start >= 0.028, "three wait 10 ms each, on clocks of milliseconds"


async def test_who_gives_up_gives_its_turn_back() -> None:
    limiter = mw.RateLimiter(requests=1, per_s=60.0)

    async def one() -> None:
        async with limiter.acquire():
            pass

    await one()
    waiting = asyncio.ensure_future(one())
    await steps(2)
    assert limiter.try_acquire() > 60
    waiting.cancel()
    await asyncio.wait((waiting,))
    assert limiter.try_acquire() <= 60
