"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """``check`` names the check, ``where`` the models, backends or files that it is about.

    A ``problem`` is to be mended, a ``note`` to be known. ``remedy`` is a command, a line of the configuration, or what
    is to be done.
    """

    check: str
    severity: Literal["problem", "note"]
    what: str
    where: tuple[str, ...]
    remedy: str
