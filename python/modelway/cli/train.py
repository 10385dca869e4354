"""``modelway train``: weights from one's own prompts, written only where they are better than those in force."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelway.cli.clean import clean
from modelway.cli.learning import require_learning, rows_argument, seed_option
from modelway.cli.options import Common, common_options, pass_common
from modelway.cli.output import columns, note, print_json
from modelway.errors import ModelwayError

if TYPE_CHECKING:
    from modelway.config import Config
    from modelway.learn.comparison import Candidate

_FIGURES = ("strict", "lenient", "macro_f1", "ece")


@click.command()
@rows_argument(required=False)
@click.option(
    "--out",
    metavar="WEIGHTS",
    type=click.Path(path_type=Path),
    help="Where to write them; default: weights.bin in the user's configuration folder, where they are in force.",
)
@click.option("--from-scratch", is_flag=True, help="Start from nothing instead of from the weights in force.")
@click.option("--force", is_flag=True, help="Write weights that are no better than those in force, too.")
@click.option("--reset", is_flag=True, help="Go back to the shipped weights; nothing else is done.")
@seed_option
@common_options
@pass_common
def train(
    common: Common,
    *,
    files: tuple[Path, ...],
    out: Path | None,
    from_scratch: bool,
    force: bool,
    reset: bool,
    seed: int,
) -> None:
    """Train the classifier on labelled prompts, on this machine.

    FILE is as for eval; a row may carry a "weight". Training starts from the weights in force, which a few hundred
    prompts can improve. The new ones are compared with those in force on the same prompts, each read by weights that
    were trained without it.
    """
    if reset:
        if files or out or from_scratch or force:
            raise click.UsageError("--reset stands alone")
        _reset(common)
        return
    if not files:
        raise click.UsageError("FILE... is missing: labelled prompts, as for eval")
    if out and (not out.parent.is_dir() or out.is_dir()):
        raise click.BadParameter(f"{out}: not a file in a folder that exists", param_hint="--out")
    require_learning()
    from modelway.config import trained_weights_file
    from modelway.learn.comparison import train_candidate
    from modelway.learn.rows import read_rows
    from modelway.learn.training import TrainingError

    config = common.load_config()
    candidate = train_candidate(config, read_rows(files), seed, from_scratch=from_scratch)
    file = out or trained_weights_file()
    written = candidate.is_better or force
    if written:
        _replace(file, candidate.weights)
    if common.json:
        print_json(candidate.report | {"better": candidate.is_better, "written": str(file) if written else None})
    else:
        click.echo(clean(comparison_lines(candidate)))
    if not written:
        raise TrainingError(
            "no better than the weights in force, so nothing was written; --force writes them all the same"
        )
    note(f"{file} is written; {_use_of(config) if out is None else _line_for(file)}")


def _line_for(file: Path) -> str:
    return f'it is used with [classifier] weights = "{file.absolute()}" in the configuration'


def _use_of(config: Config) -> str:
    """What becomes of weights at their usual place."""
    if _is_written(config):
        return f"it is not used as long as there is {_line(config)}"
    return "it is in force from now on; `modelway train --reset` brings the shipped weights back"


def _is_written(config: Config) -> bool:
    return config.classifier.weights is not None and not config.was_found("classifier.weights")


def _line(config: Config) -> str:
    return f'[classifier] weights = "{config.classifier.weights}" in {config.source}'


def _reset(common: Common) -> None:
    from modelway.config import trained_weights_file

    config = common.load_config()
    if _is_written(config):
        raise ModelwayError(f"the weights in force are those of {_line(config)}; remove this line for the shipped ones")
    file = trained_weights_file()
    try:
        file.unlink()
    except FileNotFoundError:
        note("the shipped weights are in force already")
        removed = None
    except OSError as error:
        raise ModelwayError(f"{file} can't be removed: {error.strerror}") from error
    else:
        note(f"{file} is removed; the shipped weights are in force again")
        removed = str(file)
    if common.json:
        print_json({"removed": removed})


def _replace(file: Path, content: bytes) -> None:
    """Write ``file`` whole or not at all: a router may read it at any moment."""
    part = file.with_name(f"{file.name}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        part.replace(file)
    except OSError as error:
        raise ModelwayError(f"{file} can't be written: {error.strerror}; name another with --out") from error
    finally:
        with suppress(OSError):  # it is not there, or never was
            part.unlink()


def comparison_lines(candidate: Candidate) -> str:
    """How the new weights and those in force read the same prompts, for people."""
    rows = [(name, *(f"{candidate.report[name][key]:.3f}" for key in _FIGURES)) for name in ("present", "trained")]
    return columns([(f"{candidate.report['n']} prompts", *_FIGURES), *rows])
