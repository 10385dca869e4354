"""What the border to Python lets in, and what it refuses and how."""

from __future__ import annotations

from collections import UserDict
from typing import Any

import pytest

import modelway as mw

# Python refuses to write an int of so many digits.
HUGE = pytest.param(10**5_000, id="huge")
LONG_NAME = pytest.param("x" * 1_000_000, id="long")


@pytest.fixture(scope="module")
def router() -> mw.ModelRouter:
    models = [{"id": "a", "aliases": ["first"], "strengths": ["code"]}, {"id": "b"}]
    return mw.ModelRouter(mw.Config.model_validate({"models": models, "defaults": {"code": "a"}}))


# --- RoutingRequest ---


@pytest.mark.parametrize("field", ["images", "context_tokens"])
@pytest.mark.parametrize("value", [-1, HUGE, 2**53 + 1, 2**64, True, False, 1.0, float("nan"), "1", b"1", [1]])
def test_what_is_no_count_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(mw.InvalidRequest, match=rf"^{field} must be an int from 0 to 2\*\*53, not "):
        mw.RoutingRequest("hi", **{field: value})  # type: ignore[arg-type]


def test_counts_reach_to_the_last_exact_float() -> None:
    request = mw.RoutingRequest("hi", images=2**53, context_tokens=2**53)
    assert (request.images, request.context_tokens) == (2**53, 2**53)
    assert mw.RoutingRequest("hi", images=None, context_tokens=None).images == 0


@pytest.mark.parametrize("value", [-1, -0.5, float("nan"), float("inf"), True, "5", HUGE, [5]])
def test_what_is_no_duration_is_refused_by_name(value: object) -> None:
    with pytest.raises(mw.InvalidRequest, match=r"^deadline_ms must be a finite number, not negative"):
        mw.RoutingRequest("hi", deadline_ms=value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": b"hi"},
        {"prompt": 5},
        {"prompt": ["hi"]},
        {"model": 5},
        {"model": b"a"},
        {"tools": 1},
        {"tools": None},
        {"tools": "yes"},
        {"messages": 5},
        {"unknown": 1},
    ],
    ids=str,
)
def test_a_wrong_type_is_a_type_error(fields: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        mw.RoutingRequest(**fields)


@pytest.mark.parametrize("task", [5, 1.0, b"code", ["code"], "codee", "", "\ud800", mw.Locality.Device])
def test_a_wrong_task_is_refused_by_name(task: object) -> None:
    with pytest.raises(mw.InvalidRequest, match=r"^task: "):
        mw.RoutingRequest("hi", task=task)  # type: ignore[arg-type]


@pytest.mark.parametrize("task", [mw.TaskClass.CodeGeneration, "code", "CODE", "CodeGeneration", "codegeneration"])
def test_a_task_by_any_of_its_names(task: Any, router: mw.ModelRouter) -> None:
    request = mw.RoutingRequest("hi", task=task)
    assert request.task is not None
    assert request.task == "code"
    decision = router.select(request)
    assert (decision.task, decision.reason, decision.confidence, decision.scores) == ("code", "explicit_task", 1.0, {})


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ("hi", "messages must be a list of messages; a text goes into prompt"),
        ({"role": "user"}, "messages must be a list of messages"),
        (["hi"], r"messages\[0\] must be a mapping with role and content"),
        ([{"role": "user", "content": "hi"}, None], r"messages\[1\] must be a mapping"),
        ([{"role": "user", "content": 5}], r"messages\[0\].content must be a str, None, or a list of parts"),
        ([{"role": "user", "content": {"text": "hi"}}], r"messages\[0\].content must be"),
    ],
)
def test_messages_of_wrong_shape_are_refused_by_place(messages: Any, says: str) -> None:
    with pytest.raises(mw.InvalidRequest, match=says):
        mw.RoutingRequest(messages=messages)


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.mark.parametrize(
    ("messages", "prompt", "images"),
    [
        ([], "", 0),
        ((), "", 0),
        ([{}], "", 0),
        ([{"role": "user", "content": "hi"}], "hi", 0),
        ([{"role": "user", "content": None}], "", 0),
        ([{"role": "user"}], "", 0),
        ([{"content": "hi"}], "", 0),
        ([{"role": "system", "content": "hi"}], "", 0),
        ([{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}], "one", 0),
        ([{"role": "user", "content": "one"}, {"role": "user", "content": "two"}], "two", 0),
        ([{"role": "user", "content": [{"type": "text", "text": "a"}, IMAGE, {"text": "b"}]}], "a\nb", 1),
        ([{"role": "user", "content": [IMAGE]}, {"role": "user", "content": "and now?"}], "and now?", 1),
        ([{"role": "user", "content": [5, None, "hi", {"text": 5}, {}]}], "", 0),
        ([UserDict(role="user", content="hi")], "hi", 0),
        (iter([{"role": "user", "content": "hi"}]), "hi", 0),
        ([{"role": "user", "content": "a\ud800b"}], "a\ufffdb", 0),
        ([{"role": 5, "content": "hi"}], "", 0),
    ],
)
def test_messages_of_all_shapes(messages: Any, prompt: str, images: int) -> None:
    request = mw.RoutingRequest(messages=messages)
    assert (request.prompt, request.images) == (prompt, images)


