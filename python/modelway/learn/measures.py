"""How good answers are: accuracy, F1, calibration, ranking. Pure functions; a label is a position in ``LABELS``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelway.learn.rows import LABELS, Row

Ints = NDArray[np.intp]
Floats = NDArray[np.float64]

BINS = 15  # of equal mass: bins of equal width would be empty where few prompts are doubtful


class Truth(NamedTuple):
    """The labels of some rows."""

    first: Ints
    """The label of each row, shape (n,)."""
    accepted: NDArray[np.bool_]
    """Which labels are right, shape (n, labels)."""

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Truth:
        accepted = np.zeros((len(rows), len(LABELS)), dtype=np.bool_)
        for at, row in enumerate(rows):
            accepted[at, list(row.accepted)] = True
        return cls(np.array([row.label for row in rows], dtype=np.intp), accepted)

    def part(self, chosen: NDArray[np.bool_]) -> Truth:
        """The rows where ``chosen`` is true."""
        return Truth(self.first[chosen], self.accepted[chosen])


def accuracy(answers: Ints, truth: Truth) -> dict[str, float]:
    """``strict``: the first label; ``lenient``: any accepted one; ``macro_f1``: mean F1 of the labels that occur."""
    f1 = [of_class["f1"] for of_class in per_class(answers, truth).values()]
    return {
        "strict": float((answers == truth.first).mean()),
        "lenient": float(truth.accepted[np.arange(len(answers)), answers].mean()),
        "macro_f1": float(np.mean(f1)),
    }


def per_class(answers: Ints, truth: Truth) -> dict[str, dict[str, Any]]:
    """Precision, recall and F1 of every label that was given or answered, by name; ``n``: rows that have it."""
    measured = {}
    for label, name in enumerate(LABELS):
        hits = int(((answers == label) & (truth.first == label)).sum())
        given, wanted = int((answers == label).sum()), int((truth.first == label).sum())
        if given or wanted:
            measured[name] = {
                "n": wanted,
                "precision": hits / given if given else 0.0,
                "recall": hits / wanted if wanted else 0.0,
                "f1": 2 * hits / (given + wanted),
            }
    return measured


def calibration_error(scores: Floats, first: Ints) -> float:
    """Expected calibration error of the top probability, over ``BINS`` bins of equal mass.

    ``scores`` are probabilities before abstention, shape (n, labels).
    """
    top, right = scores.max(1), scores.argmax(1) == first
    bins = np.array_split(np.argsort(top, kind="stable"), min(BINS, len(top)))
    return float(sum(len(of_bin) * abs(top[of_bin].mean() - right[of_bin].mean()) for of_bin in bins) / len(top))


def ranking(higher: Floats, lower: Floats) -> float | None:
    """Area under the ROC curve: how often one of ``higher`` is above one of ``lower``, ties half; None: no pairs."""
    if not len(higher) or not len(lower):
        return None
    _, position, counts = np.unique(np.concatenate([higher, lower]), return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[position]
    above = rank[: len(higher)].sum() - len(higher) * (len(higher) + 1) / 2
    return float(above / (len(higher) * len(lower)))
