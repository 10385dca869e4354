"""The report of ``modelway eval``: the figures by which classifiers are compared, over one set of labelled prompts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from modelway._core import CoreRouter
from modelway.learn.edits import EDITS, edited
from modelway.learn.measures import Truth, accuracy, calibration_error, per_class, ranking
from modelway.learn.reading import Reader, Readings
from modelway.learn.rows import DEEP, GENERAL, QUICK, Row

THRESHOLDS = (0.0, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6)
_TIMED = 2_000  # texts at most: percentiles of time move no more after that


def evaluate(rows: Sequence[Row], read: Reader, seed: int = 0) -> dict[str, Any]:
    """The report over ``rows``, without times.

    ``read`` is called with as many texts as there are rows, each at the position of its row. ``seed`` draws
    the edits of the flip rate.
    """
    truth = Truth.of(rows)
    texts = [row.text for row in rows]
    readings = read(texts, None)
    return {
        "n": len(rows),
        **accuracy(readings.answers, truth),
        "ece": calibration_error(readings.scores, truth.first),
        **_flips(texts, readings, read, seed),
        "unsure": float(readings.unsure.mean()),
        "per_class": per_class(readings.answers, truth),
        "per_language": _per_language(rows, readings, truth),
        "by_threshold": [_at_threshold(texts, truth, read, threshold) for threshold in THRESHOLDS],
        "complexity_auc": _complexity(readings, truth),
    }


def _flips(texts: Sequence[str], readings: Readings, read: Reader, seed: int) -> dict[str, Any]:
    """How often one edit of a prompt changes its answer: over all pairs of prompt and kind, and by kind."""
    rates = {
        kind: float((read([edited(text, kind, seed) for text in texts], None).answers != readings.answers).mean())
        for kind in EDITS
    }
    return {"flip_rate": float(np.mean(list(rates.values()))), "flips_by_edit": rates}


def _per_language(rows: Sequence[Row], readings: Readings, truth: Truth) -> dict[str, dict[str, float]]:
    langs = np.array([row.lang for row in rows])
    parts = {str(lang): langs == lang for lang in np.unique(langs)}
    return {
        lang: {"n": int(part.sum()), **accuracy(readings.answers[part], truth.part(part))}
        for lang, part in parts.items()
    }


def _at_threshold(texts: Sequence[str], truth: Truth, read: Reader, threshold: float) -> dict[str, float]:
    readings = read(texts, threshold)
    return {
        "threshold": threshold,
        **accuracy(readings.answers, truth),
        "unsure": float(readings.unsure.mean()),
    }


def _complexity(readings: Readings, truth: Truth) -> dict[str, float | None]:
    """How well complexity ranks deep prompts above general and above quick ones; None where a side has no rows."""
    deep = readings.complexity[truth.first == DEEP]
    return {
        "general_deep": ranking(deep, readings.complexity[truth.first == GENERAL]),
        "quick_deep": ranking(deep, readings.complexity[truth.first == QUICK]),
    }


def time_classify(core: CoreRouter, texts: Sequence[str]) -> dict[str, float]:
    """``us_p50`` and ``us_p99`` of one ``classify`` called from Python, microseconds, over ``texts``."""
    chosen = texts[:: max(1, len(texts) // _TIMED)][:_TIMED]
    for text in chosen[:100]:  # the first calls pay for cold memory
        core.classify(text)
    taken = []
    for text in chosen:
        began = time.perf_counter_ns()
        core.classify(text)
        taken.append(time.perf_counter_ns() - began)
    middle, late = np.percentile(taken, (50, 99)) / 1_000
    return {"us_p50": float(middle), "us_p99": float(late)}
