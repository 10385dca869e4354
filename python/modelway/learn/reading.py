"""What the classifier answers for many texts at once: the product's own code, with the weights one names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelway._core import CoreRouter, shipped_weights, silent_weights
from modelway.config import Config
from modelway.config.settings import resolve
from modelway.learn.measures import Floats, Ints
from modelway.learn.rows import LABELS
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
    changed: dict[str, Any] = {"weights": weights, "threshold": threshold}
    settings = for_core(resolve(config)) | {key: value for key, value in changed.items() if value is not None}
    return CoreRouter(settings)


def read(
    config: Config, texts: Sequence[str], weights: bytes | None = None, threshold: float | None = None
) -> Readings:
    """What the classifier answers for ``texts``; the arguments are those of ``core_for``."""
    batch = core_for(config, weights, threshold).classify_many(texts)
    assert batch.task_names == LABELS
    return Readings(
        answers=batch.tasks.astype(np.intp),
        scores=batch.scores.astype(np.float64),
        complexity=batch.complexity.astype(np.float64),
        unsure=batch.unsure,
    )


def prior_of(config: Config, texts: Sequence[str]) -> NDArray[np.float32]:
    """Probabilities by what words and structure say alone, shape (texts, labels), whatever is expected."""
    silent: dict[str, Any] = {"weights": silent_weights(), "threshold": None, "priors": []}
    return CoreRouter(for_core(resolve(config)) | silent).classify_many(texts).scores


def weights_in_force(config: Config) -> bytes:
    """The file of weights that ``config`` has in force."""
    own: bytes | None = for_core(resolve(config))["weights"]
    return shipped_weights() if own is None else own


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
