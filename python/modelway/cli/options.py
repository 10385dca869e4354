"""The options every command takes, before its name or after it, and those that several commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from modelway.config import Config
    from modelway.types import TaskClass

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Common:
    """What ``--config`` and ``--json`` said, wherever on the command line they stood."""

    config_path: str | None = None
    json: bool = False

    def load_config(self) -> Config:
        """The configuration to be used. Raises ``ConfigError``."""
        from modelway.config import load_config

        return load_config(self.config_path)


pass_common = click.make_pass_decorator(Common, ensure=True)


def _remember(attribute: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(context: click.Context, _parameter: click.Parameter, value: Any) -> None:
        if value:  # absent here must not undo what stood before the command
            setattr(context.ensure_object(Common), attribute, value)

    return callback


def common_options(command: F) -> F:
    """Adds ``--config`` and ``--json``; the command reads them from ``pass_common``."""
    command = click.option(
        "--json", is_flag=True, expose_value=False, callback=_remember("json"), help="JSON on stdout and nothing else."
    )(command)
    return click.option(
        "--config",
        metavar="FILE",
        expose_value=False,
        callback=_remember("config_path"),
        help="The configuration; default: $MODELWAY_CONFIG, ./modelway.toml, the user's one.",
    )(command)


def task_option(command: F) -> F:
    """Adds ``--task``, a task class by its short or long name."""
    return click.option(
        "--task",
        metavar="NAME",
        callback=_parse_task,
        help="Name the task instead of having it read in the prompt.",
    )(command)


def _parse_task(_context: click.Context, _parameter: click.Parameter, value: str | None) -> TaskClass | None:
    if value is None:
        return None
    from modelway.types import TaskClass

    try:
        return TaskClass.parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def prompt_argument(command: F) -> F:
    """Adds ``PROMPT``: absent or ``-`` reads standard input, unless that is a terminal."""
    return click.argument("prompt", required=False, callback=_read_prompt)(command)


def _read_prompt(context: click.Context, _parameter: click.Parameter, value: str | None) -> str:
    if value is None and sys.stdin.isatty():
        raise click.UsageError("no prompt: give it as an argument, pipe it in, or write - to type it", context)
    if value is not None and value != "-":
        return value
    try:
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise click.BadParameter(f"standard input is not UTF-8 text (byte {error.start}); convert it first") from None


def image_option(command: F) -> F:
    """Adds ``--image``, which may be repeated; each file becomes a data URL."""
    return click.option(
        "--image",
        "images",
        metavar="FILE",
        multiple=True,
        callback=_read_images,
        help="A PNG, JPEG, WebP or GIF file of at most 10 MiB; may be given more than once.",
    )(command)


def _read_images(_context: click.Context, _parameter: click.Parameter, paths: tuple[str, ...]) -> tuple[str, ...]:
    if not paths:
        return ()
    from modelway.cli.images import data_url

    urls = []
    for path in paths:
        try:
            urls.append(data_url(Path(path)))
        except OSError as error:
            raise click.BadParameter(f"{path}: {error.strerror or error}") from None
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
    return tuple(urls)
