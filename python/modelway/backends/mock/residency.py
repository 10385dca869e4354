"""Which mock models are in memory, as Ollama's ``/api/ps`` tells it, and for how long they stay."""

from __future__ import annotations

import math
import re
import time

#: What a fresh load takes where neither request nor environment says otherwise.
DEFAULT_KEEP_ALIVE_S = 300.0

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


class Residency:
    """The loaded models. A model leaves when it has been idle for its keep-alive; busy ones stay."""

    def __init__(self) -> None:
        self._keep_alive_s: dict[str, float] = {}
        self._users: dict[str, int] = {}
        self._idle_since: dict[str, float] = {}

    def begin(self, name: str, keep_alive_s: float | None) -> None:
        """A request starts; the model is loaded if it was not."""
        kept = self._keep_alive_s.get(name, DEFAULT_KEEP_ALIVE_S) if name in self.loaded() else DEFAULT_KEEP_ALIVE_S
        self._keep_alive_s[name] = kept if keep_alive_s is None else keep_alive_s
        self._users[name] = self._users.get(name, 0) + 1
        # The expiry moves only when the model falls idle; until then it shows the load's time.
        self._idle_since.setdefault(name, time.monotonic())

    def end(self, name: str) -> None:
        """A request ended, however it did."""
        self._users[name] -= 1
        if not self._users[name]:
            self._idle_since[name] = time.monotonic()

    def loaded(self) -> dict[str, float]:
        """Name -> seconds until it leaves, the longest first; what has expired is gone."""
        now = time.monotonic()
        for name in [name for name in self._idle_since if not self._users[name]]:
            if now >= self._idle_since[name] + self._keep_alive_s[name]:
                del self._idle_since[name], self._users[name], self._keep_alive_s[name]
        left = {name: since + self._keep_alive_s[name] - now for name, since in self._idle_since.items()}
        return dict(sorted(left.items(), key=lambda item: -item[1]))
