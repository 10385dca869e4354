"""``modelway models``: every model the router chooses from, and what is known of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from modelway.cli.clean import clean
from modelway.cli.options import Common, common_options, pass_common
from modelway.cli.output import columns, note, print_json
from modelway.events import PLACES

if TYPE_CHECKING:
    from modelway.config import Config
    from modelway.config.settings import ResolvedModel
    from modelway.types import ModelHealth

_HEADINGS = ("MODEL", "BACKEND", "WHERE", "STRENGTHS", "CONTEXT", "MEMORY", "LICENCE", "TOOLS", "HEALTH")


@click.command()
@common_options
@pass_common
def models(common: Common) -> None:
    """List every model and what is known of it."""
    from modelway.cli.routing import open_router

    config, router = open_router(common.load_config())
    listed = [(model, router.health(model.id)) for model in router.settings.models]
    guessed = models_with_guessed_strengths(config)
    if common.json:
        print_json([document(model, health, model.id in guessed) for model, health in listed])
    elif listed:
        click.echo(clean(columns([_HEADINGS, *(_row(model, health, model.id in guessed) for model, health in listed)])))
        if guessed:
            note("A strength with ? is guessed from the model's name; [[models]] in the configuration says it surely.")
    else:
        note("No models: the configuration names none and no backend on this device has any. Is Ollama running?")


def models_with_guessed_strengths(config: Config) -> set[str]:
    """The ids of the models whose strengths discovery read off their names."""
    sources = config.describe()["sources"]
    return {model.id for i, model in enumerate(config.models) if sources[f"models[{i}].strengths"] == "guessed"}


def document(model: ResolvedModel, health: ModelHealth, is_guessed: bool) -> dict[str, Any]:
    """One model for a program; ``health`` as the router sees it now."""
    return {
        **asdict(model),
        "strengths_guessed": is_guessed,
        "health": {
            "state": health.state,
            "held": health.held,
            "available": health.available,
            "success_rate": health.success_rate,
            "retry_in_s": health.retry_in_s,
        },
    }


def _row(model: ResolvedModel, health: ModelHealth, is_guessed: bool) -> tuple[str, ...]:
    mark = "?" if is_guessed else ""
    return (
        model.id,
        model.backend,
        PLACES[model.location],
        " ".join(task + mark for task in model.strengths) or "none given",
        "unknown" if model.max_context is None else str(model.max_context),
        "unknown" if model.memory_bytes is None else f"{model.memory_bytes / 1e9:.1f} GB",
        model.license_tier,
        "yes" if model.supports_tools else "no",
        "available" if health.available else health.held or health.state,
    )
