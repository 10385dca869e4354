"""The weights that find high-stakes questions, made anew from the labelled requests of the repository.

    python tools/train_stakes.py [--out WEIGHTS] [--measure]

Reads the rows of ``tests/data/stakes.jsonl`` whose ``half`` is ``tune``; ``hand`` tells who wrote a row. The lexicon
was written looking at the rows of ``LEXICON_HANDS`` alone. The shipped weights of the classifier tell how likely each
task is, so that these are made anew after those. Logistic regression with a penalty on the squares of the
weights, one a stake, minimised by L-BFGS. ``--measure`` prints precision and recall by label, each hand's rows read by
weights that the others trained, without the words that this hand alone has.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modelway._core import stakes_features
from modelway.learn.rows import LABELS

ROOT = Path(__file__).parents[1]
ROWS = ROOT / "tests/data/stakes.jsonl"
WEIGHTS = ROOT / "rust/modelway-core/src/classify/stakes/weights.bin"
STAKES = ("tax", "medical", "legal")
LEXICON_HANDS = range(1, 6)
BUCKETS = 30_720
WORD_COLUMNS = 4 * len(STAKES) + 2 + len(LABELS)
WIDTH = BUCKETS + WORD_COLUMNS

# Chosen on rows that neither weights nor words had seen: the penalties by the fifth hand, what is told by the half of
# later hands that is learned from.
PENALTY_NGRAMS = 1 / 64
PENALTY_WORDS = 1 / 20
LIKELY = -0.125
"""From this logit on a stake is told: what is missed costs more than a label too many."""
STEPS = 200
MEMORY = 10

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Matrix:
    """Sparse rows."""

    row: NDArray[np.intp]
    column: NDArray[np.intp]
    value: Doubles
    rows: int

    @classmethod
    def of(cls, texts: list[str], hands: list[int]) -> Matrix:
        batch = stakes_features(list(zip(texts, hands, strict=True)))
        begins = np.frombuffer(batch.indptr, "<i8")
        row = np.repeat(np.arange(len(texts)), np.diff(begins))
        column = np.frombuffer(batch.columns, "<u4").astype(np.intp)
        return cls(row, column, np.frombuffer(batch.values, "<f4").astype(np.float64), len(texts))

    def take(self, chosen: NDArray[np.bool_]) -> Matrix:
        """The rows ``chosen``."""
        kept = chosen[self.row]
        place = np.cumsum(chosen) - 1
        return Matrix(place[self.row[kept]], self.column[kept], self.value[kept], int(chosen.sum()))

    def times(self, weights: Doubles) -> Doubles:
        """A sum of weights for each row."""
        return np.bincount(self.row, self.value * weights[self.column], self.rows).astype(np.float64)

    def transposed_times(self, numbers: Doubles) -> Doubles:
        """A sum of the rows' numbers for each column."""
        return np.bincount(self.column, self.value * numbers[self.row], WIDTH).astype(np.float64)


def fit(matrix: Matrix, truth: NDArray[np.bool_]) -> Doubles:
    """A weight for each column, the bias behind them."""
    penalty = np.concatenate([np.full(BUCKETS, PENALTY_NGRAMS), np.full(WORD_COLUMNS, PENALTY_WORDS), [0.0]])

    def loss(weights: Doubles) -> tuple[float, Doubles]:
        logits = matrix.times(weights[:WIDTH]) + weights[WIDTH]
        wrong = 1 / (1 + np.exp(-logits)) - truth
        value = (np.logaddexp(0, logits) - truth * logits).sum() + (penalty * weights**2).sum() / 2
        return float(value), np.append(matrix.transposed_times(wrong), wrong.sum()) + penalty * weights

    weights = np.zeros(WIDTH + 1)
    value, slope = loss(weights)
    past: list[tuple[Doubles, Doubles]] = []
    for _ in range(STEPS):
        direction = descent(slope, past)
        length, sloping = 1.0, float(slope @ direction)
        while True:
            new_value, new_slope = loss(weights - length * direction)
            if new_value <= value - 1e-4 * length * sloping or length < 1e-6:
                break
            length /= 2
        past = [*past, (-length * direction, new_slope - slope)][-MEMORY:]
        weights -= length * direction
        if value - new_value < 1e-6 * value:
            break
        value, slope = new_value, new_slope
    return weights


def descent(slope: Doubles, past: list[tuple[Doubles, Doubles]]) -> Doubles:
    """``slope`` times what is known of the inverse of the curvature (Nocedal, Wright: Numerical Optimization, 7.4)."""
    if not past:
        return slope / max(1.0, float(np.linalg.norm(slope)))
    direction, shares = slope.copy(), []
    for step, change in reversed(past):
        shares.append((step @ direction) / (step @ change))
        direction -= shares[-1] * change
    step, change = past[-1]
    direction *= (step @ change) / (change @ change)
    for (step, change), share in zip(past, reversed(shares), strict=True):
        direction += step * (share - (change @ direction) / (step @ change))
    return direction


def rounded(weights: Doubles) -> tuple[float, NDArray[np.int8]]:
    """The weights of the buckets in bytes, and what one of their units is worth."""
    buckets = weights[:BUCKETS]
    unit = float(np.float32(np.abs(buckets).max() / 127))
    return unit, np.rint(buckets / unit).clip(-127, 127).astype(np.int8)


def file_of(models: list[Doubles]) -> bytes:
    """The bytes of the file that ``model.rs`` describes."""
    parts = [rounded(weights) for weights in models]
    numbers = [
        [unit for unit, _ in parts],
        [weights[WIDTH] - LIKELY for weights in models],
        *zip(*(weights[BUCKETS:WIDTH] for weights in models), strict=True),
    ]
    return np.array(numbers, "<f4").tobytes() + np.stack([buckets for _, buckets in parts], 1).tobytes()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--out", type=Path, default=WEIGHTS, metavar="WEIGHTS")
    options.add_argument("--measure", action="store_true", help="how well each hand's rows are read by the others'")
    asked = options.parse_args()
    rows = [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if row["half"] == "tune"]
    hand = np.array([row["hand"] for row in rows])
    known = np.where(np.isin(hand, LEXICON_HANDS), hand, 0)
    matrix = Matrix.of([row["text"] for row in rows], known.tolist())
    truth = np.array([[stake in row["stakes"] for stake in STAKES] for row in rows])
    for held in np.unique(hand) if asked.measure else ():
        aside = hand == held
        models = [fit(matrix.take(~aside), truth[~aside, stake]) for stake in range(len(STAKES))]
        found = np.stack([matrix.take(aside).times(one[:WIDTH]) + one[WIDTH] > LIKELY for one in models], 1)
        right = (found & truth[aside]).sum()
        print(
            f"hand {held}: {aside.sum()} rows, precision {right / max(found.sum(), 1):.3f},"
            f" recall {right / max(truth[aside].sum(), 1):.3f}"
        )
    asked.out.write_bytes(file_of([fit(matrix, truth[:, stake]) for stake in range(len(STAKES))]))


if __name__ == "__main__":
    main()
