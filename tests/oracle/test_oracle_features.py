"""The core's features and scores against their slow twin."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_features import Weights
from slow_features import row as slow_row

from modelway._core import CoreRouter, feature_space, features

ROOT = Path(__file__).parents[2]
SHIPPED = (ROOT / "rust/modelway-core/src/classify/weights.bin").read_bytes()
ROWS = [json.loads(line) for line in (ROOT / "tests/data/selection.jsonl").read_text("utf-8").splitlines()]
TABLE = [row["text"] for row in ROWS]
#: Those that say something: of the others the trained weights are not asked.
TELLING = [row["text"] for row in ROWS if len(row["text"].split()) > 1 and not row["id"].startswith(("m12", "s03"))]

#: Scripts and signs whose properties no version of Unicode has changed lately.
CHARACTERS = st.one_of(
    st.characters(max_codepoint=0x24F),
    st.sampled_from("абвЖЯ ελπθ 函数写代码 関数テスト 함수 กขค दे शा ∑∫≤ ²½ ？。、“” 🦀🙏 \u0301\u200b\n\t؟ﬁＡ"),
)
PIECES = st.one_of(
    st.text(CHARACTERS, max_size=30),
    st.sampled_from(
        ["please", "Write", "x^2 + 3x = 0", "12.5 - 3", "1. ", "\n- ", "{", "};\n", "f(x)", "user_id", "word " * 300]
    ),
)
TEXTS = st.lists(PIECES, max_size=12).map(" ".join)
EVERY_RUN = settings(derandomize=True, deadline=None, max_examples=200, database=None)


def core_rows(texts: list[str]) -> list[dict[int, float]]:
    batch = features(texts)
    ends = np.frombuffer(batch.indptr, "<i8")
    columns, values = np.frombuffer(batch.columns, "<u4"), np.frombuffer(batch.values, "<f4")
    assert len(columns) == len(values) == ends[-1]
    return [
        dict(zip(columns[start:end].tolist(), values[start:end].tolist(), strict=True))
        for start, end in itertools.pairwise(ends)
    ]


def router(weights: bytes) -> CoreRouter:
    plain: dict[str, Any] = {"models": [], "defaults": [], "fallbacks": [], "keywords": [], "priors": []}
    health = {"failures_to_open": 5, "backoff_ms": 5_000, "max_backoff_ms": 300_000}
    return CoreRouter({**plain, **health, "weights": weights, "threshold": None})


def blank(weights: bytes) -> bytes:
    """The same file with every weight zero, so that nothing but the prior speaks."""
    levels = sum(len(levels) for levels in feature_space["thresholds"])
    head = 88 + len(feature_space["thresholds"]) + 1 + 4 * levels
    return weights[:head] + bytes(len(weights) - head)


def test_features_of_the_table_are_those_of_the_twin() -> None:
    for text, seen in zip(TABLE, core_rows(TABLE), strict=True):
        assert seen == pytest.approx(slow_row(text, feature_space), abs=1e-5), text


@EVERY_RUN
@given(text=TEXTS)
def test_features_of_any_text_are_those_of_the_twin(text: str) -> None:
    assert core_rows([text])[0] == pytest.approx(slow_row(text, feature_space), abs=1e-5)


def test_scores_of_the_table_are_those_of_the_twin() -> None:
    weights = Weights(SHIPPED)
    prior = np.log(router(blank(SHIPPED)).classify_many(TELLING).scores)
    trained = np.array([weights.scores(text)[:7] for text in TELLING]) / weights.temperature
    # No class is further than 6 behind the likeliest of the trained part.
    logits = prior + np.maximum(trained, trained.max(axis=1, keepdims=True) - 6)
    wanted = np.exp(logits - logits.max(axis=1, keepdims=True))
    wanted /= wanted.sum(axis=1, keepdims=True)
    seen = router(SHIPPED).classify_many(TELLING).scores
    np.testing.assert_allclose(seen, wanted, atol=2e-4)
