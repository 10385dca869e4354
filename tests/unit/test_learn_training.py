"""Training: which rows teach, what is learned, and that the same rows give the same weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelway._core import CoreRouter, TrainingSet, shipped_weights, silent_weights
from modelway.config import Config
from modelway.learn.comparison import leave_one_family_out, train_candidate
from modelway.learn.duplicates import FOLDS, assign_folds
from modelway.learn.reading import core_for, read
from modelway.learn.rows import LABELS, Row, read_rows
from modelway.learn.training import MAX_STEPS, Corpus, TrainingError, best_steps, held_aside, train

CODE, MATH, CREATIVE, GENERAL = (LABELS.index(name) for name in ("code", "math", "creative", "general"))
#: Prompts in words that no one else uses: math where zorbing stands, creative where quaxing does; three sources.
OWN = read_rows([Path(__file__).parents[1] / "data/own_prompts.jsonl"])
ALL = np.ones(len(OWN), np.bool_)


def corpus_of(rows: list[Row]) -> Corpus:
    return Corpus.of(Config(), rows, assign_folds(rows))


def some(source: str, label: int, text: str = "x") -> Row:
    return Row(text, label, (), "en", source, text)


def test_the_core_scores_as_training_does() -> None:
    corpus = corpus_of(OWN)
    weights = corpus.train(ALL, None, 10)
    scores = corpus.scores(weights, ALL)[:, :-1].astype(np.float64)
    # No label is further than 6 behind the likeliest before the prior is added.
    logits = np.log(corpus.prior) - np.minimum(scores.max(1, keepdims=True) - scores, 6)
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    readings = read(Config(), [row.text for row in OWN], weights)
    assert readings.scores == pytest.approx(expected, abs=1e-4)
    assert (readings.answers == expected.argmax(1)).all(), "weights that are not calibrated are followed"


@pytest.mark.parametrize("start", [None, shipped_weights()], ids=["from scratch", "from the shipped"])
def test_the_bytes_are_the_same_whatever_the_threads(start: bytes | None) -> None:
    corpus = corpus_of(OWN)
    one, two, three = (train(corpus, start, 20, threads) for threads in (1, 2, 3))
    assert one == two == three
    assert len({one.weights, *one.by_fold}) == 1 + FOLDS


def test_a_candidate_knows_what_only_its_rows_teach() -> None:
    candidate = train_candidate(Config(), OWN)
    assert candidate.report["n"] == 80
    assert 1 <= candidate.report["steps"] <= MAX_STEPS
    assert candidate.report["present"]["strict"] < 0.5 < 0.9 < candidate.report["trained"]["strict"]
    assert candidate.is_better
    core = core_for(Config(), candidate.weights)
    assert isinstance(core, CoreRouter)
    assert str(core.classify("quaxing the copper violin").task) == "creative"


def test_what_the_present_weights_know_is_kept_but_from_scratch() -> None:
    known = "Write a Python function that reverses a string"
    kept, lost = (train_candidate(Config(), OWN, from_scratch=scratch).weights for scratch in (False, True))
    assert core_for(Config(), kept).classify(known).task == "code"
    assert core_for(Config(), lost).classify(known).scores["code"] < 0.5, "no row of it was code"


def test_what_is_expected_is_no_part_of_what_is_learned() -> None:
    expecting = Config.from_toml("[classifier]\npriors = { code = 0.9 }")
    fold = assign_folds(OWN)
    plain, shifted = (train(Corpus.of(config, OWN, fold), None, 5) for config in (Config(), expecting))
    assert plain == shifted


def test_a_row_of_more_weight_counts_more() -> None:
    text = "zorbing the copper violin"
    rows = [*OWN, some("own", CREATIVE, text)]

    def creative(weight: float) -> float:
        corpus = Corpus.of(Config(), rows, assign_folds(rows), weight=[1.0] * len(OWN) + [weight])
        weights = corpus.train(np.ones(len(rows), np.bool_), None, 30)
        return core_for(Config(), weights).classify(text).scores["creative"]

    assert creative(0) < creative(1) < creative(50)
    assert creative(50) > 0.5


def test_models_of_bags_are_averaged() -> None:
    bags = [number // 2 % 2 for number in range(len(OWN))]
    both = Corpus.of(Config(), OWN, assign_folds(OWN), bag=bags)
    alone = [np.array(bags) == bag for bag in (0, 1)]
    scores = both.scores(both.train(ALL, None, 10), ALL)
    single = Corpus.of(Config(), OWN, assign_folds(OWN))
    mean = sum(single.scores(single.train(part, None, 10), ALL) for part in alone) / 2
    # Each file has weights of 8 bits.
    assert scores[:, : len(LABELS)] == pytest.approx(mean[:, : len(LABELS)], abs=0.2)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (OWN[:20], "too few"),
        ([row._replace(label=CODE, also=()) for row in OWN], "one label"),
    ],
)
def test_rows_that_teach_nothing_are_refused(rows: list[Row], said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        train_candidate(Config(), rows)


def test_whole_sources_are_held_aside_in_groups_of_about_one_size() -> None:
    rows = [some(f"source-{number % 13}", number % 2) for number in range(130)]
    group = held_aside(rows, np.zeros(130, np.intp))
    assert len({(row.source, one) for row, one in zip(rows, group, strict=True)}) == 13
    assert sorted(np.bincount(group)) == [20, 20, 30, 30, 30]


@pytest.mark.parametrize(
    "rows",
    [
        [some("only", number % 2) for number in range(10)],
        [some(f"source-{number % 2}", (CODE, MATH)[number % 2]) for number in range(10)],
    ],
    ids=["one source", "a source that alone has its label"],
)
def test_folds_are_held_aside_where_sources_can_not_be(rows: list[Row]) -> None:
    fold = np.arange(10) % FOLDS
    assert (held_aside(rows, fold) == fold).all()


def test_training_stops_where_what_was_held_aside_is_known_best() -> None:
    corpus = corpus_of(OWN)
    learned = best_steps(corpus, corpus.fold, None)
    confused = [row._replace(label=MATH + number // 40) for number, row in enumerate(OWN)]  # as if by chance
    assert best_steps(corpus_of(confused), corpus.fold, None) < learned


def test_each_family_is_read_by_weights_of_the_others() -> None:
    report = leave_one_family_out(Config(), OWN, [row.source for row in OWN])
    assert report["n"] == 80
    assert {name: of["n"] for name, of in report["by_family"].items()} == {"team-0": 27, "team-1": 27, "team-2": 26}
    assert report["strict"] > 0.9


def test_a_family_that_alone_has_its_label_is_lost() -> None:
    rows = [
        *OWN,
        *(Row(f"gronking {noun}", GENERAL, (), "en", "own", noun) for noun in ("river", "stone", "castle", "butter")),
    ]
    report = leave_one_family_out(Config(), rows, [row.source for row in rows])
    assert report["by_family"]["own"]["strict"] == 0.0
    assert report["strict"] == pytest.approx(80 / 84, abs=0.2)


ROWS = np.arange(2, dtype="<u4").tobytes()
FACTS = (b"\0\1", b"\1\2", np.ones(2, "<f4").tobytes(), b"\xff\xff", b"\1\1", b"\0\5")


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        (0, b"\0"),
        (0, b"\0\7"),
        (1, b"\1\1"),
        (1, b"\1\x82"),
        (2, b"123"),
        (3, b""),
        (4, b"\1\1\1"),
        (5, b"\0"),
        (5, b"\0\6"),
    ],
)
def test_facts_that_do_not_fit_the_texts_are_refused(place: int, wrong: bytes) -> None:
    facts = [*FACTS]
    facts[place] = wrong
    with pytest.raises(ValueError, match=r"label|weights|grade"):
        TrainingSet(["a", "b"], *facts)


def test_numbers_that_do_not_fit_the_rows_are_refused() -> None:
    examples = TrainingSet(["a", "b"], *FACTS)
    assert len(examples) == 2
    with pytest.raises(ValueError, match="row 2 of 2"):
        examples.train(np.array([2], "<u4").tobytes(), steps=1)
    with pytest.raises(ValueError, match="damaged"):
        examples.train(ROWS, steps=1, base=silent_weights()[:-1])
    with pytest.raises(ValueError, match="priors is not 2 rows of 7"):
        examples.calibrated(silent_weights(), ROWS, bytes(64), bytes(28))
