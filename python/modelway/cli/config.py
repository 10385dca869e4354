"""``modelway config``: is the configuration sound, what is in force and where from, and its JSON schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from modelway.cli.clean import clean
from modelway.cli.exits import WRONG_USE
from modelway.cli.options import Common, common_options, pass_common
from modelway.cli.output import columns, note, print_json
from modelway.errors import ConfigError
from modelway.explain import allowance


@click.group()
@common_options
def config() -> None:
    """Check and show the configuration."""


@config.command()
@common_options
@pass_common
def check(common: Common) -> None:
    """Name every problem of the configuration; the exit code is 2 if there are any."""
    from modelway.router import ModelRouter

    problems: tuple[dict[str, str], ...] = ()
    try:
        written = common.load_config()
        ModelRouter(written)  # works out what the keys mean together, and checks the names in chains
    except ConfigError as error:
        for problem in error.problems:
            note(f"{error.source}: {problem}" if error.source else str(problem))
        problems = tuple(problem._asdict() for problem in error.problems)
    else:
        note(f"{written.source or 'the built-in configuration'}: no problems")
    if common.json:
        print_json(problems)
    if problems:
        raise click.exceptions.Exit(WRONG_USE)


@config.command()
@common_options
@pass_common
def show(common: Common) -> None:
    """Show every value in force and where it comes from, and each limit that follows."""
    from modelway.router import ModelRouter

    written = common.load_config()
    described = written.describe() | {"limits": ModelRouter(written).limits_in_force()}
    if common.json:
        print_json(described)
        return
    click.echo(f"# {described['source'] or 'built in: no configuration file was found'}")
    click.echo(clean(columns(list(_assignments(described["values"], described["sources"], "")))))
    limits = [(limit["of"], allowance(limit)) for limit in described["limits"]]
    click.echo("\n# limits in force")
    click.echo(clean(columns(limits)))


@config.command()
@common_options
def schema() -> None:
    """Print the JSON schema of the configuration file, for editors."""
    from modelway.config import Config

    print_json(Config.model_json_schema())


def _assignments(value: Any, sources: dict[str, str], path: str) -> Iterator[tuple[str, str]]:
    """The source of each path that has one, and ``path = value``."""
    if path in sources:
        yield sources[path], f"{path} = {json.dumps(value, ensure_ascii=False)}"
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _assignments(item, sources, f"{path}.{key}" if path else key)
    else:
        for i, item in enumerate(value):
            yield from _assignments(item, sources, f"{path}[{i}]")
