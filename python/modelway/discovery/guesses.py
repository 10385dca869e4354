"""What a model is probably good at, read from its name.

Only for models that nobody described: servers tell a model's name and size, not its strengths. A guess is
shown as one (``guessed`` in ``modelway config show``) and a declared ``strengths`` always replaces it.
"""

from __future__ import annotations

import re

# (pattern in a lower-case name, task); a name may speak for several tasks, which keep this order.
_WORDS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), task)
    for pattern, task in (
        (r"coder|codestral|devstral|(?<![a-z])code", "code"),
        (r"math", "math"),
        (r"(?<![a-z0-9])r1(?![0-9])|qwq|think|reason|magistral|gpt-oss", "deep"),
        (r"(?<![a-z])(?:mini|tiny|nano)|smollm", "quick"),
        (r"function|(?<![a-z])tool", "tool_use"),
        (r"(?<![a-z])(?:story|writer|creative|poet)", "creative"),
    )
)

# "3b", "0.5b", "135m"; not the 7b of "8x7b", which is a mixture of 47 billion.
_PARAMETERS = re.compile(r"(?<![a-z0-9.])(\d{1,4}(?:\.\d{1,3})?)([bm])(?![a-z0-9])")
_QUICK_UP_TO = 3e9
_DEEP_FROM = 30e9


def guess_strengths(name: str, *, thinks: bool = False, parameters: str | None = None) -> tuple[str, ...]:
    """The tasks (short names) that a model of this name is probably good at, best first; ``general`` if no other.

    ``thinks``: its server says that it can think before it answers. ``parameters``: how many it says there are
    (``7.6B``), for names that don't.
    """
    lower = name.lower()
    tasks = [task for pattern, task in _WORDS if pattern.search(lower)]
    size = _parameters(lower) or _parameters((parameters or "").lower())
    if thinks or (size is not None and size >= _DEEP_FROM):
        tasks.append("deep")
    if size is not None and size <= _QUICK_UP_TO:
        tasks.append("quick")
    return tuple(dict.fromkeys(tasks)) or ("general",)


def _parameters(name: str) -> float | None:
    found = _PARAMETERS.search(name)
    return float(found[1]) * (1e9 if found[2] == "b" else 1e6) if found else None
