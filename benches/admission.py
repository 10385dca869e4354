"""What waiting and admission cost, as ratios to yardsticks taken in turn within one run.

The yardsticks: an empty method of the same binding with the same arguments, ``asyncio.Semaphore``, and aiolimiter with
pybreaker, which together do less than an admission: neither knows quotas, users or fairness.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiolimiter
import pybreaker
from promises import report

import modelway as mw
from modelway._core import EmptyCall
from modelway.router import for_core

ROUNDS = 100
CALLS = 2_000
TASKS, PERMITS, TURNS = 200, 8, 10
OK = mw.RequestOutcome(True)

PROMISES = (
    ("record_outcome", "empty_call_two", 2.5),
    ("semaphore_free", "asyncio_free", 1.0),
    ("semaphore_contended", "asyncio_contended", 1.1),
    ("admit_finish", "limiter_and_breaker", 0.2),
)


def limited_router() -> mw.ModelRouter:
    """With a rate and a quota a user, slots and fairness in force, none of which bites within a run."""
    router = mw.ModelRouter(mw.Config.from_toml('[defaults]\ngeneral = "m"'))
    rate = {"requests": {"amount": 10**9, "window_s": 1.0, "burst": 10**9}, "tokens": None}
    plain = for_core(router.settings)
    plain["limits"] = {
        "user": rate,
        "all": {"requests": None, "tokens": None},
        "quota": [{"unit": "tokens", "amount": 10**15, "window_s": 86_400.0}],
    }
    plain["models"] = [model | {"max_concurrent": 4} for model in plain["models"]]
    router.replace_table(plain)
    return router


def repeat(call: Callable[..., object], *arguments: object) -> Callable[[], Awaitable[int]]:
    """Bare calls where there are arguments: a function round them would make both sides of a ratio look alike."""

    async def run_bare() -> int:
        first, second = arguments
        for _ in range(CALLS):
            call(first, second)
        return CALLS

    async def run() -> int:
        for _ in range(CALLS):
            call()
        return CALLS

    return run_bare if arguments else run


def free(enter: Callable[[], Any]) -> Callable[[], Awaitable[int]]:
    async def run() -> int:
        for _ in range(CALLS):
            async with enter():
                pass
        return CALLS

    return run


def contended(enter: Callable[[], Any]) -> Callable[[], Awaitable[int]]:
    async def task() -> None:
        for _ in range(TURNS):
            async with enter():
                await asyncio.sleep(0)

    async def run() -> int:
        await asyncio.gather(*(task() for _ in range(TASKS)))
        return TASKS * TURNS

    return run


def cases() -> dict[str, Callable[[], Awaitable[int]]]:
    router = limited_router()
    empty = EmptyCall()
    ours, theirs = mw.WeightedSemaphore(PERMITS), asyncio.Semaphore(PERMITS)
    limiter = aiolimiter.AsyncLimiter(10**9, 1.0)
    breaker = pybreaker.CircuitBreaker()

    def admit_finish() -> None:
        router.finish(router.admit("m", "ann", tokens=500).ticket, OK, 612)

    async def limiter_and_breaker() -> int:
        for _ in range(CALLS):
            async with limiter:
                with breaker.calling():
                    pass
        return CALLS

    return {
        "empty_call_two": repeat(empty.call_two, "m", OK),
        "record_outcome": repeat(router.record_outcome, "m", OK),
        "asyncio_free": free(lambda: theirs),
        "semaphore_free": free(lambda: ours.acquire(1)),
        "asyncio_contended": contended(lambda: theirs),
        "semaphore_contended": contended(lambda: ours.acquire(1)),
        "limiter_and_breaker": limiter_and_breaker,
        "admit_finish": repeat(admit_finish),
    }


async def main() -> None:
    measured = cases()
    taken: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(ROUNDS):
        for name, run in measured.items():
            start = time.perf_counter()
            calls = await run()
            taken[name].append((time.perf_counter() - start) / calls * 1e9)
    report(taken, PROMISES)


if __name__ == "__main__":
    asyncio.run(main())
