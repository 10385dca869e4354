"""Texts as a sparse matrix, extracted by the core: training sees exactly what serving sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

from modelway import _core


class FeatureSpace(NamedTuple):
    """What the columns of the matrix mean: ``buckets`` of hashed n-grams, then a column for each level of a shape."""

    buckets: int
    sample_bytes: int
    opening: float
    level: float
    """The value of a shape's level that is reached."""
    thresholds: tuple[tuple[int, ...], ...]
    """The levels of each shape."""

    @classmethod
    def of_core(cls) -> FeatureSpace:
        """That of this version of the core."""
        space = _core.feature_space
        thresholds = tuple(tuple(levels) for levels in space["thresholds"])
        return cls(space["buckets"], space["sample_bytes"], space["opening"], space["level"], thresholds)

    @property
    def shape_columns(self) -> int:
        """How many columns stand for levels of shapes."""
        return sum(len(levels) for levels in self.thresholds)


def feature_matrix(texts: Sequence[str]) -> sparse.csr_array:
    """A row of float32 features for each text."""
    space, batch = FeatureSpace.of_core(), _core.features(texts)
    columns = np.frombuffer(batch.columns, "<i4")  # scipy counts columns in signed numbers; there are far fewer
    return sparse.csr_array(
        (np.frombuffer(batch.values, "<f4"), columns, np.frombuffer(batch.indptr, "<i8")),
        shape=(len(texts), space.buckets + space.shape_columns),
    )
