"""The recipe: labelled prompts in, weights out, with the scores that each row has from weights that never saw it.

Classes are not balanced: how often each comes in the rows is what the classifier expects to meet.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from modelway.errors import ModelwayError
from modelway.learn.calibration import Calibration, calibrated
from modelway.learn.duplicates import FOLDS
from modelway.learn.features import FeatureSpace
from modelway.learn.measures import Floats, Ints, Truth
from modelway.learn.regression import Penalty, Singles, fit
from modelway.learn.rows import DEEP, GENERAL, LABELS, QUICK
from modelway.learn.weights import Weights

_ALSO = 0.15  # share of a target that goes to the other labels that would be accepted
_LABELS_PENALTY = Penalty(l2=1e-5, power=0.25)
_HEAD_PENALTY = Penalty(l2=1e-4, power=0.35)
_HEAD_DEEP = 10.0  # weight of a deep row in the head of complexity: they are few
_HEAD_ALSO = 0.5  # target of a general row that might be called deep


class TrainingError(ModelwayError):
    """Rows that no classifier can be trained on, or weights that are no better than the present ones."""


@dataclass(frozen=True)
class Corpus:
    """Rows to train on; all arrays have one entry a row."""

    features: sparse.csr_array
    truth: Truth
    fold: Ints
    prior: Floats
    """What words and structure add to the calibrated scores, shape (rows, labels)."""
    weight: Floats
    """How much a row counts; 0: only measured."""
    bag: Ints
    """Rows of one bag train one model together with those in no bag (-1); the models are averaged."""
    typical: NDArray[np.bool_]
    """Rows that are like what will be asked: they alone calibrate, and teach complexity."""

    @property
    def bags(self) -> range:
        """The numbers of the bags; one where rows are in none."""
        return range(max(1, int(self.bag.max()) + 1))


@dataclass(frozen=True)
class Trained:
    """``weights``: the file, trained on all rows. ``by_fold``: for each fold the file trained without it."""

    weights: bytes
    by_fold: tuple[bytes, ...]


def train(corpus: Corpus) -> Trained:
    """Train on all rows, calibrated out of fold. Raises ``TrainingError`` where a part of them has one class only."""
    space = FeatureSpace.of_core()
    first, typical = corpus.truth.first, corpus.typical
    scores = np.zeros((len(first), len(LABELS) + 1))
    models = []
    for fold in range(FOLDS):
        models.append(fit_weights(corpus, corpus.fold != fold, space))
        held = corpus.fold == fold
        scores[held] = models[-1].scores(corpus.features[held])
    by_fold = []
    for fold, model in enumerate(models):
        others = typical & (corpus.fold != fold)  # a fold's own rows must not set what is measured on them
        by_fold.append(model.to_bytes(calibrated(scores[others], corpus.prior[others], first[others]), space))
    whole = fit_weights(corpus, np.ones(len(first), np.bool_), space)
    return Trained(
        whole.to_bytes(calibrated(scores[typical], corpus.prior[typical], first[typical]), space), tuple(by_fold)
    )


def train_uncalibrated(corpus: Corpus, chosen: NDArray[np.bool_], calibration: Calibration) -> bytes:
    """The file trained on the rows ``chosen``, with a calibration from elsewhere."""
    space = FeatureSpace.of_core()
    return fit_weights(corpus, chosen, space).to_bytes(calibration, space)


def fit_weights(corpus: Corpus, chosen: NDArray[np.bool_], space: FeatureSpace) -> Weights:
    """Weights from the rows ``chosen``. Raises ``TrainingError`` where they have one class only."""
    chosen = chosen & (corpus.weight > 0)
    if len(np.unique(corpus.truth.first[chosen])) < 2:
        raise TrainingError(
            "the rows left to train on have one label or none; add rows of other labels that are no near-duplicates"
        )
    shape = (corpus.features.shape[1], len(LABELS))
    weights, bias = np.zeros(shape, np.float32), np.zeros(shape[1], np.float32)
    for bag in corpus.bags:
        part = chosen & ((corpus.bag < 0) | (corpus.bag == bag))
        of_bag, bias_of_bag = fit(
            corpus.features[part],
            _targets(corpus.truth.part(part)),
            corpus.weight[part],
            _LABELS_PENALTY,
            space.buckets,
        )
        weights += of_bag / len(corpus.bags)
        bias += bias_of_bag / len(corpus.bags)
    head, head_bias = _fit_head(corpus, chosen, space)
    return Weights.of(np.hstack([weights, head]), np.append(bias, head_bias), space)


def _targets(truth: Truth) -> Singles:
    """Probabilities to be learned: the label, with a share for the others that would be accepted."""
    others = truth.accepted.sum(1) - 1
    targets = truth.accepted * (_ALSO / np.maximum(others, 1))[:, None]
    targets[np.arange(len(others)), truth.first] = np.where(others > 0, 1 - _ALSO, 1.0)
    rounded: Singles = targets.astype(np.float32)
    return rounded


def _fit_head(corpus: Corpus, chosen: NDArray[np.bool_], space: FeatureSpace) -> tuple[Singles, np.float32]:
    """One column of weights that tells deep prompts from quick and general ones, and its bias.

    Of its own because deep is no topic: as a seventh class it ranks difficulty worse.
    """
    first = corpus.truth.first
    part = chosen & corpus.typical & np.isin(first, (QUICK, DEEP, GENERAL))
    if not part.any():
        return np.zeros((corpus.features.shape[1], 1), np.float32), np.float32(0)
    of_part = corpus.truth.part(part)
    maybe = (of_part.first == GENERAL) & of_part.accepted[:, DEEP]
    deep = np.where(of_part.first == DEEP, 1.0, np.where(maybe, _HEAD_ALSO, 0.0))
    weight = np.where(of_part.first == DEEP, _HEAD_DEEP, 1.0)
    targets = np.stack([deep, 1 - deep], axis=1).astype(np.float32)
    weights, bias = fit(corpus.features[part], targets, weight, _HEAD_PENALTY, space.buckets)
    return weights[:, :1] - weights[:, 1:], bias[0] - bias[1]
