"""Asks the user at the terminal whether something may be sent to another place, and goes on with the answer."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click

from modelway.cli.clean import clean
from modelway.errors import ConsentRequired

if TYPE_CHECKING:
    from modelway.conductor import Conductor

_T = TypeVar("_T")


async def with_consent(conductor: Conductor, ask: Callable[[], Awaitable[_T]], *, may_ask: bool) -> _T:
    """What ``ask`` comes to; where that takes consent and somebody sits at a terminal, they are asked, and it goes on.

    Raises :class:`ConsentRequired` where they say no, which is the default, or nobody can be asked.
    """
    while True:
        try:
            return await ask()
        except ConsentRequired as error:
            if not (may_ask and error.destination and sys.stdin.isatty() and sys.stderr.isatty()):
                raise
            if not _allows(error):
                raise
            await conductor.consents.grant(error.destination, error.kinds)


def _allows(error: ConsentRequired) -> bool:
    what = ", ".join(kind.replace("_", " ") for kind in error.kinds)
    models = ", ".join(error.models)
    question = f"{models} runs at {error.destination}. May {what} be sent there, until you revoke it?"
    try:
        # On the loop's own thread, where Ctrl-C ends the question; nothing else is under way meanwhile.
        return click.confirm(clean(question), default=False, err=True)
    except click.Abort:
        return False
