"""The agreement of two readers: the formula by hand, and what is published of it."""

from __future__ import annotations

import pytest
from second_reading import agreement, kappa, pairs_by_language


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
def test_kappa_is_what_chance_does_not_explain(counts: dict[str, int], equal: float, wanted: float) -> None:
    pairs = [(pair[0], pair[1]) for pair, count in counts.items() for _ in range(count)]
    assert agreement(pairs) == pytest.approx(equal)
    assert kappa(pairs) == pytest.approx(wanted)


def test_a_tenth_of_each_language_was_read_twice() -> None:
    for language, pairs in pairs_by_language().items():
        assert len(pairs) >= 40, language
        assert kappa(pairs) > 0.8, language
