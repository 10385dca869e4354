"""How long a model may load before its load is taken for stuck."""

from __future__ import annotations

#: A load that takes so many times the model's average is taken for stuck.
_LOAD_AVERAGES = 4.0
#: The learned deadline stays between a fourth of the configured one and its fivefold: an average of few loads, or of
#: loads from a warm page cache, must not turn the next slow one into a failure.
_LEAST_SHARE, _MOST_SHARE = 0.25, 5.0


def learned_load_s(average_ms: float | None, configured_ms: int) -> float | None:
    """Seconds for a model that has loaded before, on average in ``average_ms``; None: as configured."""
    if average_ms is None:
        return None
    longest_ms = min(max(_LOAD_AVERAGES * average_ms, _LEAST_SHARE * configured_ms), _MOST_SHARE * configured_ms)
    return longest_ms / 1000
