"""The figures of a report, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from modelway.learn.duplicates import FOLDS, assign_folds
from modelway.learn.evaluation import THRESHOLDS, evaluate
from modelway.learn.measures import Truth, accuracy, calibration_error, per_class, ranking
from modelway.learn.reading import Readings
from modelway.learn.rows import LABELS, Row

QUICK, DEEP, CODE, GENERAL = 0, 1, 2, 6


def row(label: int, also: tuple[int, ...] = (), lang: str = "en", text: str = "x") -> Row:
    return Row(text, label, also, lang, "s", text)


TRUTH = Truth.of([row(QUICK), row(QUICK, (GENERAL,)), row(CODE), row(GENERAL)])
ANSWERS = np.array([QUICK, GENERAL, CODE, CODE])


def test_accuracy() -> None:
    # F1: quick 2/3, code 2/3, general 0; the labels that never occur do not count.
    assert accuracy(ANSWERS, TRUTH) == pytest.approx({"strict": 0.5, "lenient": 0.75, "macro_f1": 4 / 9})


def test_per_class() -> None:
    found = per_class(ANSWERS, TRUTH)
    assert list(found) == ["quick", "code", "general"]
    assert found["quick"] == pytest.approx({"n": 2, "precision": 1.0, "recall": 0.5, "f1": 2 / 3})
    assert found["code"] == pytest.approx({"n": 1, "precision": 0.5, "recall": 1.0, "f1": 2 / 3})
    assert found["general"] == pytest.approx({"n": 1, "precision": 0.0, "recall": 0.0, "f1": 0.0})


def one_hot(label: int, top: float) -> list[float]:
    rest = (1 - top) / (len(LABELS) - 1)
    return [top if of == label else rest for of in range(len(LABELS))]


@pytest.mark.parametrize(
    ("top", "right", "error"),
    [
        (0.8, [True] * 8 + [False] * 2, 0.0),
        (0.8, [True] * 5 + [False] * 5, 0.3),
        (1.0, [False] * 10, 1.0),
    ],
)
def test_calibration_error_of_one_confidence(top: float, right: list[bool], error: float, monkeypatch) -> None:
    monkeypatch.setattr("modelway.learn.measures.BINS", 1)
    scores = np.array([one_hot(CODE, top)] * len(right))
    labels = np.where(right, CODE, QUICK)
    assert calibration_error(scores, labels) == pytest.approx(error)


def test_bins_are_of_equal_mass() -> None:
    # 10 doubtful prompts that are all right and 20 sure ones that are all wrong: no bin of two mixes them.
    scores = np.array([one_hot(CODE, 0.6)] * 10 + [one_hot(CODE, 0.9)] * 20)
    labels = np.array([CODE] * 10 + [QUICK] * 20)
    assert calibration_error(scores, labels) == pytest.approx((10 * 0.4 + 20 * 0.9) / 30)


@pytest.mark.parametrize(
    ("higher", "lower", "area"),
    [([2, 3], [0, 1], 1.0), ([0, 1], [2, 3], 0.0), ([1], [1], 0.5), ([1, 3], [2], 0.5), ([2, 2], [1, 2], 0.75)],
)
def test_ranking(higher: list[float], lower: list[float], area: float) -> None:
    assert ranking(np.array(higher, float), np.array(lower, float)) == pytest.approx(area)


def test_ranking_needs_both_sides() -> None:
    assert ranking(np.array([]), np.array([1.0])) is None


def read_by_first_letter(texts, threshold) -> Readings:
    """A classifier that goes by the case of the first letter, and is unsure below 0.5."""
    answers = np.array([CODE if text[:1].isupper() else GENERAL for text in texts])
    scores = np.array([one_hot(answer, 0.5) for answer in answers])
    return Readings(answers, scores, np.linspace(0, 1, len(texts)), scores.max(1) < (threshold or 0.35))


def test_evaluate_reports_everything() -> None:
    rows = [
        row(CODE, text="Write a loop"),
        row(GENERAL, lang="fr", text="pourquoi pas"),
        row(GENERAL, lang="fr", text="Comment ça marche"),
        row(DEEP, text="weigh these"),
    ]
    report = evaluate(rows, read_by_first_letter)
    assert report == evaluate(rows, read_by_first_letter)
    assert report["n"] == 4
    assert report["strict"] == 0.5
    assert set(report["per_language"]) == {"en", "fr"}
    assert report["per_language"]["fr"]["strict"] == 0.5
    assert [at["threshold"] for at in report["by_threshold"]] == list(THRESHOLDS)
    assert [at["unsure"] for at in report["by_threshold"]] == [0.0 if at <= 0.5 else 1.0 for at in THRESHOLDS]
    assert report["unsure"] == 0.0
    assert report["complexity_auc"] == {"general_deep": 1.0, "quick_deep": None}
    assert report["flips_by_edit"]["typo"] == 0.0
    assert report["flips_by_edit"]["case"] > 0.0
    assert report["flip_rate"] == pytest.approx(np.mean(list(report["flips_by_edit"].values())))


WORDS = [
    "river", "stone", "castle", "butter", "window", "market", "engine",
    "pepper", "violin", "harbour", "copper", "meadow", "lantern", "ticket",
]  # fmt: skip


def sentence(number: int) -> str:
    chosen = np.random.default_rng(number).permutation(WORDS)[:9]
    return " ".join(chosen)


def test_folds_are_used_evenly_and_drawn_by_the_seed() -> None:
    rows = [row(CODE, text=sentence(number)) for number in range(300)]
    fold = assign_folds(rows)
    assert set(fold) == set(range(FOLDS))
    assert np.bincount(fold).min() > 30
    assert (assign_folds(rows) == fold).all()
    assert (assign_folds(rows, seed=1) != fold).any()


def test_near_duplicates_share_a_fold() -> None:
    texts = [sentence(number) for number in range(60)]
    copies = [f"  {text.upper()}!" for text in texts]
    fold = assign_folds([row(CODE, text=text) for text in (*texts, *copies)])
    assert (fold[:60] == fold[60:]).all()


@pytest.mark.parametrize("text", ["a", "!?", "日本", "😀"])
def test_any_text_has_a_fold(text: str) -> None:
    assert assign_folds([row(CODE, text=text)])[0] in range(FOLDS)
