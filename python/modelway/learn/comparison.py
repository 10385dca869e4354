"""Weights of one's own against those in force, on the same rows, each row read by weights that never saw it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelway.config import Config
from modelway.learn.duplicates import assign_folds
from modelway.learn.measures import Truth, accuracy, calibration_error
from modelway.learn.reading import Reader, reader, reader_of_folds, weights_in_force
from modelway.learn.rows import Row
from modelway.learn.training import MAX_STEPS, Corpus, TrainingError, best_steps, held_aside, train

MIN_ROWS = 50  # below, a fold is a handful, and chance decides which classifier looks better


@dataclass(frozen=True)
class Candidate:
    """New weights, and how they stand against those in force."""

    weights: bytes
    report: dict[str, Any]
    """``n``, ``steps``, and ``strict``, ``lenient``, ``macro_f1``, ``ece`` of ``present`` and of ``trained``, out of
    fold."""

    @property
    def is_better(self) -> bool:
        """Whether more first labels are right than with the weights in force."""
        return bool(self.report["trained"]["strict"] > self.report["present"]["strict"])


def train_candidate(
    config: Config, rows: Sequence[Row], seed: int = 0, *, from_scratch: bool = False, threads: int | None = None
) -> Candidate:
    """Train on ``rows`` and compare with the weights that ``config`` has in force.

    Training starts from those weights, or ``from_scratch``. ``seed`` draws the folds. Raises ``TrainingError`` for
    rows that nothing can be learned from.
    """
    if len(rows) < MIN_ROWS:
        raise TrainingError(f"{len(rows)} rows are too few to train on and to compare; give at least {MIN_ROWS}")
    start = None if from_scratch else weights_in_force(config)
    fold = assign_folds(rows, seed)
    corpus = Corpus.of(config, rows, fold)
    steps = best_steps(corpus, held_aside(rows, fold), start, threads)
    trained = train(corpus, start, steps, threads)
    out_of_fold = reader_of_folds(config, trained.by_fold, fold)
    report = {
        "n": len(rows),
        "steps": steps,
        "present": _measured(rows, reader(config)),
        "trained": _measured(rows, out_of_fold),
    }
    return Candidate(trained.weights, report)


def _measured(rows: Sequence[Row], read: Reader) -> dict[str, float]:
    truth = Truth.of(rows)
    readings = read([row.text for row in rows], None)
    return {**accuracy(readings.answers, truth), "ece": calibration_error(readings.scores, truth.first)}


def leave_one_family_out(config: Config, rows: Sequence[Row], families: Sequence[str]) -> dict[str, Any]:
    """How weights do on each family of sources (``families``: that of each row) after training on all the others.

    Accuracy pooled over all rows, and ``by_family``. A split within a source says how well a model knows the
    source; this says what it makes of one it has not met.
    """
    corpus, truth = Corpus.of(config, rows, np.zeros(len(rows), np.intp)), Truth.of(rows)
    of_row = np.array(families)
    answers = np.zeros(len(rows), np.intp)
    by_family = {}
    for family in np.unique(of_row):
        held = of_row == family
        weights = corpus.train(~held, None, MAX_STEPS)
        answers[held] = reader(config, weights)(
            [row.text for row, out in zip(rows, held, strict=True) if out], None
        ).answers
        by_family[str(family)] = {"n": int(held.sum()), **accuracy(answers[held], truth.part(held))}
    return {"n": len(rows), **accuracy(answers, truth), "by_family": by_family}
