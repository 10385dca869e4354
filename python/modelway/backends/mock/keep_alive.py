"""How long a model is to stay in memory, as Ollama's ``keep_alive`` says it."""

from __future__ import annotations

import math
import re

_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_TERM = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


def keep_alive_seconds(value: object) -> float | None:
    """Seconds of a ``keep_alive``: a number, or a Go duration ("10m", "1h30m", "0"); negative: for ever.

    None stays None. Raises ``ValueError`` for anything else, also for a number in quotes without a unit.
    """
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return math.inf if value < 0 else float(value)
    text = value if isinstance(value, str) else ""
    unsigned = text.removeprefix("-").removeprefix("+")
    if unsigned == "0":
        return 0.0
    terms = _TERM.findall(unsigned)
    if not terms or "".join(number + unit for number, unit in terms) != unsigned:
        fault = "missing unit in" if re.fullmatch(r"[\d.]+", unsigned) else "invalid"
        raise ValueError(f'time: {fault} duration "{text}"')
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in terms)
    return math.inf if text.startswith("-") else seconds
