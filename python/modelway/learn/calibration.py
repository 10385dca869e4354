"""From raw scores to probabilities, to complexity in [0, 1], and to the point from which a general prompt is deep.

Fitted on scores of prompts that the weights were not trained on, together with what words and structure add to them:
two sources that agree would else be surer than they are right.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from modelway.learn.measures import Floats, Ints
from modelway.learn.rows import DEEP, LABELS, QUICK

UNSURE = 0.35
"""The top probability below which a classifier abstains, unless the configuration says otherwise."""

_DEEPEST = 0.02  # share of prompts: so few are deep that a lower bar would be wrong more often than right
_FAR_BEHIND = 6.0  # units of log odds; so far the core lets a label fall behind before the prior is added
_QUICK_WEIGHT = 2.0  # how much a likely quick answer speaks against complexity


class Calibration(NamedTuple):
    """What turns scores into answers."""

    temperature: float
    middle: float
    """Raw complexity that becomes 0.5."""
    spread: float
    """Raw complexity that becomes one unit of log odds."""
    deep: float
    """Complexity above which a general prompt is deep; 1: none is."""
    unsure: float = UNSURE


#: Takes the highest score, and abstains never: for comparisons in which nothing was set aside to calibrate on.
HIGHEST_SCORE = Calibration(temperature=1.0, middle=0.0, spread=1.0, deep=1.0, unsure=0.0)


def probabilities(scores: Floats, prior: Floats, temperature: float) -> Floats:
    """What the core makes of the labels' scores and the prior, both of shape (rows, labels)."""
    behind = (scores.max(1, keepdims=True) - scores) / temperature
    logits = prior - np.minimum(behind, _FAR_BEHIND)
    raised: Floats = np.exp(logits - logits.max(1, keepdims=True))
    raised /= raised.sum(1, keepdims=True)
    return raised


def calibrated(scores: Floats, prior: Floats, first: Ints) -> Calibration:
    """The calibration that fits rows labelled ``first``.

    ``scores``: of the weights, shape (rows, labels and the head of complexity). ``prior``: what is added to the
    calibrated scores of the labels, shape (rows, labels).
    """
    labels = len(LABELS)
    temperature = _temperature(scores[:, :labels], prior, first)
    quick = probabilities(scores[:, :labels], prior, temperature)[:, QUICK]
    raw = scores[:, labels] - _QUICK_WEIGHT * quick
    middle, spread = float(np.median(raw)), max(float(raw.std()), 1e-6)
    # Where no row is deep, what the head ranks highest is not deep either.
    highest = (float(np.quantile(raw, 1 - _DEEPEST)) - middle) / spread
    deep = 1 / (1 + np.exp(-highest)) if (first == DEEP).any() else 1.0
    return Calibration(temperature, middle, spread, float(deep))


def _temperature(scores: Floats, prior: Floats, first: Ints) -> float:
    """The divisor of the scores that makes the labels most likely, by golden section between 0.2 and 5."""

    def loss(log_temperature: float) -> float:
        of_label = probabilities(scores, prior, np.exp(log_temperature))[np.arange(len(first)), first]
        return float(-np.log(of_label + 1e-9).mean())

    low, high, golden = np.log(0.2), np.log(5), (5**0.5 - 1) / 2
    for _ in range(40):
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return float(np.exp((low + high) / 2))
