"""The core against its slow twin, over random tables, requests and histories."""

from __future__ import annotations

import pytest
import slow_select
from hypothesis import given, settings
from hypothesis import strategies as st
from routing_cases import Case, config_of, consents_of, decided, router_of
from slow_select import COSTS, HARD, HOLDING, LICENSES, Seen

import modelway as mw

# The same examples in every run: a difference shows for everybody or for nobody.
EVERY_RUN = settings(derandomize=True, deadline=None, max_examples=100, database=None)

#: All classes but embedding, which a configuration may not name yet.
SERVED = tuple(task for task in slow_select.TASKS if task != "embedding")
IDS = ("m0", "m1", "m2", "m3", "m4", "m5", "phi:latest")
TEXTS = (
    "",
    "help me with something",
    "tell a story of\n```\nx\n```",
    "int main() {",
    "Write a Rust function",
    "solve for x: 3x + 7 = 22",
    "tell me a story",
    "hi",
)

#: Where a model is; at the same address, it may be one that is handed on.
sites = st.sampled_from(
    [
        {},
        {},
        {},
        {"location": "external", "destination": "api.example.com"},
        {"location": "external", "destination": "llm.example.org"},
        {"location": "lan", "destination": "10.0.0.5:8000"},
        {"location": "external", "destination": "10.0.0.5:8000"},
    ]
)
switches = st.booleans()
policies = st.fixed_dictionaries(
    {}, optional={"allow_external": switches, "allow_lan": switches, "secret_scan": switches}
)
open_policies = st.just({"allow_external": True, "secret_scan": False})
consents = st.lists(
    st.fixed_dictionaries(
        {
            "destination": st.sampled_from(["api.example.com", "llm.example.org", "10.0.0.5:8000"]),
            "kinds": st.sampled_from([["text"], ["code"], ["text", "code"], ["text", "code", "images"]]),
        },
        optional={
            "model": st.sampled_from(["m0", "m1"]),
            "since_s": st.sampled_from([0, 9_000_000_000]),
            "until_s": st.sampled_from([1_000_000_000, 9_000_000_000]),
        },
    ),
    max_size=4,
)
forbidden = st.lists(st.sampled_from(["restricted", "unknown", "Apache-2.0", "gpl"]), max_size=1)

few_tasks = st.lists(st.sampled_from(slow_select.TASKS), max_size=3, unique=True)


@st.composite
def models(draw: st.DrawFn) -> list[Case]:
    taken = []
    for model_id in draw(st.lists(st.sampled_from(IDS), max_size=6, unique=True)):
        optional = {
            "strengths": few_tasks,
            "weaknesses": few_tasks,
            "tools": st.booleans(),
            "vision": st.booleans(),
            "context": st.sampled_from([1, 5, 100]),
            "ttft_ms": st.sampled_from([10, 500, 5_000]),
            "cost": st.sampled_from(COSTS),
            "license": st.sampled_from([tier for tier in LICENSES if tier != "unknown"]),
        }
        model = {"id": model_id, **draw(st.fixed_dictionaries({}, optional=optional)), **draw(sites)}
        if draw(st.booleans()):
            model["aliases"] = [f"also-{model_id}"]
        taken.append(model)
    return taken


def names_in(some: list[Case]) -> list[str]:
    names = [name for model in some for name in (model["id"], *model.get("aliases", ()))]
    return names + (["phi"] if "phi:latest" in names else [])


