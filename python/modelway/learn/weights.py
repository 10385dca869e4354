"""Trained weights as the core reads them: int8 for n-grams, float32 for the few shapes, and the calibration.

The layout is little-endian: the head (``_HEAD``), how many levels each shape has (one byte each, padded to 4), the
levels (u32), biases (f32 x 8), a row of f32 x 8 for each level, and the table of int8 x 8 for each bucket. Eight
columns: the labels, then the head of complexity.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from modelway.learn.calibration import Calibration
from modelway.learn.features import FeatureSpace
from modelway.learn.measures import Floats
from modelway.learn.regression import Singles

_HEAD = struct.Struct("<4s5I8f")
_MAGIC, _VERSION = b"MWLC", 1
_CLIPPED = 0.0005  # share of the largest weights cut off: else these few would take the precision of all others


class Quantised(NamedTuple):
    """Columns of n-gram weights as int8, and what one step of it is worth."""

    table: NDArray[np.int8]
    unit: np.float32

    @classmethod
    def of(cls, weights: Singles) -> Quantised:
        unit = max(np.float32(np.quantile(np.abs(weights), 1 - _CLIPPED) / 127), np.float32(1e-9))
        return cls(np.clip(np.rint(weights / unit), -127, 127).astype(np.int8), unit)

    def weights(self) -> Singles:
        """What the core multiplies with."""
        return self.table * self.unit


class Weights(NamedTuple):
    """A trained classifier without its calibration; of the columns, the head of complexity is the last."""

    labels: Quantised
    head: Quantised
    levels: Singles
    """Weights of the shapes' levels, shape (levels of all shapes, 8)."""
    bias: Singles

    @classmethod
    def of(cls, weights: Singles, bias: Singles, space: FeatureSpace) -> Weights:
        """From float weights of every column of the feature matrix, shape (columns, 8)."""
        ngrams = weights[: space.buckets]
        return cls(Quantised.of(ngrams[:, :-1]), Quantised.of(ngrams[:, -1:]), weights[space.buckets :], bias)

    @classmethod
    def blank(cls, space: FeatureSpace) -> Weights:
        """Weights that say nothing of any text."""
        columns = space.buckets + space.shape_columns
        return cls.of(np.zeros((columns, 8), np.float32), np.zeros(8, np.float32), space)

    def scores(self, features: sparse.csr_array) -> Floats:
        """Raw scores, shape (rows, 8)."""
        ngrams = np.concatenate([self.labels.weights(), self.head.weights()], axis=1)
        scores: Singles = features @ np.concatenate([ngrams, self.levels]) + self.bias
        return scores.astype(np.float64)

    def to_bytes(self, calibration: Calibration, space: FeatureSpace) -> bytes:
        """The file, as ``[classifier] weights`` takes it."""
        counts = [len(levels) for levels in space.thresholds]
        starts = np.cumsum([0, *counts])
        reached = [
            # A text that reaches a level has reached all below it: the core adds one row for all of them.
            np.cumsum(self.levels[start : start + count], axis=0, dtype=np.float32)
            for start, count in zip(starts, counts, strict=False)
        ]
        return b"".join(
            [
                _HEAD.pack(
                    *(_MAGIC, _VERSION, space.buckets, space.sample_bytes, len(counts), sum(counts)),
                    *(self.labels.unit, self.head.unit, space.opening, *calibration),
                ),
                bytes(counts) + bytes(-len(counts) % 4),
                np.array([level for levels in space.thresholds for level in levels], "<u4").tobytes(),
                self.bias.astype("<f4").tobytes(),
                (np.concatenate(reached) * np.float32(space.level)).astype("<f4").tobytes(),
                np.concatenate([self.labels.table, self.head.table], axis=1).tobytes(),
            ]
        )


def threshold_of(content: bytes) -> float:
    """The top probability below which a classifier with the weights file ``content`` abstains."""
    return float(_HEAD.unpack_from(content)[-1])
