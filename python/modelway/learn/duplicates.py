"""Folds for cross-validation in which near-duplicates stand together: else a test row's twin would be in training.

Near-duplicates share most of their character 5-grams, estimated by MinHash; rows of one cluster go to one fold.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from modelway.learn.measures import Ints
from modelway.learn.rows import Row

FOLDS = 5
_HASHES = 64
_BANDS = 16  # rows that agree in all hashes of a band are compared
_ALIKE = 0.6  # share of equal hashes from which two rows are near-duplicates
_READ = 1_500  # characters of a text
_GRAM = 5  # bytes


def assign_folds(rows: Sequence[Row], seed: int = 0) -> Ints:
    """The fold of each row, from the seed and the smallest id of its cluster."""
    cluster = _clusters(np.stack([_signature(row.text) for row in rows]))
    smallest: dict[int, str] = {}
    for row, root in zip(rows, cluster, strict=True):
        smallest[root] = min(smallest.get(root, row.id), row.id)
    return np.array([_fold(smallest[root], seed) for root in cluster], dtype=np.intp)


def _fold(identity: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{identity}".encode()).digest()) % FOLDS


_chance = np.random.default_rng(0)  # any numbers will do, always the same ones
_FACTORS = _chance.integers(1, 2**63, _HASHES, dtype=np.uint64) | np.uint64(1)
_OFFSETS = _chance.integers(0, 2**63, _HASHES, dtype=np.uint64)


def _signature(text: str) -> NDArray[np.uint32]:
    """For each hash the smallest value over the text's 5-grams; two texts agree in as many as they share 5-grams."""
    read = re.sub(r"\W+", " ", text.lower()).strip()[:_READ].encode().ljust(_GRAM)
    letters = np.frombuffer(read, np.uint8).astype(np.uint64)
    count = len(letters) - _GRAM + 1
    grams = np.zeros(count, np.uint64)
    for at in range(_GRAM):
        grams |= letters[at : at + count] << np.uint64(8 * at)
    hashes = (np.unique(grams)[:, None] * _FACTORS + _OFFSETS) >> np.uint64(32)
    smallest: NDArray[np.uint32] = hashes.min(0).astype(np.uint32)
    return smallest


def _clusters(signatures: NDArray[np.uint32]) -> list[int]:
    """For each row the number of a row that stands for its cluster."""
    parent = list(range(len(signatures)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for band in np.split(signatures, _BANDS, axis=1):
        first: dict[bytes, int] = {}
        for row, values in enumerate(band):
            other = first.setdefault(values.tobytes(), row)
            if other != row and (signatures[row] == signatures[other]).mean() >= _ALIKE:
                parent[root(row)] = root(other)
    return [root(row) for row in range(len(parent))]
