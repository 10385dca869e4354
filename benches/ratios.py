"""The ratios that the project promises, from calls taken in turn within one run.

Each round times every case once, in a bare loop without a function of ours around the call; what is
compared are the medians of the rounds.
"""

from __future__ import annotations

import timeit

from cases import CASES
from promises import report

ROUNDS = 100

PROMISES = (
    ("select_69_bytes", "empty_call", 10.0),
    ("select_task_given", "empty_call", 4.0),
    ("select_100_models", "select_69_bytes", 1.5),
    ("select_1_megabyte", "select_4_kilobytes", 2.0),
    ("stakes_69_bytes", "select_69_bytes", 3.0),
    ("stakes_4_kilobytes", "select_4_kilobytes", 4.0),
    ("stakes_1_megabyte", "stakes_4_kilobytes", 2.0),
)


def main() -> None:
    timers = {
        name: timeit.Timer("call(argument)", globals={"call": case.function, "argument": case.argument})
        for name, case in CASES.items()
    }
    taken: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(ROUNDS):
        for name, timer in timers.items():
            iterations = CASES[name].iterations
            taken[name].append(timer.timeit(iterations) / iterations * 1e9)
    report(taken, PROMISES)


if __name__ == "__main__":
    main()
