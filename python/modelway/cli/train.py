"""``modelway train``: weights from one's own prompts, written only where they are better than those in force."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelway.cli.clean import clean
from modelway.cli.learning import require_learning, rows_argument, seed_option
from modelway.cli.options import Common, common_options, pass_common
from modelway.cli.output import columns, note, print_json

if TYPE_CHECKING:
    from modelway.learn.comparison import Candidate

_FIGURES = ("strict", "lenient", "macro_f1", "ece")


@click.command()
@rows_argument
@click.option("--out", required=True, metavar="WEIGHTS", type=click.Path(path_type=Path), help="Where to write them.")
@click.option("--force", is_flag=True, help="Write weights that are no better than those in force, too.")
@seed_option
@common_options
@pass_common
def train(common: Common, *, files: tuple[Path, ...], out: Path, force: bool, seed: int) -> None:
    """Train the classifier on labelled prompts, on this machine.

    FILE is as for eval. The new weights are compared with those in force on the same prompts, each read by weights
    that were trained without it.
    """
    require_learning()
    if not out.parent.is_dir() or out.is_dir():
        raise click.BadParameter(f"{out}: not a file in a folder that exists", param_hint="--out")
    from modelway.learn.comparison import train_candidate
    from modelway.learn.rows import read_rows
    from modelway.learn.training import TrainingError

    candidate = train_candidate(common.load_config(), read_rows(files), seed)
    written = candidate.is_better or force
    if written:
        _replace(out, candidate.weights)
    if common.json:
        print_json(candidate.report | {"better": candidate.is_better, "written": str(out) if written else None})
    else:
        click.echo(clean(comparison_lines(candidate)))
    if not written:
        raise TrainingError(
            "no better than the weights in force, so nothing was written; --force writes them all the same"
        )
    note(f'{out} is written; it is used with [classifier] weights = "{out.absolute()}" in the configuration')


def _replace(file: Path, content: bytes) -> None:
    """Write ``file`` whole or not at all: a router may read it at any moment."""
    part = file.with_name(f"{file.name}.part")
    try:
        part.write_bytes(content)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def comparison_lines(candidate: Candidate) -> str:
    """How the new weights and those in force read the same prompts, for people."""
    rows = [(name, *(f"{candidate.report[name][key]:.3f}" for key in _FIGURES)) for name in ("present", "trained")]
    return columns([(f"{candidate.report['n']} prompts", *_FIGURES), *rows])
