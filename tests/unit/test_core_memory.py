"""A router with a clock that the test winds: what is loaded and unloaded, and for whom."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

import modelway as mw
from modelway._core import Admitted, CoreRouter, Effects, Queued
from modelway.config import Config
from modelway.config.settings import resolve
from modelway.router import for_core

OK = mw.RequestOutcome(True)


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def settings(sizes: dict[str, int], backend: dict[str, Any]) -> dict[str, Any]:
    models = [{"id": model, "memory_bytes": size} for model, size in sizes.items()]
    plain = for_core(resolve(Config.model_validate({"models": models})))
    for model in plain["models"]:
        model["backend"] = "box"
    plain["backends"] = [plain["backends"][0] | {"name": "box"} | backend]
    return plain


def managed(sizes: dict[str, int], capacity: int = 10, **backend: Any) -> tuple[CoreRouter, Clock]:
    clock = Clock()
    backend = {"memory_bytes": capacity, "is_managed": True} | backend
    return CoreRouter(settings(sizes, backend), clock=clock), clock


def queued(router: CoreRouter, model: str) -> Queued:
    answer = router.admit(model)
    assert isinstance(answer, Queued)
    return answer


def held(router: CoreRouter) -> list[tuple[str, str, int, int]]:
    return [(one.model, one.state, one.memory_bytes, one.running) for one in router.residents("box")]


def finished(router: CoreRouter, ticket: int) -> Effects:
    router.begin_admitted(ticket)
    return router.finish(ticket, OK)


def test_a_managed_model_is_loaded_served_and_unloaded_for_another() -> None:
    router, clock = managed({"a": 6, "b": 6})
    first = queued(router, "a")
    assert first.effects.load == ("a",)
    assert held(router) == [("a", "loading", 6, 0)]
    effects = router.model_loaded("a", memory_bytes=7, load_ms=400.0)
    assert effects.granted == (first.ticket,)
    assert (held(router), router.memory("box")) == ([("a", "ready", 7, 1)], (10, 7))
    other = queued(router, "b")
    assert not other.effects
    assert not finished(router, first.ticket), "it lingers for a tenth of its load time"
    wake = router.next_wake_s()
    assert wake == pytest.approx(0.04)
    clock.now_s += wake
    effects = router.tick()
    assert (effects.evicted, effects.load) == (("a",), ())
    assert held(router) == [("a", "unloading", 7, 0)]
    assert router.model_unloaded("a").load == ("b",)
    assert router.model_loaded("b").granted == (other.ticket,)
    assert repr(router.residents("box")) == '[Resident("b", ready, memory_bytes=6, running=1)]'


def test_what_can_not_be_loaded_is_told_to_who_waits_for_it() -> None:
    router, _ = managed({"a": 6, "b": 6})
    first, other = queued(router, "a"), queued(router, "b")
    effects = router.model_not_loaded("a")
    [(ticket, error)] = effects.refused
    assert ticket == first.ticket
    assert isinstance(error, mw.NoModelAvailable)
    assert str(error) == "a: it could not be loaded"
    assert effects.load == ("b",)
    assert router.model_loaded("b").granted == (other.ticket,)


def test_what_takes_more_than_was_thought_gets_all_that_is_idle() -> None:
    router, clock = managed({"a": 2, "b": 2, "c": 4})
    idle, in_use, large = queued(router, "a"), queued(router, "b"), queued(router, "c")
    assert router.model_loaded("a").load == ("b",)
    assert router.model_loaded("b").load == ("c",)
    finished(router, idle.ticket)
    router.begin_admitted(in_use.ticket)
    clock.now_s += 60
    effects = router.model_not_loaded("c", memory_bytes=5)
    assert (effects.evicted, effects.load, effects.refused) == (("a",), (), ())
    assert router.model_unloaded("a").load == ("c",)
    assert held(router) == [("b", "ready", 2, 1), ("c", "loading", 5, 0)]
    [(ticket, error)] = router.model_not_loaded("c", memory_bytes=11).refused
    assert (ticket, str(error)) == (large.ticket, "c: it takes more memory than its backend has")


def test_what_others_load_and_unload_is_noticed() -> None:
    router, _ = managed({"a": 6, "b": 6})
    assert not router.model_loaded("a", memory_bytes=5)
    assert held(router) == [("a", "ready", 5, 0)]
    running = router.admit("a")
    assert isinstance(running, Admitted)
    router.model_unloaded("a")
    assert [one.is_closed for one in router.residents("box")] == [True], "who uses it still may go on"
    waits = queued(router, "a")
    assert router.finish(running.ticket, OK).load == ("a",)
    assert router.model_loaded("a").granted == (waits.ticket,)


def test_unknown_names_are_said() -> None:
    router, _ = managed({"a": 6})
    for report in (router.model_loaded, router.model_unloaded, router.model_not_loaded):
        with pytest.raises(mw.UnknownModel):
            report("none")
    for look in (router.residents, router.memory):
        with pytest.raises(mw.UnknownBackend):
            look("none")


def test_the_given_clock_is_the_only_one() -> None:
    router, clock = managed({"a": 6}, is_managed=False)
    router.record_outcome("a", mw.RequestOutcome(False, kind="rate_limited", retry_after_s=7.0))
    clock.now_s += 2.5
    assert router.health("a").retry_in_s == 4.5
    with pytest.raises(mw.NoModelAvailable):
        router.select("hello")
    clock.now_s += 4.5
    assert router.select("hello").model == "a"
    clock.now_s = float("nan")
    with pytest.raises(mw.InvalidRequest, match="clock"):
        router.tick()


def test_a_clock_that_knows_its_router_does_not_keep_it_alive() -> None:
    router, clock = managed({"a": 6})
    vars(clock)["router"] = router
    gone = weakref.ref(clock)
    del router, clock
    gc.collect()
    assert gone() is None
