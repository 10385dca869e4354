"""``modelway doctor``: what is wrong or wasteful here, each finding with its remedy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from modelway.cli.clean import clean
from modelway.cli.exits import FAILED
from modelway.cli.options import Common, common_options, pass_common
from modelway.cli.output import print_json

if TYPE_CHECKING:
    from modelway.doctor import Finding


@click.command()
@common_options
@pass_common
def doctor(common: Common) -> None:
    """Look for what is wrong or wasteful here, and say how to mend it.

    The exit code is 1 if there are problems; notes alone leave it 0. Only servers on this device are asked, and no
    model is loaded.
    """
    import asyncio

    from modelway.doctor import diagnose

    findings = asyncio.run(diagnose(common.load_config()))
    problems = sum(finding.severity == "problem" for finding in findings)
    notes = len(findings) - problems
    if common.json:
        print_json({"findings": list(map(asdict, findings)), "problems": problems, "notes": notes})
    else:
        _show(findings)
        click.echo(
            f"{_counted(problems, 'problem')}, {_counted(notes, 'note')}" if findings else "Nothing is wrong here."
        )
    if problems:
        raise click.exceptions.Exit(FAILED)


def _show(findings: Sequence[Finding]) -> None:
    for finding in findings:
        told = {finding.severity: finding.what, "where": ", ".join(finding.where), "remedy": finding.remedy}
        for heading, text in told.items():
            click.echo(clean(f"{heading:<8} {text}"))
        click.echo()


def _counted(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"