def test_images_in_messages_and_beside_them_add_up_and_take_room() -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": "look"}, IMAGE]}]
    request = mw.RoutingRequest(messages=messages, images=2)
    assert request.images == 3
    without = mw.RoutingRequest(messages=[{"role": "user", "content": "look"}])
    assert request.context_tokens > without.context_tokens + 200
    assert mw.RoutingRequest(messages=messages, context_tokens=7).context_tokens == 7


def test_an_error_while_messages_are_read_is_passed_on() -> None:
    def broken() -> Any:
        yield {"role": "user", "content": "hi"}
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        mw.RoutingRequest(messages=broken())


# --- the router's arguments ---


@pytest.mark.parametrize("request_", [None, 5, b"hi", ["hi"], {"prompt": "hi"}, mw.TaskClass.General])
def test_select_takes_text_or_a_request(router: mw.ModelRouter, request_: Any) -> None:
    with pytest.raises(TypeError, match="a request is a str or a RoutingRequest, not "):
        router.select(request_)


@pytest.mark.parametrize("text", [None, 5, b"hi", ["hi"]])
def test_classify_takes_text(router: mw.ModelRouter, text: Any) -> None:
    with pytest.raises(TypeError):
        router.classify(text)


@pytest.mark.parametrize("name", ["c", "", "\ud800", "A", "first ", "a\0", LONG_NAME, "auto"])
@pytest.mark.parametrize("door", ["resolve", "health", "begin", "fallback_chain", "record_outcome", "select"])
def test_a_name_that_nothing_has_is_an_error_that_shows_it_cut(router: mw.ModelRouter, door: str, name: str) -> None:
    arguments: dict[str, tuple[Any, ...]] = {
        "select": (mw.RoutingRequest("hi", model=name),),
        "record_outcome": (name, mw.RequestOutcome(True)),
    }
    with pytest.raises(mw.UnknownModel) as caught:
        getattr(router, door)(*arguments.get(door, (name,)))
    assert len(str(caught.value)) < 300
    assert caught.value.name == name.replace("\ud800", "\ufffd")[:80]
    assert isinstance(caught.value, LookupError)


def test_m07_lone_surrogates_are_read_as_replacement_characters(router: mw.ModelRouter) -> None:
    assert router.select("\ud800 write a Python function \udfff").task == "code"
    assert mw.RoutingRequest("\ud800\udc00").prompt == "\ufffd\ufffd", "one for one"


@pytest.mark.parametrize("attempt", [-1, 2**64, HUGE])
def test_a_number_that_is_no_attempts_is_refused(router: mw.ModelRouter, attempt: int) -> None:
    with pytest.raises(OverflowError):
        router.record_outcome("a", mw.RequestOutcome(True), attempt)


# --- RequestOutcome ---


@pytest.mark.parametrize("field", ["ttft_ms", "duration_ms", "retry_after_s"])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "5", True, HUGE])
def test_an_outcome_refuses_what_is_no_duration(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{field} must be"):
        mw.RequestOutcome(True, **{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [-1, 1.5, True, HUGE, "5"])
def test_an_outcome_refuses_what_is_no_number_of_tokens(value: object) -> None:
    with pytest.raises(ValueError, match=r"^tokens must be"):
        mw.RequestOutcome(True, tokens=value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("success", "kind", "says"),
    [
        (True, "connect", 'success=True does not go with kind="connect"'),
        (False, "success", 'success=False does not go with kind="success"'),
        (False, "conect", 'no outcome is called "conect"; there are success, connect'),
        (False, "", "no outcome is called"),
    ],
)
def test_an_outcome_that_contradicts_itself_is_refused(success: bool, kind: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        mw.RequestOutcome(success, kind=kind)


def test_an_outcome_is_what_was_said() -> None:
    outcome = mw.RequestOutcome(True, ttft_ms=5, duration_ms=10.5, tokens=3, retry_after_s=0)
    assert (outcome.success, outcome.kind, outcome.ttft_ms, outcome.duration_ms) == (True, "success", 5.0, 10.5)
    assert (outcome.tokens, outcome.retry_after_s) == (3, 0.0)
    assert mw.RequestOutcome(False).kind == "server_error"
