"""Health through the public API: what each outcome does, when a circuit opens, and how it closes again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

import modelway as mw
from modelway.types import Alert

#: Short enough to wait for; no test may count on looking before it is over.
BACKOFF_MS = 60
HARD = ("connect", "reset", "timeout", "server_error", "malformed", "empty", "interrupted")
HOLDING = ("rate_limited", "busy", "missing", "unauthorized")
ONE = {"name": "one", "kind": "ollama"}
NEUTRAL = ("rejected", "cancelled")


def make_router(**health: int) -> mw.ModelRouter:
    config = {
        "backends": [ONE, {"name": "two", "kind": "ollama", "url": "http://127.0.0.1:1"}],
        "models": [{"id": "a", "aliases": ["first"]}, {"id": "b", "backend": "two"}],
        "defaults": {"general": "a"},
        "health": health,
    }
    return mw.ModelRouter(mw.Config.model_validate(config))


@pytest.fixture
def router() -> mw.ModelRouter:
    return make_router()


@pytest.fixture
def quick() -> mw.ModelRouter:
    """A router whose circuits open at the second failure, for 30 to 60 ms."""
    return make_router(failures_to_open=2, backoff_ms=BACKOFF_MS, max_backoff_ms=BACKOFF_MS)


def fail(router: mw.ModelRouter, times: int, kind: str = "timeout", model: str = "a") -> None:
    for _ in range(times):
        router.record_outcome(model, mw.RequestOutcome(False, kind=kind))


def wait_until_available(router: mw.ModelRouter) -> None:
    """Fails after two seconds."""
    start = time.monotonic()
    while not router.health("a").available:
        assert time.monotonic() - start < 2, router.health("a")
        time.sleep(0.001)


def test_a_new_model_is_in_good_health(router: mw.ModelRouter) -> None:
    health = router.health("first")
    assert (health.model, health.state, health.available, health.held) == ("a", "closed", True, None)
    assert (health.successes, health.failures, health.consecutive_failures) == (0, 0, 0)
    assert health.success_rate is health.ttft_ms is health.tokens_per_sec is None
    assert health.retry_in_s is health.since_last_success_s is None


@pytest.mark.parametrize("kind", HARD)
def test_five_hard_failures_in_a_row_open_the_circuit(router: mw.ModelRouter, kind: str) -> None:
    fail(router, 4, kind)
    assert (router.health("a").state, router.health("a").consecutive_failures) == ("closed", 4)
    fail(router, 1, kind)
    health = router.health("a")
    assert (health.state, health.available, health.held) == ("open", False, None)
    assert (health.failures, health.success_rate) == (5, 0.0)
    assert health.retry_in_s is not None
    assert 2 < health.retry_in_s <= 5, "half of the 5 s is certain, half is chance"
    decision = router.select("")
    assert (decision.model, decision.reason, decision.rejected) == ("b", "fallback", (("a", "unavailable"),))


def test_a_success_between_failures_starts_the_count_anew(router: mw.ModelRouter) -> None:
    fail(router, 4)
    router.record_outcome("a", mw.RequestOutcome(True))
    fail(router, 4)
    assert (router.health("a").state, router.health("a").consecutive_failures) == ("closed", 4)


@pytest.mark.parametrize("kind", NEUTRAL)
def test_what_the_caller_did_says_nothing_of_the_model(router: mw.ModelRouter, kind: str) -> None:
    fail(router, 4)
    fail(router, 100, kind)
    health = router.health("a")
    assert (health.state, health.available, health.failures, health.consecutive_failures) == ("closed", True, 4, 4)


@pytest.mark.parametrize(("kind", "least_s", "most_s"), [("rate_limited", 0.5, 1), ("busy", 0.5, 1)])
@pytest.mark.parametrize("retry_after_s", [None, 7.0, 1e9])
def test_a_server_that_asks_for_time_gets_it(
    router: mw.ModelRouter, kind: str, least_s: float, most_s: float, retry_after_s: float | None
) -> None:
    router.record_outcome("a", mw.RequestOutcome(False, kind=kind, retry_after_s=retry_after_s))
    health = router.health("a")
    assert (health.state, health.available, health.held, health.failures) == ("closed", False, kind, 1)
    assert health.consecutive_failures == 0
    wait = health.retry_in_s
    assert wait is not None
    if retry_after_s is None:
        assert least_s < wait <= most_s
    else:
        assert min(retry_after_s, 300) - 0.5 < wait <= min(retry_after_s, 300), "five minutes at most"


@pytest.mark.parametrize("kind", ["missing", "unauthorized"])
def test_what_time_alone_does_not_mend_is_set_aside_for_a_minute(router: mw.ModelRouter, kind: str) -> None:
    router.record_outcome("a", mw.RequestOutcome(False, kind=kind))
    health = router.health("a")
    assert (health.held, health.available) == (kind, False)
    assert health.retry_in_s is not None
    assert 59 < health.retry_in_s <= 60


def test_the_longest_wait_asked_for_is_kept(router: mw.ModelRouter) -> None:
    for retry_after_s in (30.0, None, 5.0):
        router.record_outcome("a", mw.RequestOutcome(False, kind="rate_limited", retry_after_s=retry_after_s))
    wait = router.health("a").retry_in_s
    assert wait is not None
    assert 29 < wait <= 30


@pytest.mark.parametrize("kind", HOLDING)
def test_who_begins_while_a_model_is_held_is_told_why_and_when(router: mw.ModelRouter, kind: str) -> None:
    router.record_outcome("a", mw.RequestOutcome(False, kind=kind, retry_after_s=9))
    with pytest.raises(mw.NoModelAvailable) as caught:
        router.begin("first")
    (attempt,) = caught.value.attempts
    assert (attempt.model, attempt.why in str(caught.value)) == ("first", True)
    assert attempt.next_try_s is not None
    assert 8 < attempt.next_try_s <= 9


def test_attempts_are_numbered_upwards(router: mw.ModelRouter) -> None:
    numbers = [router.begin(model) for model in "abab"]
    assert numbers == sorted(set(numbers))


def test_averages_are_those_of_successes(router: mw.ModelRouter) -> None:
    router.record_outcome("a", mw.RequestOutcome(True, ttft_ms=500, duration_ms=1_500, tokens=101))
    router.record_outcome("a", mw.RequestOutcome(False, kind="timeout", ttft_ms=30_000, duration_ms=30_000, tokens=9))
    health = router.health("a")
    assert (health.ttft_ms, health.tokens_per_sec) == (500.0, 100.0)
    assert (health.successes, health.failures, health.success_rate) == (1, 1, 0.5)
    assert health.since_last_success_s is not None
    assert 0 <= health.since_last_success_s < 2


def test_who_is_too_slow_for_a_task_stands_behind_equals(router: mw.ModelRouter) -> None:
    def chosen(task: str) -> tuple[str, int, str | None]:
        decision = router.select(mw.RoutingRequest("", task=task))
        return decision.model, decision.budget_ms, decision.tie_break

    router.record_outcome("a", mw.RequestOutcome(True, ttft_ms=101))
    assert chosen("quick") == ("b", 100, "budget")
    assert chosen("code") == ("a", 2_000, None)
    assert chosen("general") == ("a", 2_000, None), "a written default is nobody's equal"
    router.record_outcome("a", mw.RequestOutcome(True, ttft_ms=300_001))
    assert chosen("code") == ("b", 2_000, "budget")
    assert chosen("deep") == ("b", 30_000, "budget")
    assert router.select(mw.RoutingRequest("", task="deep")).explanation.endswith(
        "its first word is expected soon enough"
    )
    timeouts = {"quick_ms": 50_000, "standard_ms": 1, "deep_ms": 60_000}
    models = {"backends": [ONE], "models": [{"id": "a"}, {"id": "c"}]}
    router.replace_config(mw.Config.model_validate({**models, "timeouts": timeouts}))
    assert [chosen(task) for task in ("quick", "math", "deep")] == [
        ("a", 50_000, None),
        ("c", 1, "budget"),
        ("a", 60_000, None),
    ]


def test_loading_is_averaged_apart_from_the_first_token(router: mw.ModelRouter) -> None:
    assert mw.RequestOutcome(True).load_ms is None
    router.record_outcome("a", mw.RequestOutcome(True, ttft_ms=1, load_ms=8_000))
    router.record_outcome("a", mw.RequestOutcome(False, kind="interrupted", load_ms=8_000))
    assert (router.health("a").load_ms, router.health("a").ttft_ms) == (8_000.0, None)
    with pytest.raises(mw.InvalidRequest, match="load_ms"):
        mw.RequestOutcome(True, load_ms=-1)


Told = list[tuple[str | None, str | None, str, bool]]


def told(alerts: Sequence[Alert]) -> Told:
    return [(alert.model, alert.backend, alert.what, alert.is_over) for alert in alerts]


def test_a_backend_that_is_back_is_probed_at_once_and_closed_by_a_request(router: mw.ModelRouter) -> None:
    fail(router, 4, "connect")
    alerts = router.record_outcome("a", mw.RequestOutcome(False, kind="connect"))
    assert told(alerts) == [("a", None, "circuit", False), (None, "one", "circuit", False)]
    assert [alert.since_s for alert in alerts] == [0.0, 0.0]
    assert not router.observe("one", reachable=False)
    assert not router.health("a").available
    assert not router.observe("one", reachable=True)
    assert (router.health("a").available, router.backend_health("one").state) == (True, "half_open")
    probe = router.begin("a")
    alerts = router.record_outcome("a", mw.RequestOutcome(True), probe)
    assert told(alerts) == [("a", None, "circuit", True), (None, "one", "circuit", True)]
    assert all(0 <= alert.since_s < 2 for alert in alerts)
    assert repr(alerts[0]) == 'Alert("a", what="circuit", is_over=True)'


def test_a_server_error_waits_its_time_whatever_the_server_lists(router: mw.ModelRouter) -> None:
    fail(router, 5, "server_error")
    for reachable in (False, True, True):
        router.observe("one", reachable=reachable, present=["a"])
    assert router.health("a").state == "open"


def test_a_missing_model_is_set_aside_until_it_is_seen(router: mw.ModelRouter) -> None:
    effects = router.observe("one", reachable=True, missing=iter(["a", "b", "nobody"]))
    assert told(effects.alerts) == [("a", None, "missing", False)], "b is another backend's"
    assert not router.observe("one", reachable=True, missing={"a"}), "told once"
    assert (router.health("a").held, router.select("").model) == ("missing", "b")
    effects = router.observe("one", reachable=True, present=("a",))
    assert told(effects.alerts) == [("a", None, "missing", True)]
    assert (router.health("a").held, router.select("").model) == (None, "a")


@pytest.mark.parametrize("kind", ["missing", "unauthorized"])
def test_who_answers_again_is_told_once(router: mw.ModelRouter, kind: str) -> None:
    failed = mw.RequestOutcome(False, kind=kind)
    assert told(router.record_outcome("a", failed)) == [("a", None, kind, False)]
    assert router.record_outcome("a", failed) == ()
    assert told(router.record_outcome("a", mw.RequestOutcome(True))) == [("a", None, kind, True)]
    assert router.health("a").available
    assert router.record_outcome("a", mw.RequestOutcome(True)) == ()


def test_checks_of_what_nobody_has_are_passed_over(router: mw.ModelRouter) -> None:
    assert not router.observe("nobody", reachable=True, missing=["a"])
    assert router.health("a").available
    with pytest.raises(TypeError, match="missing must hold several str"):
        router.observe("one", reachable=True, missing="a")
    with pytest.raises(mw.UnknownBackend, match='no backend is called "nobody"') as caught:
        router.backend_health("nobody")
    assert caught.value.name == "nobody"


def test_s8_a_broken_model_comes_back_through_one_probe(quick: mw.ModelRouter) -> None:
    fail(quick, 2)
    wait_until_available(quick)
    assert quick.health("a").state == "half_open"
    assert quick.select("").model == "a", "traffic returns by itself"
    probe = quick.begin("a")
    assert not quick.health("a").available, "one probe at a time"
    assert quick.select("").model == "b"
    with pytest.raises(mw.NoModelAvailable):
        quick.begin("a")
    quick.record_outcome("a", mw.RequestOutcome(True), probe)
    assert (quick.health("a").state, quick.health("a").available) == ("closed", True)
    assert quick.select("").model == "a"


def test_nobody_comes_before_the_time(quick: mw.ModelRouter) -> None:
    start = time.monotonic()
    fail(quick, 2)
    wait_until_available(quick)
    assert time.monotonic() - start >= BACKOFF_MS / 2 / 1000 - 0.002, "clocks of milliseconds"


def test_a_probe_that_fails_opens_again(quick: mw.ModelRouter) -> None:
    fail(quick, 2)
    wait_until_available(quick)
    quick.record_outcome("a", mw.RequestOutcome(False, kind="timeout"), quick.begin("a"))
    assert quick.health("a").consecutive_failures == 3
    wait_until_available(quick)
    assert quick.health("a").state == "half_open", "its delay was over, and a probe under way would still bar the way"


@pytest.mark.parametrize("kind", NEUTRAL)
def test_a_probe_that_says_nothing_frees_its_place(quick: mw.ModelRouter, kind: str) -> None:
    fail(quick, 2)
    wait_until_available(quick)
    quick.record_outcome("a", mw.RequestOutcome(False, kind=kind), quick.begin("a"))
    assert (quick.health("a").state, quick.health("a").available) == ("half_open", True)


@pytest.mark.parametrize("kind", ["success", "timeout"])
def test_a_late_answer_of_an_older_attempt_changes_nothing(quick: mw.ModelRouter, kind: str) -> None:
    old = quick.begin("a")
    fail(quick, 2)
    late = mw.RequestOutcome(kind == "success", kind=kind)
    quick.record_outcome("a", late, old)
    assert quick.health("a").state != "closed"
    wait_until_available(quick)
    probe = quick.begin("a")
    quick.record_outcome("a", late, old)
    assert (quick.health("a").state, quick.health("a").available) == ("half_open", False)
    quick.record_outcome("a", mw.RequestOutcome(False, kind="cancelled"), probe)
    quick.record_outcome("a", late, old)
    assert (quick.health("a").state, quick.health("a").available) == ("half_open", True)
    quick.record_outcome("a", mw.RequestOutcome(True), quick.begin("a"))
    quick.record_outcome("a", late, old)
    quick.record_outcome("a", late, old)
    assert quick.health("a").state == "closed"


def test_exactly_one_of_many_threads_gets_the_probe(quick: mw.ModelRouter) -> None:
    fail(quick, 2)
    wait_until_available(quick)

    def probe(_: int) -> bool:
        try:
            quick.begin("a")
        except mw.NoModelAvailable:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(probe, range(64))) == 1


def test_outcomes_from_many_threads_are_all_counted(router: mw.ModelRouter) -> None:
    outcomes = [mw.RequestOutcome(True), mw.RequestOutcome(False, kind="cancelled")] * 500
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda outcome: router.record_outcome("a", outcome, router.begin("a")), outcomes))
    assert (router.health("a").successes, router.health("a").failures) == (500, 0)


def test_m15_all_down_names_each_with_why_and_when(router: mw.ModelRouter) -> None:
    fail(router, 5, model="a")
    router.record_outcome("b", mw.RequestOutcome(False, kind="missing"))
    with pytest.raises(mw.NoModelAvailable) as caught:
        router.select("hi")
    tried = {attempt.model: attempt for attempt in caught.value.attempts}
    assert set(tried) == {"a", "b"}
    for model, latest in (("a", 5), ("b", 60)):
        assert model in str(caught.value)
        assert tried[model].why in str(caught.value)
        assert 0 < (tried[model].next_try_s or 0) <= latest


def test_health_is_kept_by_name_over_a_change_of_configuration(router: mw.ModelRouter) -> None:
    fail(router, 5)
    number = router.begin("b")
    router.replace_config(mw.Config.model_validate({"backends": [ONE], "models": [{"id": "c"}, {"id": "a"}]}))
    assert router.health("a").state == "open"
    assert router.health("c").available
    router.record_outcome("b", mw.RequestOutcome(True), number)
    with pytest.raises(mw.UnknownModel):
        router.health("b")
    again = {"backends": [{**ONE, "name": "two"}], "models": [{"id": "b"}]}
    router.replace_config(mw.Config.model_validate(again))
    assert router.health("b").successes == 1, "what began before the change was heard"


def test_a_name_that_now_means_another_model_tells_of_that_model(router: mw.ModelRouter) -> None:
    fail(router, 5)
    router.replace_config(mw.Config.model_validate({"models": [{"id": "new", "aliases": ["a"]}]}))
    health = router.health("a")
    assert (health.model, health.state, health.failures) == ("new", "closed", 0)
    fail(router, 5, model="a")
    assert router.health("new").state == "open"
