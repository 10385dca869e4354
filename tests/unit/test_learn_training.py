"""The parts of the recipe: minimising, calibrating, rounding, and the file that the core reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from modelway._core import CoreRouter
from modelway.config import Config
from modelway.learn.calibration import HIGHEST_SCORE, UNSURE, calibrated, probabilities
from modelway.learn.comparison import even_corpus, leave_one_family_out, train_candidate
from modelway.learn.features import FeatureSpace, feature_matrix
from modelway.learn.reading import core_for, read
from modelway.learn.regression import Penalty, fit, minimise
from modelway.learn.rows import LABELS, Row, read_rows
from modelway.learn.training import TrainingError, fit_weights, train
from modelway.learn.weights import Quantised

CODE, MATH, CREATIVE, GENERAL = (LABELS.index(name) for name in ("code", "math", "creative", "general"))
#: Prompts in words that no one else uses: math where zorbing stands, creative where quaxing does; three sources.
OWN = read_rows([Path(__file__).parents[1] / "data/own_prompts.jsonl"])


def test_minimise_finds_the_lowest_point() -> None:
    steep = np.array([1.0, 10.0, 100.0])
    lowest = np.array([3.0, -2.0, 0.5])

    def bowl(point):
        away = point - lowest
        return float((steep * away**2).sum()), 2 * steep * away

    assert minimise(bowl, np.zeros(3)) == pytest.approx(lowest, abs=1e-6)


def test_fit_learns_the_shares() -> None:
    features = sparse.csr_array(np.ones((4, 1), np.float32))
    targets = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], np.float32)
    weights, bias = fit(features, targets, np.ones(4), Penalty(l2=1e-3, power=0.0), unscaled_from=1)
    odds = np.exp((weights + bias)[0])
    assert odds / odds.sum() == pytest.approx([0.75, 0.25], abs=1e-3)


def test_a_column_that_no_row_has_stays_at_zero() -> None:
    features = sparse.csr_array(np.array([[1, 0, 0], [0, 0, 1]], np.float32))
    weights, _ = fit(features, np.eye(2, dtype=np.float32), np.ones(2), Penalty(1e-3, 0.25), unscaled_from=3)
    assert (weights[1] == 0).all()
    assert weights[0, 0] > 0 > weights[2, 0]


def drawn_scores(prior: np.ndarray, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and labels as likely as the scores over the temperature, with the prior, say."""
    count = len(prior)
    chance = np.random.default_rng(2)
    scores = chance.normal(0, 2, (count, len(LABELS) + 1))
    noise = chance.gumbel(0, 1, (count, len(LABELS)))
    return scores, (scores[:, :-1] / temperature + prior + noise).argmax(1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_temperature_is_found(temperature: float) -> None:
    prior = np.random.default_rng(4).normal(0, 1, (4_000, len(LABELS)))
    scores, labels = drawn_scores(prior, temperature)
    found = calibrated(scores, prior, labels)
    assert found.temperature == pytest.approx(temperature, rel=0.1)
    assert 0.5 < found.deep < 1
    assert found.unsure == UNSURE


def test_without_deep_rows_nothing_becomes_deep() -> None:
    prior = np.zeros((100, len(LABELS)))
    scores, labels = drawn_scores(prior, 1.0)
    assert calibrated(scores, prior, np.full_like(labels, GENERAL)).deep == 1.0


def test_rounding_keeps_half_a_step_and_clips_the_few_largest() -> None:
    weights = np.random.default_rng(3).normal(0, 1, (5_000, 1)).astype(np.float32)
    weights[0] = 1_000
    rounded = Quantised.of(weights)
    assert rounded.table[0] == 127
    inside = np.abs(weights) <= 127 * rounded.unit
    assert np.abs(rounded.weights() - weights)[inside].max() <= rounded.unit * 0.5001


def test_all_weights_zero_can_be_rounded() -> None:
    assert (Quantised.of(np.zeros((4, 2), np.float32)).table == 0).all()


def test_features_have_the_columns_of_the_space() -> None:
    space = FeatureSpace.of_core()
    matrix = feature_matrix(["hello there", ""])
    assert matrix.shape == (2, space.buckets + space.shape_columns)
    assert matrix[[1], : space.buckets].nnz == 0


def test_the_core_scores_as_training_does() -> None:
    config = Config()
    rows = [
        *OWN,
        Row("debug ```x = 1```", CODE, (), "en", "", ""),
        Row("a poem, please", MATH, (), "en", "", ""),
    ]
    corpus, space = even_corpus(config, rows), FeatureSpace.of_core()
    model = fit_weights(corpus, np.ones(len(rows), np.bool_), space)
    readings = read(config, [row.text for row in rows], model.to_bytes(HIGHEST_SCORE, space))
    expected = probabilities(model.scores(corpus.features)[:, :-1], corpus.prior, HIGHEST_SCORE.temperature)
    assert readings.scores == pytest.approx(expected, abs=1e-4)


def test_training_twice_gives_the_same_bytes() -> None:
    corpus = even_corpus(Config(), OWN)
    assert train(corpus) == train(corpus)


def test_a_candidate_knows_what_only_its_rows_teach() -> None:
    candidate = train_candidate(Config(), OWN)
    assert candidate.report["n"] == 80
    assert candidate.report["present"]["strict"] < 0.5 < 0.9 < candidate.report["trained"]["strict"]
    assert candidate.is_better
    core = core_for(Config(), candidate.weights)
    assert isinstance(core, CoreRouter)
    assert str(core.classify("quaxing the copper violin").task) == "creative"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (OWN[:20], "too few"),
        ([row._replace(label=CODE) for row in OWN], "one label"),
    ],
)
def test_rows_that_teach_nothing_are_refused(rows: list[Row], said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        train_candidate(Config(), rows)


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
    assert report["strict"] == pytest.approx(80 / 84, abs=0.05)
