"""Benchmarks never run on a debug build, and end with the ratios that the project promises."""

from __future__ import annotations

import pytest

import modelway

#: (what, its yardstick, the promised ratio of medians)
PROMISES = (
    ("select_69_bytes", "empty_call", 10.0),
    ("select_task_given", "empty_call", 4.0),
    ("select_100_models", "select_69_bytes", 1.5),
    ("select_1_megabyte", "select_4_kilobytes", 2.0),
)


def pytest_configure(config: pytest.Config) -> None:
    if modelway.build_profile["profile"] != "release":
        raise pytest.UsageError("the extension is a debug build; measure a release one: make bench")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    session = getattr(terminalreporter.config, "_benchmarksession", None)
    stats = {bench.name.removeprefix("test_"): bench.stats for bench in session.benchmarks} if session else {}
    terminalreporter.section("ratios of medians, in this run")
    for what, yardstick, promised in PROMISES:
        if what in stats and yardstick in stats:
            ratio = stats[what].median / stats[yardstick].median
            low = stats[what].q1 / stats[yardstick].q3
            high = stats[what].q3 / stats[yardstick].q1
            terminalreporter.write_line(
                f"{what:22} {ratio:6.2f} x {yardstick:20} (quartiles {low:.2f} to {high:.2f}; promised <= {promised:g})"
            )
