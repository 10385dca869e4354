"""What was measured beside what is promised, line by line."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

#: What, its yardstick, and how many times the yardstick it may take.
Promise = tuple[str, str, float]


def report(taken: Mapping[str, Sequence[float]], promises: Iterable[Promise]) -> None:
    """Print the median and quartiles of each case, in nanoseconds a call, and whether the promised ratios hold."""
    for name, values in taken.items():
        low, median, high = statistics.quantiles(values, n=4)
        print(f"{name:20} {median:9.0f} ns (quartiles {low:.0f} to {high:.0f})")
    for what, yardstick, promised in promises:
        ratio = statistics.median(taken[what]) / statistics.median(taken[yardstick])
        verdict = "holds" if ratio <= promised else "DOES NOT HOLD"
        print(f"{what:20} {ratio:6.2f} x {yardstick:20} promised <= {promised:g}: {verdict}")
