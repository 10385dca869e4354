"""What the classifier answers for many texts at once: the product's own code, with the weights one names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelway._core import CoreRouter
from modelway.config import Config
from modelway.config.settings import resolve
from modelway.learn.calibration import HIGHEST_SCORE, UNSURE
from modelway.learn.features import FeatureSpace
from modelway.learn.measures import Floats, Ints
from modelway.learn.rows import LABELS
from modelway.learn.weights import Weights, threshold_of
from modelway.router import for_core


class Readings(NamedTuple):
    """The answers for n texts; labels are positions in ``LABELS``."""

    answers: Ints
    """The label served, after abstention."""
    scores: Floats
    """Calibrated probabilities before abstention, shape (n, labels)."""
    complexity: Floats
    unsure: NDArray[np.bool_]
    """Where the classifier abstained."""


#: Reads texts with the threshold given, or with the one of the weights.
Reader = Callable[[Sequence[str], float | None], Readings]


def core_for(config: Config, weights: bytes | None = None, threshold: float | None = None) -> CoreRouter:
    """A router with the configuration's keywords, weights and threshold, the latter two replaced where given."""
    return CoreRouter(_settings(config, weights, threshold))


def read(
    config: Config, texts: Sequence[str], weights: bytes | None = None, threshold: float | None = None
) -> Readings:
    """What the classifier answers for ``texts``; the arguments are those of ``core_for``."""
    settings = _settings(config, weights, threshold)
    batch = CoreRouter(settings).classify_many(texts)
    columns = [batch.task_names.index(label) for label in LABELS]
    label_of = np.zeros(len(batch.task_names), dtype=np.intp)
    label_of[columns] = np.arange(len(LABELS))
    scores = batch.scores[:, columns]
    return Readings(
        answers=label_of[batch.tasks],
        scores=scores.astype(np.float64),
        complexity=batch.complexity.astype(np.float64),
        unsure=scores.max(axis=1, initial=0) < np.float32(_threshold(settings)),
    )


def prior_of(config: Config, texts: Sequence[str]) -> Floats:
    """What words and structure add to the scores of weights, for each text and label, up to a constant a text."""
    space = FeatureSpace.of_core()
    silent = read(config, texts, Weights.blank(space).to_bytes(HIGHEST_SCORE, space))
    return np.log(np.maximum(silent.scores, np.finfo(np.float32).tiny))


def _settings(config: Config, weights: bytes | None, threshold: float | None) -> dict[str, Any]:
    changed: dict[str, Any] = {"weights": weights, "threshold": threshold}
    return for_core(resolve(config)) | {key: value for key, value in changed.items() if value is not None}


def _threshold(settings: dict[str, Any]) -> float:
    """The threshold in force: that of the settings, else of their weights, else of the shipped ones."""
    if settings["threshold"] is not None:
        return float(settings["threshold"])
    return UNSURE if settings["weights"] is None else threshold_of(settings["weights"])


def reader(config: Config, weights: bytes | None = None) -> Reader:
    """Reads with ``weights``, or with those that ``config`` has in force."""

    def read_all(texts: Sequence[str], threshold: float | None = None) -> Readings:
        return read(config, texts, weights, threshold)

    return read_all


def reader_of_folds(config: Config, weights: Sequence[bytes], fold: Ints) -> Reader:
    """Reads the text at each position with the weights of that position's fold."""

    def read_all(texts: Sequence[str], threshold: float | None = None) -> Readings:
        joined = Readings(
            np.zeros(len(texts), np.intp),
            np.zeros((len(texts), len(LABELS))),
            np.zeros(len(texts)),
            np.zeros(len(texts), np.bool_),
        )
        for number, blob in enumerate(weights):
            places = np.flatnonzero(fold == number)
            part = read(config, [texts[int(place)] for place in places], blob, threshold)
            for whole, values in zip(joined, part, strict=True):
                whole[places] = values
        return joined

    return read_all