@st.composite
def cases(draw: st.DrawFn, *, sound: bool = True) -> Case:
    """A table. A sound one has no cycles and dead ends: links go only to what stands behind in one order of names."""
    some = draw(models())
    names = names_in(some)
    rules = {
        "privacy": draw(st.one_of(policies, open_policies)),
        "consents": draw(consents),
        "forbid": draw(forbidden),
    }
    if not names:
        return {"models": some, **rules}
    defaults = draw(st.dictionaries(st.sampled_from(SERVED), st.sampled_from(names), max_size=6))
    if not sound:
        anything = st.sampled_from([*names, *SERVED, "nobody", "m9"])
        chains = st.dictionaries(anything, st.lists(anything, max_size=3), max_size=4)
        return {"models": some, "defaults": defaults, "fallbacks": draw(chains), **rules}
    ordered = draw(st.permutations([*defaults, *(model["id"] for model in some)]))
    fallbacks = {}
    for place, name in enumerate(ordered[:-1]):
        links = draw(st.lists(st.sampled_from(ordered[place + 1 :]), max_size=3))
        if links:
            fallbacks[name] = links
    return {"models": some, "defaults": defaults, "fallbacks": fallbacks, **rules}


requests = st.fixed_dictionaries(
    {"prompt": st.sampled_from(TEXTS)},
    optional={
        "task": st.sampled_from(slow_select.TASKS),
        "model": st.sampled_from([*IDS, "also-m0", "also-m1", "phi", "nobody"]),
        "tools": st.booleans(),
        "images": st.integers(0, 2),
        "allow_external": st.sampled_from([None, True, False]),
        "context_tokens": st.sampled_from([0, 5, 6, 100, 101]),
    },
)
ended = st.one_of(
    st.builds(Seen, st.sampled_from(IDS), st.sampled_from(["cancelled", "rejected", *HARD, *HOLDING]), st.none()),
    st.builds(Seen, st.sampled_from(IDS), st.just("success"), st.sampled_from([None, 20, 450, 7_000])),
)
histories = st.lists(ended, max_size=8).flatmap(
    lambda outcomes: st.integers(1, 5).map(lambda times: [outcome for outcome in outcomes for _ in range(times)])
)


def live(router: mw.ModelRouter, history: list[Seen]) -> list[Seen]:
    """Tells the router what happened to models that it has; returns that part."""
    known = [seen for seen in history if seen.model in router.profiles]
    for seen in known:
        retry_after_s = 60 if seen.kind in HOLDING else None
        outcome = mw.RequestOutcome(
            seen.kind == "success", kind=seen.kind, ttft_ms=seen.ttft_ms, retry_after_s=retry_after_s
        )
        router.record_outcome(seen.model, outcome)
    return known


def read_alone(prompt: str) -> tuple[str, str]:
    """How the classifier reads a prompt, and the reason that it gives where nothing else decides."""
    decision = READER.select(prompt)
    return str(decision.task), str(decision.reason)


READER = mw.ModelRouter(config_of({"models": ["only"]}))


def twin(case: Case, request: Case, history: list[Seen]) -> Case:
    state = slow_select.after(case, history)
    length = mw.RoutingRequest(prompt=request["prompt"]).context_tokens
    return slow_select.select(case, {"context_tokens": length, **request}, read_alone(request["prompt"]), state)


@EVERY_RUN
@given(cases(), requests, histories)
def test_the_core_decides_as_the_twin(case: Case, request: Case, history: list[Seen]) -> None:
    router = router_of(case)
    known = live(router, history)
    found = decided(router, mw.RoutingRequest(**request))
    assert found == twin(case, request, known)
    assert decided(router, mw.RoutingRequest(**request)) == found, "the same input gives the same decision"


@EVERY_RUN
@given(cases(), requests, histories)
def test_no_decision_breaks_a_hard_rule(case: Case, request: Case, history: list[Seen]) -> None:
    router = router_of(case)
    down = slow_select.after(case, live(router, history)).down
    asked = mw.RoutingRequest(**request)
    found = decided(router, asked)
    if "error" in found:
        return
    serving = [found["model"], *found["chain"]]
    assert len(set(serving)) == len(serving)
    assert set(serving).isdisjoint(name for name, _ in found["rejected"])
    assert {*serving, *(name for name, _ in found["rejected"])} == set(router.profiles)
    for name in serving:
        profile = router.profiles[name]
        assert profile.destination is None or may_leave(case, request, profile)
        assert not {str(profile.license_tier), profile.license} & {name.lower() for name in case["forbid"]}
        assert profile.supports_tools or not asked.tools
        assert mw.ModelCapability.VisionInput in profile.capabilities or not asked.images
        assert profile.max_context is None or profile.max_context >= asked.context_tokens
        assert name not in down
        assert router.health(name).available
    if asked.model is not None and router.resolve(asked.model) in serving:
        assert (found["model"], found["reason"]) == (router.resolve(asked.model), "explicit_model")


