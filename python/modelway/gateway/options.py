"""Options of a request: their types, checked where the caller's own spelling is still known.

A backend would refuse a wrong type too, but each in its own words, and some only after loading the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from modelway.errors import InvalidRequest
from modelway.gateway.body import type_name

_THINK_LEVELS = ("low", "medium", "high", "max")


def _number(value: Any) -> str | None:
    return None if type(value) in (int, float) else f"must be a number, not {type_name(value)}"


def _stop(value: Any) -> str | None:
    texts = value if isinstance(value, list) else [value]
    return None if all(isinstance(text, str) for text in texts) else "must be a string or an array of strings"


def _tool_choice(value: Any) -> str | None:
    return None if isinstance(value, str | dict) else f"must be a string or an object, not {type_name(value)}"


def _think(value: Any) -> str | None:
    if isinstance(value, bool) or value in _THINK_LEVELS:
        return None
    return f"must be a boolean or one of {', '.join(_THINK_LEVELS)}"


def _response_format(value: Any) -> str | None:
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        return "must be an object with a type"
    return None


#: By the conductor's name: what is wrong with a value, None if nothing is.
_CHECKS: dict[str, Callable[[Any], str | None]] = {
    "stop": _stop,
    "tool_choice": _tool_choice,
    "think": _think,
    "response_format": _response_format,
}


def checked(fields: Mapping[str, Any], names: Mapping[str, str], where: str = "") -> dict[str, Any]:
    """The options among ``fields`` that are not null, under the conductor's names.

    ``names`` maps the protocol's names to the conductor's; ``where`` is the path of ``fields``. Raises
    :class:`InvalidRequest` for a value of the wrong type.
    """
    options = {}
    for name, ours in names.items():
        value = fields.get(name)
        if value is None:
            continue
        wrong = _CHECKS.get(ours, _number)(value)
        if wrong is not None:
            raise InvalidRequest(f"{where}{name}: {wrong}")
        options[ours] = value
    return options
