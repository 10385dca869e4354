"""Softmax regression over sparse rows, by L-BFGS from zero.

The number of iterations is fixed and small: stopping early is part of the regularisation. All sums run in one
order, whatever the number of threads: a seed gives the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from modelway.learn.measures import Floats

Singles = NDArray[np.float32]
Objective = Callable[[Floats], tuple[float, Floats]]

ITERATIONS = 60
_MEMORY = 8  # pairs that the curvature is estimated from
_HALVINGS = 20  # of a step that does not descend
_ARMIJO = 1e-4  # the share of the expected descent that a step must reach


class Penalty(NamedTuple):
    """How weights are held small: ``l2`` on those of scaled columns, ``power`` of the scaling.

    A column is scaled by ((rows that have it + 5) / 100) ** -power: a rare n-gram says more when it comes, and
    plain L2 would let the common ones take all the weight.
    """

    l2: float
    power: float


def fit(
    features: sparse.csr_array, targets: Singles, weight: Floats, penalty: Penalty, unscaled_from: int
) -> tuple[Singles, Singles]:
    """Weights (columns, labels) and biases (labels) of least cross entropy.

    ``targets``: probabilities, shape (rows, labels). ``weight``: of each row, with a positive sum. Columns from
    ``unscaled_from`` on are few and dense, and are not scaled.
    """
    seen = np.bincount(features.indices, minlength=features.shape[1])
    used = np.flatnonzero(seen)  # the others keep weight 0, and would only make each step longer
    scale = (((seen + 5) / 100.0) ** -penalty.power).astype(np.float32)
    scale[unscaled_from:] = 1
    place = np.zeros(len(seen), np.int32)
    place[used] = np.arange(len(used), dtype=np.int32)
    scaled = sparse.csr_array(
        (features.data * scale[features.indices], place[features.indices], features.indptr),
        (features.shape[0], len(used)),
    )
    share = (weight / weight.sum()).astype(np.float32)[:, None]
    columns, labels = len(used), targets.shape[1]
    cut = columns * labels

    def objective(point: Floats) -> tuple[float, Floats]:
        logits = scaled @ point[:cut].reshape(columns, labels).astype(np.float32) + point[cut:].astype(np.float32)
        highest = logits.max(1, keepdims=True)
        raised = np.exp(logits - highest)
        total = raised.sum(1, keepdims=True)
        losses = share * ((highest + np.log(total) - logits) * targets).sum(1, keepdims=True)
        slope = share * (raised / total - targets)
        loss = float(losses.sum(dtype=np.float64)) + 0.5 * penalty.l2 * _dot(point[:cut], point[:cut])
        of_weights = (scaled.T @ slope).ravel() + penalty.l2 * point[:cut]
        return loss, np.concatenate([of_weights, slope.sum(0)])

    best = minimise(objective, np.zeros(cut + labels)).astype(np.float32)
    weights = np.zeros((len(seen), labels), np.float32)
    weights[used] = best[:cut].reshape(columns, labels) * scale[used, None]
    return weights, best[cut:]


def minimise(objective: Objective, point: Floats, iterations: int = ITERATIONS) -> Floats:
    """Where ``iterations`` steps of L-BFGS with backtracking lead; the first step has length 1."""
    pairs: list[tuple[Floats, Floats]] = []
    value, gradient = objective(point)
    for _ in range(iterations):
        direction = _direction(gradient, pairs)
        slope, step = -_dot(gradient, direction), 1.0
        for _ in range(_HALVINGS):
            following = point - step * direction
            reached, new_gradient = objective(following)
            if reached <= value + _ARMIJO * step * slope:
                break
            step /= 2
        else:
            break  # no descent is left within the precision
        moved, bent = following - point, new_gradient - gradient
        if _dot(bent, moved) > 1e-12 * _dot(bent, bent):  # else the estimate would lose its sign
            pairs = [*pairs, (moved, bent)][-_MEMORY:]
        point, value, gradient = following, reached, new_gradient
    return point


def _direction(gradient: Floats, pairs: list[tuple[Floats, Floats]]) -> Floats:
    """The gradient times the estimated inverse of the curvature (the two-loop recursion)."""
    if not pairs:
        return gradient / max(1e-12, math.sqrt(_dot(gradient, gradient)))
    direction = gradient.copy()
    shares = []
    for moved, bent in reversed(pairs):
        share = _dot(moved, direction) / _dot(bent, moved)
        shares.append(share)
        direction -= share * bent
    moved, bent = pairs[-1]
    direction *= _dot(moved, bent) / _dot(bent, bent)
    for (moved, bent), share in zip(pairs, reversed(shares), strict=True):
        direction += (share - _dot(bent, direction) / _dot(bent, moved)) * moved
    return direction


def _dot(left: Floats, right: Floats) -> float:
    """The inner product; BLAS would sum in an order that depends on the number of threads."""
    return float(np.einsum("i,i->", left, right))
