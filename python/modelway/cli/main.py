"""The command ``modelway``: its group of commands, and what becomes of the errors they raise."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

import click

import modelway
from modelway.cli.ask import ask
from modelway.cli.chat import chat
from modelway.cli.config import config
from modelway.cli.consent import consent
from modelway.cli.doctor import doctor
from modelway.cli.egress import egress
from modelway.cli.evaluate import evaluate
from modelway.cli.exits import FAILED, INTERRUPTED, WRONG_USE
from modelway.cli.licenses import licenses
from modelway.cli.models import models
from modelway.cli.options import common_options
from modelway.cli.output import note, show_log
from modelway.cli.route import route
from modelway.cli.serve import serve
from modelway.cli.train import train
from modelway.errors import ConfigError, InvalidRequest, ModelwayError


class Commands(click.Group):
    """A group whose commands may raise: every expected error becomes one message and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ModelwayError as error:
            note(f"error: {error}")
            code = WRONG_USE if isinstance(error, ConfigError | InvalidRequest) else FAILED
        except KeyboardInterrupt:
            note("")  # closes the terminal's ^C
            code = INTERRUPTED
        except BrokenPipeError:
            _forget_stdout()
            code = INTERRUPTED
        raise click.exceptions.Exit(code)


def _forget_stdout() -> None:
    """Point stdout at nothing: Python flushes it at exit and would report the broken pipe once more."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)


def _print_version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        click.echo(f"modelway {modelway.__version__}")
        ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
@common_options
def cli() -> None:
    """The local-first router for many language models.

    Reads a prompt, decides which model serves it, says why, and falls back visibly when a model fails.
    """
    show_log()


for command in (route, ask, chat, serve, models, licenses, doctor, consent, egress, config, evaluate, train):
    cli.add_command(command)


def main() -> None:
    """The entry point: runs the command line and exits."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A model may write what the locale's encoding (or UTF-8: lone surrogates) has no bytes for.
            stream.reconfigure(errors="backslashreplace")
    cli(prog_name="modelway")
