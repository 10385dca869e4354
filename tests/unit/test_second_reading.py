"""The agreement of two readers: the formula by hand, and what is published of it."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("second_reading")


@pytest.mark.parametrize(
    ("counts", "equal", "wanted"),
    [
        # Rows: first reader a, b; columns: second reader a, b. 0.7 equal, 0.5 by chance.
        ({"aa": 20, "ab": 5, "ba": 10, "bb": 15}, 0.7, 0.4),
        ({"aa": 5, "bb": 5}, 1.0, 1.0),
        ({"ab": 5, "ba": 5}, 0.0, -1.0),
        ({"aa": 3}, 1.0, 1.0),
    ],
)
def test_kappa_is_what_chance_does_not_explain(
    reading: ModuleType, counts: dict[str, int], equal: float, wanted: float
) -> None:
    pairs = [(pair[0], pair[1]) for pair, count in counts.items() for _ in range(count)]
    assert reading.agreement(pairs) == pytest.approx(equal)
    assert reading.kappa(pairs) == pytest.approx(wanted)


def test_a_tenth_of_each_language_was_read_twice(reading: ModuleType) -> None:
    for language, pairs in reading.pairs_by_language().items():
        assert len(pairs) >= 40, language
        assert reading.kappa(pairs) > 0.8, language
