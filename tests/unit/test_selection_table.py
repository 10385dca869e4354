"""The table of prompts: what each is read as, through the public API and with the design document's defaults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import modelway as mw

DATA = Path(__file__).parents[1] / "data"
ROWS = [json.loads(line) for line in (DATA / "selection.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def router() -> mw.ModelRouter:
    return mw.ModelRouter(mw.load_config(DATA / "design_defaults.toml"))


@pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])
def test_selection(router: mw.ModelRouter, row: dict[str, Any]) -> None:
    decision = router.select(row["text"])
    scores = decision.scores
    assert decision.task == row["task"], scores
    assert router.settings.defaults.get(row["task"]) in (None, decision.model)
    if "above" in row:
        assert decision.confidence > row["above"]
    if "below" in row:
        assert decision.confidence < row["below"]
    if "reason" in row:
        assert decision.reason == row["reason"]
    if "visible" in row:
        others = sorted((score for task, score in scores.items() if task != row["visible"]), reverse=True)
        assert scores[row["visible"]] > others[1], "among the first two"


def test_the_table_covers_every_class_and_the_matrix() -> None:
    ids = [row["id"] for row in ROWS]
    assert len(ids) == len(set(ids))
    assert {row["task"] for row in ROWS} == {str(task) for task in mw.TaskClass.all()} - {"embedding"}
    rows_of_matrix = ("m01", "m03", "m04", "m05", "m06", "m07", "m08", "m09", "m10", "m11", "m12", "s03")
    assert [name for name in rows_of_matrix if not any(row_id.startswith(name) for row_id in ids)] == []
    languages = {row_id.split("-")[1] for row_id in ids if row_id.startswith("m09-")}
    assert languages == {"es", "fr", "de", "pt", "it", "ru", "zh", "ja", "ko"}
