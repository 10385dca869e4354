"""What the types of the core are like to use: enums by every name, frozen results, reprs without prompts."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest

import modelway as mw

ENUMS: list[Any] = [
    mw.TaskClass,
    mw.ModelCapability,
    mw.LatencyClass,
    mw.CostTier,
    mw.LicenseTier,
    mw.Locality,
    mw.SelectionReason,
]
MEMBERS = [member for enum in ENUMS for member in enum.all()]
SECRET = "Zugspitze-canary"


@pytest.fixture(scope="module")
def router() -> mw.ModelRouter:
    models = [{"id": "a", "aliases": ["first"], "strengths": ["code"]}, {"id": "b"}]
    return mw.ModelRouter(mw.Config.model_validate({"models": models, "defaults": {"code": "a"}}))


# --- enums ---


@pytest.mark.parametrize("member", MEMBERS, ids=repr)
def test_members_are_one_value_by_every_way(member: Any) -> None:
    enum = type(member)
    assert getattr(enum, member.name) is not None
    assert enum.parse(member.name) == enum.parse(str(member)) == enum.parse(str(member).upper()) == member
    assert repr(member) == f"{enum.__name__}.{member.name}"
    for twin in (copy.copy(member), copy.deepcopy(member), pickle.loads(pickle.dumps(member))):
        assert twin == member
        assert type(twin) is enum
    assert member == str(member)
    assert hash(member) == hash(str(member))
    assert {str(member): "found"}[member] == "found"
    assert {member: "found"}[str(member)] == "found"


@pytest.mark.parametrize("enum", ENUMS)
def test_members_are_distinct(enum: Any) -> None:
    assert len({str(member) for member in enum.all()}) == len({member.name for member in enum.all()}) == len(enum.all())
    for one in enum.all():
        assert [other for other in enum.all() if other == one] == [one]
        assert one not in (None, 0, one.name.upper(), b"code", object())
    assert not any(mw.TaskClass.ToolUse == capability for capability in mw.ModelCapability.all())
    with pytest.raises(TypeError):
        enum()
    with pytest.raises(AttributeError):
        enum.all()[0].name = "other"


def test_the_task_classes_are_the_designs() -> None:
    assert [(task.name, str(task)) for task in mw.TaskClass.all()] == [
        ("QuickResponse", "quick"),
        ("DeepThinking", "deep"),
        ("CodeGeneration", "code"),
        ("Mathematical", "math"),
        ("Creative", "creative"),
        ("ToolUse", "tool_use"),
        ("Embedding", "embedding"),
        ("General", "general"),
    ]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("codee", 'no task is called "codee"; did you mean "code"?'),
        ("zzzzzzzzzz", "there are quick, deep, code, math, creative, tool_use, embedding, general"),
        ("", "there are quick"),
        ("co\0de", "no task is called"),
        pytest.param("x" * 1_000_000, "there are quick", id="long"),
    ],
)
def test_an_unknown_name_is_a_value_error_with_the_remedy(name: str, says: str) -> None:
    with pytest.raises(ValueError, match="no task is called") as caught:
        mw.TaskClass.parse(name)
    assert says in str(caught.value)


def test_half_a_character_is_no_name() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        mw.TaskClass.parse("\ud800")
    for not_text in (None, 3, b"code", ["code"]):
        with pytest.raises(TypeError):
            mw.TaskClass.parse(not_text)  # type: ignore[arg-type]


# --- frozen, and silent about prompts ---


def test_nothing_can_be_assigned(router: mw.ModelRouter) -> None:
    request = mw.RoutingRequest("hi")
    made = [
        request,
        router.select(request),
        router.classify("hi"),
        router.health("a"),
        router.profiles["a"],
        mw.RequestOutcome(True),
    ]
    for thing in made:
        for name in [name for name in dir(thing) if not name.startswith("_")] + ["anything"]:
            with pytest.raises(AttributeError):
                setattr(thing, name, None)


def test_no_repr_and_no_error_shows_what_was_said(router: mw.ModelRouter) -> None:
    prompt = f"write a function, {SECRET}"
    request = mw.RoutingRequest(prompt, messages=[{"role": "user", "content": SECRET}])
    shown = [repr(request), str(request), repr(router.select(request)), repr(router.classify(prompt)), repr(router)]
    shown += [str(router.select(request).to_dict()), router.select(request).explanation]
    for asked in (mw.RoutingRequest(prompt, task="embedding"), mw.RoutingRequest(prompt, tools=True, model="a")):
        with pytest.raises(mw.NoModelAvailable) as caught:
            router.select(asked)
        shown.append(str(caught.value))
    for wrong in ({"images": -1}, {"task": "x"}, {"messages": [SECRET]}, {"messages": [{"content": {SECRET: 1}}]}):
        with pytest.raises(mw.InvalidRequest) as refused:
            mw.RoutingRequest(prompt, **wrong)  # type: ignore[arg-type]
        shown.append(str(refused.value))
    assert [text for text in shown if SECRET in text] == []


def test_a_request_has_a_user_whom_its_repr_does_not_name() -> None:
    request = mw.RoutingRequest("hi", user="alice")
    assert request.user == "alice"
    assert mw.RoutingRequest("hi").user is None
    assert "alice" not in repr(request)


def test_reprs_say_what_a_thing_is(router: mw.ModelRouter) -> None:
    request = mw.RoutingRequest("hi", task="code", model="a", tools=True, images=1, context_tokens=9)
    assert repr(request) == 'RoutingRequest(task=code, model="a", tools=True, images=1, context_tokens=9)'
    assert repr(router.profiles["b"]) == 'ModelProfile("b", backend="ollama")'
    assert repr(router.health("b")) == 'ModelHealth("b", state="closed", available=True)'
    assert repr(router.select(mw.RoutingRequest("hi", model="b"))).startswith('RoutingDecision("b", task="quick"')
    assert repr(mw.RequestOutcome(False, kind="empty")) == 'RequestOutcome("empty")'


def test_a_decision_as_json_is_the_decision(router: mw.ModelRouter) -> None:
    decision = router.select("Write a Rust function to parse JSON")
    written = json.loads(json.dumps(decision.to_dict()))
    assert written == {
        "model": "a",
        "backend": "ollama",
        "task": "code",
        "confidence": decision.confidence,
        "complexity": decision.complexity,
        "location": "device",
        "reason": "classified",
        "tie_break": None,
        "chain": ["b"],
        "rejected": [],
        "kinds": [],
        "needs_consent": [],
        "scores": decision.scores,
        "budget_ms": 2_000,
        "context_tokens": decision.context_tokens,
        "explanation": decision.explanation,
    }
