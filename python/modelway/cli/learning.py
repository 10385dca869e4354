"""What ``eval`` and ``train`` share: their files of labelled prompts, and the package that only they need."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import click

from modelway.errors import ModelwayError

F = TypeVar("F", bound=Callable[..., Any])

_NEEDED = "numpy"


def require_learning() -> None:
    """Raises ``ModelwayError`` with the remedy where the extra ``learn`` is not installed."""
    if find_spec(_NEEDED) is None:
        raise ModelwayError(f"{_NEEDED} not found; install it: pip install 'modelway[learn]'")


def rows_argument(*, required: bool = True) -> Callable[[F], F]:
    """Adds ``FILE...``: JSON lines of labelled prompts."""
    return click.argument("files", metavar="FILE...", nargs=-1, required=required, type=click.Path(path_type=Path))


def seed_option(command: F) -> F:
    """Adds ``--seed``."""
    return click.option(
        "--seed", type=click.IntRange(0), default=0, show_default=True, help="Draws what is left to chance."
    )(command)
