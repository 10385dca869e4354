"""What is measured: the same calls for the distributions (pytest-benchmark) and for the ratios."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import modelway as mw
from modelway._core import EmptyCall
from modelway.types import stakes_of

PROMPT = "Write a Rust function that parses JSON and returns the list of keys.."
assert len(PROMPT.encode()) == 69
FOUR_KILOBYTES = ("word and more " * 293)[:4096]


class Case(NamedTuple):
    """One call with one argument; ``iterations`` of it make a round of about a tenth of a millisecond."""

    function: Callable[[Any], object]
    argument: object
    iterations: int = 2000


def router_of(models: int) -> mw.ModelRouter:
    tables = "".join(f'[[models]]\nid = "m{i}"\nstrengths = ["code"]\n' for i in range(models))
    return mw.ModelRouter(mw.Config.from_toml(f'[defaults]\ngeneral = "m0"\n{tables}'))


THREE = router_of(3)
CASES = {
    "empty_call": Case(EmptyCall().call, PROMPT),
    "select_69_bytes": Case(THREE.select, PROMPT),
    "select_task_given": Case(THREE.select, mw.RoutingRequest(PROMPT, task="code")),
    "select_100_models": Case(router_of(100).select, PROMPT),
    "classify_69_bytes": Case(THREE.classify, PROMPT),
    "select_4_kilobytes": Case(THREE.select, FOUR_KILOBYTES, 50),
    "stakes_69_bytes": Case(stakes_of, PROMPT),
    "stakes_4_kilobytes": Case(stakes_of, FOUR_KILOBYTES, 50),
    "stakes_1_megabyte": Case(stakes_of, FOUR_KILOBYTES * 256, 50),
    "select_1_megabyte": Case(THREE.select, FOUR_KILOBYTES * 256, 50),
}
