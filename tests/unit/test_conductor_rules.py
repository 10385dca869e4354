"""The conductor's pure rules: who is asked again and when, which deadline counts, what a seam is made of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelway.backends.base import ChatCall
from modelway.conductor.deadlines import request_deadlines
from modelway.conductor.failures import Failure
from modelway.conductor.retries import LONGEST_WAIT_S, Again, again, may_pass
from modelway.conductor.seam import SoFar, can_go_on, continued
from modelway.errors import BackendError, NoModelAvailable, QueueFull, RateLimited
from modelway.residency.load_time import learned_load_s

PASSING = ["connect", "reset", "server_error", "malformed", "empty", "interrupted", "busy", "rate_limited"]
LASTING = ["timeout", "missing", "rejected", "unauthorized"]


def failed(kind: str, lacks: str | None = None) -> BackendError:
    return BackendError("scripted", kind=kind, lacks=lacks)


@pytest.mark.parametrize(
    ("error", "passes"),
    [(failed(kind), True) for kind in PASSING]
    + [(failed(kind), False) for kind in LASTING]
    + [
        (failed("server_error", lacks="tools"), False),
        (NoModelAvailable("set aside"), False),
        (RateLimited("retries", limit="retries"), False),
        (QueueFull("full"), False),
    ],
    ids=str,
)
def test_only_what_may_be_over_in_a_moment_is_tried_again(error: Failure, passes: bool) -> None:
    assert may_pass(error) is passes


def choice(
    errors: dict[str, Failure],
    held: dict[str, float | None] | None = None,
    retries: int = 0,
    chance: float = 0.5,
    left_s: float | None = None,
) -> Again | None:
    return again(errors, lambda model: (held or {}).get(model, 0.0), retries=retries, chance=chance, left_s=left_s)


ONE: dict[str, Failure] = {"a": failed("reset")}
TWO: dict[str, Failure] = {"a": failed("reset"), "b": failed("busy")}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((ONE,), Again("a", 0.05)),
        ((TWO,), Again("a", 0.05)),
        (({"a": failed("timeout"), "b": failed("busy")},), Again("b", 0.05)),
        (({"a": failed("timeout")},), None),
        (({},), None),
        # full jitter under a doubled ceiling, 1 s at most
        ((ONE, {}, 0, 0.0), Again("a", 0.0)),
        ((ONE, {}, 1, 0.5), Again("a", 0.1)),
        ((ONE, {}, 3, 0.5), Again("a", 0.4)),
        ((ONE, {}, 4, 0.5), Again("a", 0.5)),
        ((ONE, {}, 900, 0.5), Again("a", 0.5)),
        # behind what the server asked for, where that is in time
        ((ONE, {"a": 2.0}), Again("a", 2.05)),
        ((ONE, {"a": 9.94}), Again("a", 9.99)),
        ((ONE, {"a": 9.95}), None),
        ((ONE, {"a": 9.95}, 0, 0.5, 60.0), Again("a", 10.0)),
        ((ONE, {"a": 1.0}, 0, 0.5, 1.0), None),
        ((ONE, {}, 0, 0.5, 0.05), None),
        ((ONE, {}, 0, 0.0, 0.0), None),
        ((TWO, {"a": 30.0}), Again("b", 0.05)),
        # a circuit that is open is not waited for
        ((ONE, {"a": None}), None),
        ((TWO, {"a": None}), Again("b", 0.05)),
    ],
)
def test_who_is_asked_again_and_after_what_pause(given: tuple, expected: Again | None) -> None:
    found = choice(*given)
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert found.model == expected.model
        assert found.pause_s == pytest.approx(expected.pause_s)


@given(
    retries=st.integers(0, 60),
    chance=st.floats(0, 1, exclude_max=True),
    hold_s=st.floats(0, 400),
    left_s=st.none() | st.floats(0, 400),
)
def test_a_pause_is_never_longer_than_jitter_and_hold_and_always_in_time(
    retries: int, chance: float, hold_s: float, left_s: float | None
) -> None:
    found = choice(ONE, {"a": hold_s}, retries, chance, left_s)
    jitter_s = chance * min(0.1 * 2**retries, 1.0)
    most_s = LONGEST_WAIT_S if left_s is None else left_s
    assert (found is not None) == (hold_s + jitter_s < most_s)
    if found is not None:
        assert hold_s <= found.pause_s <= hold_s + 1.0


@pytest.mark.parametrize(
    ("deadline_ms", "total_ms", "first_token", "total"),
    [
        (None, None, None, None),
        (500, None, (100.5, "the deadline of 500 ms"), None),
        (0.5, None, (100.0005, "the deadline of 0.5 ms"), None),
        (None, 2_000, (102.0, "the total deadline of 2000 ms (total_ms)"), 102.0),
        (500, 2_000, (100.5, "the deadline of 500 ms"), 102.0),
        (9_000, 2_000, (102.0, "the total deadline of 2000 ms (total_ms)"), 102.0),
    ],
)
def test_the_earlier_deadline_counts_until_the_first_token(
    deadline_ms: float | None, total_ms: int | None, first_token: tuple[float, str] | None, total: float | None
) -> None:
    deadlines = request_deadlines(100.0, deadline_ms, total_ms)
    first = deadlines.first_token
    assert (None if first is None else (first.at, first.name)) == first_token
    assert (None if deadlines.total is None else deadlines.total.at) == total


@pytest.mark.parametrize(
    ("average_ms", "longest_s"),
    [
        (None, None),
        (0.0, 30.0),
        (7_499.0, 30.0),
        (7_501.0, 30.004),
        (20_000.0, 80.0),
        (149_999.0, 599.996),
        (150_001.0, 600.0),
        (1e9, 600.0),
    ],
)
def test_a_load_may_take_four_times_its_average_within_bounds(
    average_ms: float | None, longest_s: float | None
) -> None:
    assert learned_load_s(average_ms, 120_000) == longest_s


CALL = ChatCall("m", "m", [{"role": "user", "content": "Tell a tale."}])


def test_a_continued_call_holds_the_answer_so_far_and_the_request_to_go_on() -> None:
    call = continued(CALL, "Once upon")
    assert [message["role"] for message in call.messages] == ["user", "assistant", "user"]
    assert call.messages[1]["content"] == "Once upon"
    assert "exactly where it stopped" in call.messages[2]["content"]
    assert len(CALL.messages) == 1


def test_without_text_there_is_nothing_to_repeat() -> None:
    assert continued(CALL, "") is CALL


@pytest.mark.parametrize(
    ("options", "so_far", "can"),
    [
        ({}, SoFar(["a"], has_begun=True), True),
        ({}, SoFar([], has_begun=True), True),
        ({}, SoFar(["a"], has_begun=True, has_tool_calls=True), False),
        ({"response_format": {"type": "json_object"}}, SoFar(["a"], has_begun=True), False),
    ],
)
def test_only_plain_text_can_be_gone_on_with(options: dict, so_far: SoFar, can: bool) -> None:
    assert can_go_on(ChatCall("m", "m", [], options), so_far) is can


def test_what_was_said_is_shown_in_no_repr() -> None:
    assert "canary" not in repr(SoFar(["canary"]))
