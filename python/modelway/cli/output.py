"""What goes to which stream: results to stdout, notes for people to stderr, JSON alone on stdout."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

import click

from modelway.cli.clean import clean


def note(text: str) -> None:
    """One line for people on stderr; it may hold names and words that a server sent."""
    click.echo(clean(text), err=True)


class NoteHandler(logging.Handler):
    """What modelway logs, as notes."""

    def emit(self, record: logging.LogRecord) -> None:
        note(self.format(record))


def show_log() -> None:
    """Warnings of modelway as notes, and what its monitor has to tell: alerts, and that they are over."""
    logger = logging.getLogger("modelway")
    if not any(isinstance(handler, NoteHandler) for handler in logger.handlers):
        logger.addHandler(NoteHandler())
    logging.getLogger("modelway.monitor").setLevel(logging.INFO)


def print_json(document: object, *, pretty: bool = True) -> None:
    """One JSON document on stdout, in UTF-8 whatever the locale; not ``pretty``: on a single line.

    What JSON has no type for (paths, enums) stands there as its ``str()``.
    """
    text = json.dumps(document, ensure_ascii=False, indent=2 if pretty else None, default=str)
    # A lone surrogate has no UTF-8; backslashreplace spells it as the JSON escape that it needs.
    click.echo(text.encode("utf-8", "backslashreplace"))


def columns(rows: Sequence[Sequence[str]], indent: str = "") -> str:
    """Rows of cells as aligned lines, two spaces between columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join((indent + line).rstrip() for line in lines)
