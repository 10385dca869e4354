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


def settings(sizes: dict[str, int], backend: dict[str, Any], **rest: Any) -> dict[str, Any]:
    models = [{"id": model, "memory_bytes": size} for model, size in sizes.items()]
    plain = for_core(resolve(Config.model_validate({"models": models}))) | rest
    for model in plain["models"]:
        model |= {"backend": "box", "is_pinned": model["id"].startswith("pinned")}
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


def test_the_wait_for_a_load_is_told() -> None:
    router, clock = managed({"a": 6, "b": 6})
    router.model_loaded("a", load_ms=2_000.0)
    router.model_unloaded("a")
    assert router.load("a").wait_s == 2.0
    first = queued(router, "a")
    assert (first.position, first.eta_s) == (1, 2.0)
    clock.now_s += 1.5
    assert router.place(first.ticket) == (1, 0.5)
    assert router.load("b").wait_s == pytest.approx(0.5 + 8 * 0.25 + 0.25), "that load, others' patience, its own"


def test_a_preload_loads_without_anybody_and_a_pinned_model_stays() -> None:
    router, clock = managed({"pinned": 4, "b": 6, "c": 6})
    assert router.preload("pinned").load == ("pinned",)
    router.model_loaded("pinned")
    assert router.preload("b").load == ("b",)
    router.model_loaded("b")
    clock.now_s += 60
    assert router.preload("c").evicted == ("b",)
    router.model_loaded("pinned", memory_bytes=5)
    with pytest.raises(mw.NoModelAvailable, match="more memory than its backend has"):
        router.preload("b")
    with pytest.raises(mw.UnknownModel):
        router.preload("none")


def test_pinned_models_that_leave_no_room_are_a_mistake_of_the_configuration() -> None:
    with pytest.raises(mw.ConfigError, match=r"6 bytes do not fit beside the 5 of the pinned models into the 10"):
        managed({"pinned": 5, "b": 6})


def test_of_equal_models_the_warm_one_serves_though_nobody_asks_for_any() -> None:
    router, _ = managed({"a": 6, "b": 6})
    assert (router.select("hello").model, router.select("hello").tie_break) == ("a", None), "both are cold"
    router.model_loaded("b")
    decision = router.select("hello")
    assert (decision.model, decision.tie_break, decision.chain) == ("b", "wait", ("a",))
    assert decision.rejected == ()
    assert router.select(mw.RoutingRequest("hello", model="a")).model == "a"


def test_where_warm_models_are_preferred_one_passes_the_configured_one() -> None:
    sizes = {"a": 6, "b": 6, "weak": 2}
    plain = settings(sizes, {"memory_bytes": 20, "is_managed": True}, prefer_warm=True, defaults=[("code", "a")])
    plain["models"][2]["weaknesses"] = ["code"]
    router = CoreRouter(plain, clock=Clock())
    code = mw.RoutingRequest("a parser", task="code")
    assert router.select(code).reason == "explicit_task", "all are cold"
    router.model_loaded("weak")
    assert router.select(code).model == "a", "who is weak at it does not pass"
    router.model_loaded("b")
    decision = router.select(code)
    assert (decision.model, decision.reason) == ("b", mw.SelectionReason.Warm)
    assert (decision.rejected, decision.chain) == ((("a", "cold"),), ("a", "weak"))
    assert decision.explanation == "the first choice would have to be loaded first; for about code this model is next"
    for caller in (mw.RoutingRequest("a parser", task="code", model="a"), mw.RoutingRequest("hello", model="a")):
        assert (router.select(caller).model, router.select(caller).reason) == ("a", "explicit_model")
    router.model_loaded("a")
    assert router.select(code).model == "a"
    router.replace_table(plain | {"prefer_warm": False})
    router.model_unloaded("a")
    assert router.select(code).model == "a"


