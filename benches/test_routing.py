"""What a decision costs, beside an empty method of the same binding. Run by ``make bench``."""

from __future__ import annotations

from collections.abc import Callable

from pytest_benchmark.fixture import BenchmarkFixture

import modelway as mw
from modelway._core import EmptyCall

PROMPT = "Write a Rust function that parses JSON and returns the list of keys.."
assert len(PROMPT.encode()) == 69
FOUR_KILOBYTES = ("word and more " * 293)[:4096]


def router_of(models: int) -> mw.ModelRouter:
    tables = "".join(f'[[models]]\nid = "m{i}"\nstrengths = ["code"]\n' for i in range(models))
    return mw.ModelRouter(mw.Config.from_toml(f'[defaults]\ngeneral = "m0"\n{tables}'))


THREE = router_of(3)
HUNDRED = router_of(100)
EMPTY = EmptyCall()
WITH_TASK = mw.RoutingRequest(PROMPT, task="code")
MEGABYTE = FOUR_KILOBYTES * 256


def run(benchmark: BenchmarkFixture, act: Callable[[], object], iterations: int = 2000) -> None:
    benchmark.pedantic(act, iterations=iterations, rounds=300, warmup_rounds=10)


def test_empty_call(benchmark: BenchmarkFixture) -> None:
    run(benchmark, lambda: EMPTY.call(PROMPT))


def test_select_69_bytes(benchmark: BenchmarkFixture) -> None:
    assert THREE.select(PROMPT).task == "code"
    run(benchmark, lambda: THREE.select(PROMPT))


def test_select_100_models(benchmark: BenchmarkFixture) -> None:
    assert HUNDRED.select(PROMPT).task == "code"
    run(benchmark, lambda: HUNDRED.select(PROMPT))


def test_select_task_given(benchmark: BenchmarkFixture) -> None:
    assert THREE.select(WITH_TASK).reason == "explicit_task"
    run(benchmark, lambda: THREE.select(WITH_TASK))


def test_classify_69_bytes(benchmark: BenchmarkFixture) -> None:
    run(benchmark, lambda: THREE.classify(PROMPT))


def test_select_4_kilobytes(benchmark: BenchmarkFixture) -> None:
    run(benchmark, lambda: THREE.select(FOUR_KILOBYTES), iterations=50)


def test_select_1_megabyte(benchmark: BenchmarkFixture) -> None:
    run(benchmark, lambda: THREE.select(MEGABYTE), iterations=50)
