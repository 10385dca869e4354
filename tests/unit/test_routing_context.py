"""Structure outranks words: what programs wrap round a prompt, what they ask by themselves, what was said before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import modelway as mw

DATA = Path(__file__).parents[1] / "data"
CODE = "Write a Rust function to parse JSON"


def rows(table: str) -> list[Any]:
    lines = [json.loads(line) for line in (DATA / f"{table}.jsonl").read_text(encoding="utf-8").splitlines()]
    return [pytest.param(row, id=row["id"]) for row in lines]


@pytest.fixture(scope="module")
def router() -> mw.ModelRouter:
    return mw.ModelRouter(mw.load_config(DATA / "design_defaults.toml"))


def said(*turns: str) -> list[dict[str, str]]:
    """Messages of the user and of the model in turn."""
    return [{"role": ("user", "assistant")[index % 2], "content": turn} for index, turn in enumerate(turns)]


@pytest.mark.parametrize("row", rows("conversations"))
def test_m13_m14_a_follow_up_stays_and_a_wish_of_its_own_moves(router: mw.ModelRouter, row: dict[str, Any]) -> None:
    decision = router.select(mw.RoutingRequest(messages=said(*row["turns"])))
    assert decision.task == row["task"], (str(decision.reason), decision.scores)
    assert decision.model == router.settings.defaults[row["task"]]
    if "reason" in row:
        assert decision.reason == row["reason"]


@pytest.mark.parametrize("row", rows("background"))
def test_what_clients_ask_by_themselves_is_quick(router: mw.ModelRouter, row: dict[str, Any]) -> None:
    messages = [{"role": "system", "content": row.get("system", "")}, {"role": "user", "content": row["prompt"]}]
    decision = router.select(mw.RoutingRequest(messages=messages))
    is_background = decision.reason == "structure" and not decision.scores
    assert is_background == row["background"]
    if is_background:
        assert (decision.task, decision.confidence) == ("quick", 1.0)
        assert "the client asks for this by itself" in decision.explanation


@pytest.mark.parametrize("row", rows("wrappers"))
def test_the_users_own_words_are_read(router: mw.ModelRouter, row: dict[str, Any]) -> None:
    text = row["text"]
    own = text if row.get("whole") else row["own"]
    if own is None:
        return  # nothing but a program's: then all of it is read
    at = text.index(own) if own else 0
    reading, of_own = router.classify(text), router.classify(own)
    assert (reading.task, reading.scores, reading.complexity) == (of_own.task, of_own.scores, of_own.complexity)
    assert reading.evidence == tuple((at + start, at + end, *rest) for start, end, *rest in of_own.evidence)
    assert router.select(text).scores == of_own.scores


@pytest.mark.parametrize("name", ["system-reminder", "environment_details"])
@pytest.mark.parametrize("filler", ["poem and story\n", "詩 と 物語\n"])
def test_a_block_longer_than_what_is_looked_at_is_set_aside(router: mw.ModelRouter, name: str, filler: str) -> None:
    block = f"<{name}>\n{filler * 5_000}</{name}>"
    alone = router.classify(CODE).scores
    assert router.classify(f"{block}\n{CODE}").scores == alone
    assert router.classify(f"{CODE}\n{block}").scores == alone
    assert router.classify(f"<task>\n{CODE}\n</task>\n{block}").scores == alone
    assert router.classify(f"{block}\n<user_query>{CODE}</user_query>").scores == alone


def test_parts_of_one_message_are_lines_of_it(router: mw.ModelRouter) -> None:
    parts = ["<system-reminder>\nWrite a poem about the sea.\n</system-reminder>", CODE]
    content = [{"type": "text", "text": part} for part in parts]
    decision = router.select(mw.RoutingRequest(messages=[{"role": "user", "content": content}]))
    assert decision.scores == router.classify(CODE).scores


@pytest.mark.parametrize("file", ["selection", "own_prompts"])
def test_a_message_alone_is_read_as_its_text(router: mw.ModelRouter, file: str) -> None:
    for line in (DATA / f"{file}.jsonl").read_text(encoding="utf-8").splitlines():
        text = json.loads(line)["text"]
        alone = router.select(text)
        for request in (mw.RoutingRequest(text), mw.RoutingRequest(messages=said(text))):
            decision = router.select(request)
            assert (decision.task, decision.reason, decision.scores) == (alone.task, alone.reason, alone.scores), text


def test_a_prompt_is_asked_after_the_messages(router: mw.ModelRouter) -> None:
    request = mw.RoutingRequest("can you improve it?", messages=said(CODE, "Here it is."))
    assert request.prompt == "can you improve it?"
    decision = router.select(request)
    assert (decision.task, decision.reason) == ("code", "context")
    assert "follows up on what came before, which is about code" in decision.explanation


def test_the_scores_of_a_follow_up_are_a_blend(router: mw.ModelRouter) -> None:
    decision = router.select(mw.RoutingRequest(messages=said(CODE, "Here it is.", "why?")))
    before, own = router.classify(CODE), router.classify("why?")
    for task, score in decision.scores.items():
        assert score == pytest.approx(0.75 * before.scores[task] + 0.25 * own.scores[task], abs=1e-5)
    assert decision.confidence == decision.scores["code"]
    assert decision.complexity == pytest.approx(0.75 * before.complexity + 0.25 * own.complexity, abs=1e-5)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"task": "math"}, "explicit_task"), ({"model": "phi3:mini"}, "explicit_model")],
)
def test_the_callers_word_wins_over_the_conversation(
    router: mw.ModelRouter, fields: dict[str, str], reason: str
) -> None:
    request = mw.RoutingRequest(messages=said(CODE, "Here it is.", "why?"), **fields)  # type: ignore[arg-type]
    assert router.select(request).reason == reason


def test_tools_win_over_the_form_of_a_background_call(router: mw.ModelRouter) -> None:
    messages = [{"role": "system", "content": "You are a title generator."}, *said("hi")]
    toml = '[[models]]\nid = "m"\nsupports_tools = true'
    decision = mw.ModelRouter(mw.Config.from_toml(toml)).select(mw.RoutingRequest(messages=messages, tools=True))
    assert decision.task == "tool_use"


@pytest.mark.parametrize("role", ["system", "developer"])
def test_the_developers_message_is_a_system_message(router: mw.ModelRouter, role: str) -> None:
    messages = [{"role": role, "content": "You are a title generator. You output ONLY a thread title."}, *said(CODE)]
    assert router.select(mw.RoutingRequest(messages=messages)).task == "quick"


turns = st.lists(st.one_of(st.text(max_size=40), st.sampled_from([CODE, "why?", "thanks", "new topic"])), max_size=7)


@settings(derandomize=True, deadline=None, max_examples=150, database=None)
@given(turns=turns)
def test_any_conversation_has_a_decision_and_a_sentence(router: mw.ModelRouter, turns: Sequence[str]) -> None:
    request = mw.RoutingRequest(messages=said(*turns))
    decision = router.select(request)
    assert decision.explanation
    assert sum(decision.scores.values()) == pytest.approx(1.0, abs=1e-5)
    assert "why?" not in repr(request)
