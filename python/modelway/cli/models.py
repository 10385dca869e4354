"""``modelway models``: every model the router chooses from, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from modelway.cli.clean import clean
from modelway.cli.options import Common, common_options, pass_common
from modelway.cli.output import columns, note, print_json
from modelway.cli.running import models_of_gateway
from modelway.events import PLACES

if TYPE_CHECKING:
    from modelway.config import Config
    from modelway.config.settings import ResolvedModel, Settings

_HEADINGS = (
    "MODEL", "BACKEND", "WHERE", "STRENGTHS", "CONTEXT", "PARAMETERS", "QUANTISATION", "SIZE", "MEMORY", "LICENCE",
    "TOOLS", "WARM", "IN MEMORY",
)  # fmt: skip
#: What only a gateway that runs can tell.
_HEADINGS_RUNNING = ("HEALTH", "RUNNING", "WAITING")


@click.command()
@common_options
@pass_common
def models(common: Common) -> None:
    """List every model and what is known of it.

    Its health, and how many requests run and wait, stand there while a gateway (modelway serve) runs.
    """
    import asyncio

    config, settings, in_memory = asyncio.run(_as_the_servers_say(common.load_config()))
    listed = settings.models
    guessed = models_with_guessed_strengths(config)
    running = models_of_gateway(config) if listed else {}
    # A gateway's own processes are its own to tell of, and it sees loads that have just begun.
    in_memory |= {id_: {key: one[key] for key in in_memory[id_]} for id_, one in running.items() if id_ in in_memory}
    if common.json:
        print_json(
            [
                {
                    **asdict(model),
                    "strengths_guessed": model.id in guessed,
                    "in_memory": in_memory[model.id],
                    "running": running.get(model.id),  # None: no gateway says anything of it
                }
                for model in listed
            ]
        )
    elif listed:
        rows = [(*_HEADINGS, *(_HEADINGS_RUNNING if running else ()))]
        for model in listed:
            at_gateway = _row_running(running.get(model.id)) if running else ()
            rows.append((*_row(model, model.id in guessed), *_row_in_memory(in_memory[model.id]), *at_gateway))
        click.echo(clean(columns(rows)))
        if guessed:
            note("A strength with ? is guessed from the model's name; [[models]] in the configuration says it surely.")
    else:
        note("No models: the configuration names none and no backend on this device has any. Is Ollama running?")


async def _as_the_servers_say(written: Config) -> tuple[Config, Settings, dict[str, dict[str, Any]]]:
    """The configuration completed, what it means, and by id what is in memory; that a default's model is missing is
    told on the way."""
    from modelway.conductor import Conductor
    from modelway.conductor.warmth import warmth_of

    async with Conductor(written) as conductor:
        settings = conductor.settings
        in_memory = {model.id: asdict(warmth_of(conductor, model.id)) for model in settings.models}
        return conductor.monitor.config or written, settings, in_memory


def models_with_guessed_strengths(config: Config) -> set[str]:
    """The ids of the models whose strengths discovery read off their names."""
    sources = config.describe()["sources"]
    return {model.id for i, model in enumerate(config.models) if sources[f"models[{i}].strengths"] == "guessed"}


def _row_running(running: Mapping[str, Any] | None) -> tuple[str, ...]:
    if running is None:  # the gateway serves another configuration
        return ("not served", "", "")
    health = "available" if running["available"] else running["held"] or running["state"]
    return (health, str(running["running"]), str(running["waiting"]))


def _row_in_memory(known: Mapping[str, Any]) -> tuple[str, str]:
    return (known["warmth"] or f"unknown: {known['why_unknown']}", _bytes(known["held_bytes"]))


def _row(model: ResolvedModel, is_guessed: bool) -> tuple[str, ...]:
    mark = "?" if is_guessed else ""
    return (
        model.id,
        model.backend,
        PLACES[model.location],
        " ".join(task + mark for task in model.strengths) or "none given",
        "unknown" if model.max_context is None else str(model.max_context),
        model.parameters or "unknown",
        model.quantization or "unknown",
        _bytes(model.size_bytes),
        _bytes(model.memory_bytes),
        model.license_tier,
        "yes" if model.supports_tools else "no",
    )


def _bytes(count: int | None) -> str:
    if count is None:
        return "unknown"
    return f"{count / 1e9:.1f} GB" if count >= 10**9 else f"{count / 1e6:.1f} MB"
