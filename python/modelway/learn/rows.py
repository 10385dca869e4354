"""Labelled prompts: JSON lines ``{"text", "label", "also"?, "lang"?, "source"?, "weight"?, "id"?}``,
read strictly.

A file with anything wrong in it is refused whole, by file and line: a measurement over the rest would not say
what it seems to say. Texts never stand in a message.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from modelway.errors import ModelwayError
from modelway.near import did_you_mean

#: What a prompt may be labelled, in the order of the columns of a weights file. No text asks for an embedding.
LABELS = ("quick", "deep", "code", "math", "creative", "tool_use", "general")
QUICK, DEEP, GENERAL = (LABELS.index(name) for name in ("quick", "deep", "general"))

MAX_LINE = 16 << 20  # bytes; a prompt of this length is no prompt, and a file of one line would fill the memory


MAX_WEIGHT = 1_000  # and its inverse at least: beyond, single precision would lose the other rows


class RowError(ModelwayError, ValueError):
    """Labelled prompts that can't be used; ``file`` and ``line`` (from 1; 0: the whole file) say where."""

    def __init__(self, message: str, file: str, line: int = 0):
        self.file = file
        self.line = line
        super().__init__(f"{file}:{line}: {message}" if line else f"{file}: {message}")


class Row(NamedTuple):
    """One labelled prompt; labels as positions in ``LABELS``."""

    text: str
    label: int
    also: tuple[int, ...]
    """Labels that would be accepted too."""
    lang: str
    source: str
    id: str
    """As the file has it, else made of the text: what decides the row's fold."""
    weight: float = 1.0
    """How much it counts in training, compared with other rows."""

    @property
    def accepted(self) -> frozenset[int]:
        """Every label that is right."""
        return frozenset((self.label, *self.also))


def read_rows(paths: Sequence[Path]) -> list[Row]:
    """The rows of all files, in order. Raises ``RowError`` at the first fault, and for a file without rows."""
    return [row for path in paths for row in _read_file(path)]


def _read_file(path: Path) -> list[Row]:
    rows = []
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE + 1):
                number += 1
                if len(line) > MAX_LINE:
                    raise RowError(
                        f"a line of more than {MAX_LINE:,} bytes; shorten or drop the row", str(path), number
                    )
                if not line.isspace():
                    rows.append(_row(line, str(path), number))
    except OSError as error:
        raise RowError(error.strerror or str(error), str(path)) from None
    if not rows:
        raise RowError('no rows; each line is {"text": ..., "label": ...}', str(path))
    return rows


def _row(line: bytes, file: str, number: int) -> Row:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        # Its text holds none of the line's, only what was expected and where.
        raise RowError(f"not JSON: {error}", file, number) from None
    if not isinstance(found, dict):
        raise RowError('not an object; a row is {"text": ..., "label": ...}', file, number)
    text = _string(found, "text", file, number)
    if not text.strip():
        raise RowError('"text" is empty; drop the row', file, number)
    also = found.get("also") or []
    if not isinstance(also, list):
        raise RowError('"also" is no list of labels', file, number)
    return Row(
        text,
        _label(found.get("label"), "label", file, number),
        tuple(_label(name, "also", file, number) for name in also),
        _string(found, "lang", file, number, "unknown"),
        _string(found, "source", file, number, "unknown"),
        _string(found, "id", file, number, hashlib.sha256(text.encode()).hexdigest()),
        _weight(found.get("weight", 1.0), file, number),
    )


def _string(found: dict[str, Any], key: str, file: str, number: int, default: str | None = None) -> str:
    value = found.get(key, default)
    if not isinstance(value, str):
        raise RowError(f'"{key}" is missing or no string', file, number)
    return value


def _weight(value: object, file: str, number: int) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 1 / MAX_WEIGHT <= value <= MAX_WEIGHT:
        return float(value)
    raise RowError(f'"weight" is no number from {1 / MAX_WEIGHT} to {MAX_WEIGHT}; drop it for 1', file, number)


def _label(name: object, key: str, file: str, number: int) -> int:
    if isinstance(name, str) and name in LABELS:
        return LABELS.index(name)
    shown = f'"{name[:40]}"' if isinstance(name, str) else "absent or no string"
    near = did_you_mean(name, LABELS) if isinstance(name, str) else ""
    raise RowError(f'"{key}" is {shown}, not a label; {near or "labels: " + ", ".join(LABELS)}', file, number)
