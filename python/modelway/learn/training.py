"""Labelled prompts in, weights out, with what each row is read as by weights that never saw it.

The core fits and calibrates; here it is decided which rows teach and which are held aside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelway._core import TrainingSet
from modelway.config import Config
from modelway.errors import ModelwayError
from modelway.learn.duplicates import FOLDS
from modelway.learn.measures import Ints, Truth
from modelway.learn.reading import prior_of
from modelway.learn.rows import LABELS, Row

Bools = NDArray[np.bool_]
Singles = NDArray[np.float32]

MAX_STEPS = 60
"""Steps of the minimiser at most. After them the loss on rows held aside falls by no more than a hundredth; that on
sources held aside had its least before, or rises and falls about a level."""


class TrainingError(ModelwayError):
    """Rows that no classifier can be trained on, or weights that are no better than the present ones."""


@dataclass(frozen=True)
class Corpus:
    """Rows to train on; all arrays have one entry a row."""

    examples: TrainingSet
    truth: Truth
    fold: Ints
    weight: Singles
    """How much a row counts; 0: only measured."""
    prior: Singles
    """Probabilities by what words and structure say alone, shape (rows, labels)."""

    @classmethod
    def of(
        cls,
        config: Config,
        rows: Sequence[Row],
        fold: Ints,
        *,
        weight: Sequence[float] | None = None,
        bag: Sequence[int] | None = None,
        typical: Sequence[bool] | None = None,
        grade: Sequence[int] | None = None,
    ) -> Corpus:
        """``weight`` replaces that of the rows. Rows of one ``bag`` train one model together with those in none (-1,
        the default), and the models are averaged. ``typical``: those that are like what will be asked, by default
        all; they alone calibrate, and they teach complexity, as do those with a ``grade`` (1 to 5; 0: not known)."""
        texts = [row.text for row in rows]
        counts = np.array([row.weight for row in rows] if weight is None else weight, np.float32)
        examples = TrainingSet(
            texts,
            bytes(row.label for row in rows),
            bytes(sum(1 << label for label in row.accepted) for row in rows),
            counts.tobytes(),
            np.array([-1] * len(rows) if bag is None else bag, np.int8).tobytes(),
            bytes([True] * len(rows) if typical is None else typical),
            bytes([0] * len(rows) if grade is None else grade),
        )
        return cls(examples, Truth.of(rows), fold, counts, prior_of(config, texts))

    def train(self, chosen: Bools, start: bytes | None, steps: int, threads: int | None = None) -> bytes:
        """Weights from the rows ``chosen``, not calibrated, from nothing or better than those to ``start`` from.

        Raises ``TrainingError`` where the rows have one class only.
        """
        self._check(chosen)
        return self.examples.train(_places(chosen), steps=steps, base=start, threads=threads)

    def held_losses(self, held: Bools, start: bytes | None, threads: int | None = None) -> NDArray[np.float64]:
        """The loss on the rows ``held`` after each step of training with the others."""
        self._check(~held)
        losses = self.examples.held_losses(_places(~held), _places(held), steps=MAX_STEPS, base=start, threads=threads)
        return np.array(losses)

    def _check(self, chosen: Bools) -> None:
        if len(np.unique(self.truth.first[chosen & (self.weight > 0)])) < 2:
            raise TrainingError(
                "the rows left to train on have one label or none; add rows of other labels that are no near-duplicates"
            )

    def scores(self, weights: bytes, chosen: Bools) -> Singles:
        """Raw scores of the rows ``chosen``: labels and complexity, shape (rows, 8)."""
        scores = self.examples.scores(weights, _places(chosen))
        return np.frombuffer(scores, "<f4").reshape(-1, len(LABELS) + 1)

    def calibrated(self, weights: bytes, chosen: Bools, scores: Singles) -> bytes:
        """``weights`` calibrated on the rows ``chosen``, whose ``scores`` are from weights that had not seen them."""
        prior = np.ascontiguousarray(self.prior[chosen])
        return self.examples.calibrated(weights, _places(chosen), scores[chosen].tobytes(), prior.tobytes())


def _places(chosen: Bools) -> bytes:
    return np.flatnonzero(chosen).astype("<u4").tobytes()


@dataclass(frozen=True)
class Trained:
    """``weights``: the file, trained on all rows. ``by_fold``: for each fold the file trained without it."""

    weights: bytes
    by_fold: tuple[bytes, ...]


def train(corpus: Corpus, start: bytes | None, steps: int, threads: int | None = None) -> Trained:
    """Train on all rows, calibrated out of fold. Raises ``TrainingError`` where a part of them has one class only."""
    everything = np.ones(len(corpus.fold), np.bool_)
    scores = np.zeros((len(everything), len(LABELS) + 1), np.float32)
    models = []
    for fold in range(FOLDS):
        held = corpus.fold == fold
        models.append(corpus.train(~held, start, steps, threads))
        scores[held] = corpus.scores(models[-1], held)
    # A fold's own rows must not set what is measured on them.
    by_fold = (corpus.calibrated(model, corpus.fold != fold, scores) for fold, model in enumerate(models))
    whole = corpus.train(everything, start, steps, threads)
    return Trained(corpus.calibrated(whole, everything, scores), tuple(by_fold))


def best_steps(corpus: Corpus, group: Ints, start: bytes | None, threads: int | None = None) -> int:
    """After how many steps the loss on the rows of a ``group``, trained without them, is least over all groups."""
    losses = np.zeros(MAX_STEPS)
    for one in np.unique(group):
        held = group == one
        losses += corpus.held_losses(held, start, threads) * corpus.weight[held].sum()
    return int(losses.argmin()) + 1


def held_aside(rows: Sequence[Row], fold: Ints) -> Ints:
    """The group of each row that is held aside together: whole sources, in at most ``FOLDS`` groups of about one
    size; the folds where all rows are of one source, or where a group alone has a label."""
    sizes = Counter(row.source for row in rows)
    if len(sizes) < 2:
        return fold
    group_of: dict[str, int] = {}
    filled = [0] * min(FOLDS, len(sizes))
    for source, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        group_of[source] = filled.index(min(filled))
        filled[group_of[source]] += size
    group = np.array([group_of[row.source] for row in rows], np.intp)
    label = np.array([row.label for row in rows])
    spread = all(len(np.unique(group[label == one])) > 1 for one in np.unique(label))
    return group if spread else fold
