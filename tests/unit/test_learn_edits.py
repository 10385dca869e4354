"""The edits of the flip rate: each leaves the prompt what it was, and a seed always draws the same."""

from __future__ import annotations

import re

import pytest

from modelway.learn.edits import EDITS, edited

PROMPT = "What's the capital of France, and why? Tell me in two sentences."
TEXTS = [PROMPT, "hi", "a, b", "", "日本の首都はどこですか", "😀", "x" * 5_000, "don't", " \n"]
SEEDS = range(25)


def outcomes(kind: str) -> set[str]:
    return {edited(PROMPT, kind, seed) for seed in SEEDS}


@pytest.mark.parametrize("kind", EDITS)
@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_any_text_can_be_edited_and_a_seed_draws_the_same(kind: str, text: str) -> None:
    assert [edited(text, kind, seed) for seed in SEEDS] == [edited(text, kind, seed) for seed in SEEDS]


@pytest.mark.parametrize("kind", EDITS)
def test_seeds_draw_different_edits(kind: str) -> None:
    assert len(outcomes(kind)) > 3


@pytest.mark.parametrize(
    ("kind", "bare"),
    [
        ("case", str.casefold),
        ("whitespace", lambda text: re.sub(r"\s+", " ", text).strip()),
        ("punctuation", lambda text: re.sub(r"[?.!,']", "", text)),
    ],
)
def test_only_what_the_kind_names_is_changed(kind: str, bare) -> None:
    assert {bare(text) for text in outcomes(kind)} == {bare(PROMPT)}


def test_a_typo_is_in_the_middle_of_one_word() -> None:
    for text in outcomes("typo"):
        assert abs(len(text) - len(PROMPT)) <= 1
        changed = [(old, new) for old, new in zip(PROMPT.split(), text.split(), strict=True) if old != new]
        assert len(changed) <= 1
        assert all(old[0] == new[0] for old, new in changed)


def test_a_polite_prefix_keeps_the_prompt() -> None:
    for text in outcomes("polite prefix"):
        assert text.casefold().endswith(PROMPT.casefold())
        assert len(text) > len(PROMPT)


def test_short_words_have_no_typo() -> None:
    assert edited("is it so", "typo", 0) == "is it so"
