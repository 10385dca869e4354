"""``modelway licenses``: how free each model is, who says so, and which ones the configuration forbids."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from itertools import zip_longest
from typing import TYPE_CHECKING

import click

from modelway.cli.clean import clean
from modelway.cli.options import Common, common_options, pass_common
from modelway.cli.output import columns, note, print_json

if TYPE_CHECKING:
    from modelway.config import Config
    from modelway.config.settings import ResolvedModel, Settings

_HEADINGS = ("MODEL", "BACKEND", "LICENCE", "TIER", "ACCORDING TO", "USE")
#: Freest first, as the router prefers them.
_TIERS = ("permissive", "copyleft", "restricted", "proprietary", "unknown")


@dataclass(frozen=True, slots=True)
class Licensed:
    """One model's licence. ``license`` is its short name or, where that is not known, what was said; None: nothing was.

    ``according_to``: ``configuration``, ``server``, ``file``, or ``unknown``.
    """

    model: str
    backend: str
    license: str | None
    tier: str
    according_to: str
    forbidden: bool


@click.command()
@click.option("--csv", "as_csv", is_flag=True, help="Comma-separated values on stdout and nothing else.")
@common_options
@pass_common
def licenses(common: Common, as_csv: bool) -> None:
    """List the licence of every model, the freest first, and who says that it is this one.

    A licence that is not recognised is unknown and ranks last. [licenses] forbid keeps models from being used.
    """
    if as_csv and common.json:
        raise click.UsageError("--csv and --json are two forms of one list; take one of them")
    import asyncio

    from modelway.config.settings import resolve
    from modelway.discovery import discover

    config = asyncio.run(discover(common.load_config()))
    settings = resolve(config)
    listed = licensed_models(config, settings)
    totals = Counter(one.tier for one in listed)
    if common.json:
        document = {"models": list(map(asdict, listed)), "totals": {tier: totals[tier] for tier in _TIERS}}
        print_json(document | {"forbid": settings.forbid_licenses})
    elif as_csv:
        _write_csv(listed)
    elif listed:
        click.echo(clean(columns([_HEADINGS, *map(_row, listed)])))
        click.echo()
        click.echo(_summary(listed, totals))
    else:
        note("No models: the configuration names none and no backend on this device has any. Is Ollama running?")


def licensed_models(config: Config, settings: Settings) -> list[Licensed]:
    """Every model of a completed configuration, the freest first."""
    backends = {backend.name: backend.kind for backend in settings.backends}
    sources = config.describe()["sources"]
    listed = []
    for i, (model, written) in enumerate(zip_longest(settings.models, config.models)):
        # A model that only [defaults] names is written nowhere.
        said = None if written is None else written.license
        source = "unknown" if said is None else "configuration"
        if said is not None and sources[f"models[{i}].license"] == "discovered":
            source = "file" if backends[model.backend] == "llama_cpp" else "server"
        shown = model.license or said
        barred = is_forbidden(model, settings)
        listed.append(Licensed(model.id, model.backend, shown, model.license_tier, source, barred))
    return sorted(listed, key=lambda one: _TIERS.index(one.tier))


def is_forbidden(model: ResolvedModel, settings: Settings) -> bool:
    """Whether ``[licenses] forbid`` names the model's licence or its tier; the router decides the same."""
    return not {model.license, model.license_tier}.isdisjoint(settings.forbid_licenses)


def _row(one: Licensed) -> tuple[str, ...]:
    use = "forbidden" if one.forbidden else "allowed"
    return (one.model, one.backend, one.license or "unknown", one.tier, one.according_to, use)


def _summary(listed: Sequence[Licensed], totals: Counter[str]) -> str:
    forbidden = sum(one.forbidden for one in listed)
    counts = ", ".join(f"{totals[tier]} {tier}" for tier in _TIERS if totals[tier])
    return f"{counts}; " + (f"{forbidden} forbidden by [licenses] forbid" if forbidden else "none forbidden")


def _write_csv(listed: Sequence[Licensed]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([field.name for field in fields(Licensed)])
    for one in listed:
        row = asdict(one) | {"license": one.license or "", "forbidden": "yes" if one.forbidden else "no"}
        writer.writerow([clean(value) for value in row.values()])