def may_leave(case: Case, request: Case, profile: mw.ModelProfile) -> bool:
    """No more than what must hold of anything that leaves."""
    if profile.location == "lan" and case["privacy"].get("allow_lan"):
        return True
    is_open = case["privacy"].get("allow_external") and case["privacy"].get("secret_scan") is False
    is_named = any(consent["destination"] == profile.destination for consent in case["consents"])
    return bool(is_open and is_named and request.get("allow_external") is not False and not request.get("images"))


@EVERY_RUN
@given(cases(), requests)
def test_each_sending_is_judged_as_the_decision(case: Case, request: Case) -> None:
    router = router_of(case)
    asked = mw.RoutingRequest(**request)
    found = decided(router, asked)
    if "error" in found:
        return
    for name in [found["model"], *found["chain"]]:
        egress = router.clear(name, asked, "r1")
        assert (egress is None) == (router.profiles[name].destination is None)
        if egress is not None:
            assert (egress.destination, egress.model) == (router.profiles[name].destination, name)
            assert egress.kinds == tuple(
                kind
                for kind in ("text", "code", "images")
                if kind in slow_select.kinds_of(request, str(router.select(asked).task))
            )
            assert egress.is_valid
    for name, why in found["rejected"]:
        if why in {"license", "external", "lan", "local_only", "unscanned", "images_leave", "consent"}:
            if router.profiles[name].destination is None:
                assert why == "license"
                continue
            with pytest.raises(mw.ConsentRequired if why == "consent" else mw.NoModelAvailable):
                router.clear(name, asked, "r1")


@EVERY_RUN
@given(cases())
def test_chains_are_the_twins(case: Case) -> None:
    router = mw.ModelRouter(config_of(case))
    for name in [*slow_select.TASKS, *names_in(case["models"])]:
        chain = router.fallback_chain(name)
        assert list(chain) == slow_select.fallback_chain(case, name), name
        assert len(set(chain)) == len(chain)
        assert slow_select.first_model(case, name) not in chain


@EVERY_RUN
@given(cases(sound=False))
def test_a_table_is_refused_exactly_where_it_has_a_fault(case: Case) -> None:
    faults = slow_select.faults(case)
    try:
        mw.ModelRouter(config_of(case))
    except mw.ConfigError as error:
        told = [problem.path for problem in error.problems]
        cycles = [problem.path for problem in error.problems if "leads back" in problem.message]
        assert sorted(set(told) - set(cycles)) == sorted(faults.paths)
        assert set(cycles) <= faults.on_cycles
        assert bool(cycles) == bool(faults.on_cycles)
    else:
        assert not faults.paths
        assert not faults.on_cycles


@EVERY_RUN
@given(cases(), cases(), requests, histories)
def test_a_swap_keeps_health_by_name_and_old_decisions_as_they_were(
    before: Case, after: Case, request: Case, history: list[Seen]
) -> None:
    router = router_of(before)
    known = live(router, history)
    asked = mw.RoutingRequest(**request)
    old = None if "error" in decided(router, asked) else router.select(asked)
    seen = None if old is None else old.to_dict()
    router.replace_config(config_of(after))
    router.set_consents(consents_of(after))
    assert decided(router, asked) == twin(after, request, known)
    if old is not None:
        assert old.to_dict() == seen
