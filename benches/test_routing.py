"""What a decision costs: the distribution of each call. The ratios between them: ratios.py."""

from __future__ import annotations

import pytest
from cases import CASES, Case
from pytest_benchmark.fixture import BenchmarkFixture


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_cost(benchmark: BenchmarkFixture, case: Case) -> None:
    benchmark.pedantic(  # type: ignore[no-untyped-call]
        case.function, args=(case.argument,), iterations=case.iterations, rounds=300, warmup_rounds=10
    )
