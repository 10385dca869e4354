"""The family of a row: rows of one data set were made in one way, and stand or fall together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from modelway.learn.rows import Row, RowError

NAMES_FILE = "sources.tsv"


def family_names(file: Path) -> list[str]:
    """The second column of ``sources.tsv`` in the folder of ``file``; empty where there is none."""
    names = file.parent / NAMES_FILE
    if not names.exists():
        return []
    try:
        lines = names.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RowError(f"can't be read: {error}", str(names)) from None
    return [cells[1] for line in lines if len(cells := line.split("\t")) > 1 and cells[1]]


def families(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """Of each row the longest of ``names`` that its source begins with, else the source itself.

    Raises ``RowError`` where all rows are of one family: nothing would be left to train on.
    """
    longest_first = sorted(names, key=len, reverse=True)
    found = [next((name for name in longest_first if row.source.startswith(name)), row.source) for row in rows]
    if len(set(found)) < 2:
        raise RowError(f'all rows are of the family "{found[0]}"; leaving it out leaves none', "the rows")
    return found
