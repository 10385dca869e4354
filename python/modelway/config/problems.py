"""From the errors of tomllib and pydantic to ConfigProblems: the place, the value, the remedy.

A value is shown only where it can't be a secret: a key written in the wrong place must not end in a log.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from modelway.errors import ConfigProblem
from modelway.near import did_you_mean

_SHOWN_CHARS = 60
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_PLACE_IN_TEXT = re.compile(r" \(at (?:line (\d+), column (\d+)|(end of document))\)$")

# Somebody may have written the secret itself there.
_SECRET_KEYS = frozenset({"api_key_env", "url"})

_REMEDIES = {
    "string_pattern_mismatch": "write the name of an environment variable, never a key itself",
    "tuple_type": "it should be a list",
    "model_type": "it should be a table",
    "dict_type": "it should be a table",
}


def syntax_problem(error: Exception, text: str) -> ConfigProblem:
    """The problem of a text that is not TOML, with its line and column."""
    if isinstance(error, RecursionError):
        return ConfigProblem("", "nested too deeply; a configuration needs three levels")
    if isinstance(error, UnicodeEncodeError):
        line = text.count("\n", 0, error.start) + 1
        return ConfigProblem(f"line {line}", "holds half a character (a lone surrogate); remove it")
    message = str(error)
    found = _PLACE_IN_TEXT.search(message)
    if found is None:  # int() refuses more than 4,300 digits without saying where
        return ConfigProblem("", f"not valid TOML: {message}")
    line_number = found[1] or str(text.count("\n") + 1)
    place = f"line {line_number}, column {found[2]}" if found[2] else f"line {line_number}, end of the text"
    return ConfigProblem(place, f"not valid TOML: {message[: found.start()]}")


def problems_of(error: ValidationError, root: type[BaseModel]) -> list[ConfigProblem]:
    """Every problem in ``error``, which came of validating TOML data against ``root``."""
    return [ConfigProblem(_path(entry["loc"]), _message(entry, root)) for entry in error.errors(include_url=False)]


def _path(loc: Iterable[str | int]) -> str:
    path = ""
    for part in loc:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part != "[key]":  # pydantic's mark for "the key, not its value"
            key = part if _BARE_KEY.fullmatch(part) else json.dumps(part, ensure_ascii=False)
            path += f".{key}" if path else key
    return path


def _message(entry: Any, root: type[BaseModel]) -> str:
    kind, loc = entry["type"], entry["loc"]
    if kind == "extra_forbidden":
        known = list(_section_at(loc[:-1], root).model_fields)
        return f"unknown key; {did_you_mean(str(loc[-1]), known) or 'known here: ' + ', '.join(known)}"
    if kind == "missing":
        what = _section_at(loc[:-1], root).model_fields[str(loc[-1])].description or ""
        return f"missing; it says: {' '.join(what.replace('``', '').split()).rstrip('.')}"
    if kind == "value_error":
        return str(entry["ctx"]["error"])
    remedy = _REMEDIES.get(kind) or entry["msg"].replace("Input should", "it should", 1)
    value = "this value" if _SECRET_KEYS.intersection(loc) else _shown(entry["input"])
    return f"{value} can't stand here; {remedy}"


def _section_at(loc: Iterable[str | int], root: type[BaseModel]) -> type[BaseModel]:
    section = root
    for part in loc:
        if isinstance(part, str):
            section = _section_in(section.model_fields[part].annotation) or section
    return section


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """The section that a field holds, alone or in a tuple."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (tuple, Union, UnionType):
        return next((found for found in map(_section_in, get_args(annotation)) if found), None)
    return None


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, (list, tuple)):
        return "a list"
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except ValueError:  # an integer with more digits than Python will write
        return "this number"
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 1]}…"