def test_no_request_leaves_the_device_because_a_model_would_have_to_be_loaded() -> None:
    sizes = {"a": 6, "b": 6}
    plain = settings(sizes, {"memory_bytes": 20, "is_managed": True}, prefer_warm=True, defaults=[("code", "a")])
    plain["models"].append(
        plain["models"][1]
        | {
            "id": "far",
            "backend": "api",
            "location": "external",
            "destination": "api.example.com",
            "memory_bytes": None,
        }
    )
    plain["privacy"] = {"allow_external": True, "allow_lan": False, "secret_scan": False}
    router = CoreRouter(plain, clock=Clock())
    router.set_consents([{"id": "c", "destination": "api.example.com", "kinds": ["text", "code"]}])
    code = mw.RoutingRequest("a parser", task="code")
    assert (router.select(code).model, router.select(code).chain) == ("a", ("b", "far"))
    router.model_loaded("b")
    assert router.select(code).reason == "warm"


@pytest.mark.parametrize("configured", [False, True])
@pytest.mark.parametrize("asked", [None, False, True])
def test_the_caller_s_word_on_warm_models_stands_before_the_configuration_s(
    configured: bool, asked: bool | None
) -> None:
    device = {"memory_bytes": 20, "is_managed": True}
    router = CoreRouter(settings({"a": 6, "b": 6}, device, prefer_warm=configured, defaults=[("code", "a")]))
    router.model_loaded("b")
    request = mw.RoutingRequest("a parser", task="code", prefer_warm=asked)
    assert request.prefer_warm is asked
    assert router.select(request).model == ("b" if (configured if asked is None else asked) else "a")


def test_a_warm_model_passes_where_somebody_tells_what_a_backend_has_that_loads_by_itself() -> None:
    router = CoreRouter(settings({"a": 6, "b": 6}, {}, defaults=[("code", "a")]), clock=Clock())
    request = mw.RoutingRequest("a parser", task="code", prefer_warm=True)
    assert router.select(request).model == "a", "nobody knows what is in memory"
    router.model_loaded("b")
    assert (router.select(request).model, router.select(request).rejected) == ("b", (("a", "cold"),))


def test_a_warm_model_that_is_slow_for_the_task_passes_and_one_that_fails_does_not() -> None:
    plain = settings({"w": 6, "c": 6}, {"memory_bytes": 20, "is_managed": True}, prefer_warm=True)
    plain["budgets_ms"] = {"quick": 100, "standard": 2_000, "deep": 30_000}
    router = CoreRouter(plain, clock=Clock())
    router.model_loaded("w", load_ms=10)
    router.model_loaded("c", load_ms=10)
    router.model_unloaded("c")
    router.record_outcome("w", mw.RequestOutcome(True, ttft_ms=5_000.0))
    slow = router.select("hello")
    assert (slow.model, slow.reason, slow.rejected) == ("w", mw.SelectionReason.Warm, (("c", "cold"),))
    router.record_outcome("w", mw.RequestOutcome(False, kind="timeout"))
    assert router.select("hello").model == "c"


def test_one_model_at_a_time_computes() -> None:
    router, clock = managed({"a": 4, "b": 4}, computes_alone=True)
    for model in ("a", "b"):
        router.model_loaded(model)
    first = router.admit("a")
    assert isinstance(first, Admitted)
    other = queued(router, "b")
    assert other.eta_s == 1.0
    clock.now_s += 1.0
    assert router.next_wake_s() == 0.0
    assert not router.tick()
    queued(router, "a")
    assert router.finish(first.ticket, OK).granted == (other.ticket,)


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


def test_a_load_is_kept_with_the_health_of_its_model_whoever_had_it_loaded() -> None:
    router, _ = managed({"a": 6})
    assert router.health("a").load_ms is None
    router.model_loaded("a", load_ms=400)
    assert router.health("a").load_ms == 400
    router.model_loaded("a")
    assert router.health("a").load_ms == 400, "seen, not measured"
    assert router.health("a").successes == 0
