"""Checks of models and of the servers that have them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from modelway.backends.base import RunningModel, same_name
from modelway.config.settings import ResolvedBackend, ResolvedModel
from modelway.doctor.examined import Examined
from modelway.doctor.finding import Finding
from modelway.monitor.checks import presence

#: Enough for long conversations, and little memory beside that of most models.
_USUAL_CONTEXT = 8_192


def silent_servers(examined: Examined) -> Iterator[Finding]:
    """Servers on this device that do not answer."""
    for name, seen in examined.seen.items():
        if seen.reachable is False:
            backend = examined.backends[name]
            start = "ollama serve" if backend.kind == "ollama" else "start it"
            yield Finding(
                "silent_servers",
                "problem",
                "it does not answer, so none of its models can",
                (f"{name} ({backend.url})",),
                f"{start}, or correct its [[backends]] entry",
            )


def missing_models(examined: Examined) -> Iterator[Finding]:
    """Models of the configuration that their server does not have; one that is a default is missed at once."""
    defaults = {model: task for task, model in reversed(examined.defaults.items())}
    models = {model.id: model for model in examined.settings.models}
    for name, seen in examined.seen.items():
        if seen.served is None:
            continue
        _, missing = presence(examined.settings.models, examined.backends[name], seen.served)
        for model in missing:
            what = f"the default for {defaults[model]} is not there" if model in defaults else "it is not there"
            yield Finding(
                "missing_models",
                "problem" if model in defaults else "note",
                f"{what}: {name} has no model of this name",
                (model,),
                _how_to_get(models[model], examined.backends[name]),
            )


def _how_to_get(model: ResolvedModel, backend: ResolvedBackend) -> str:
    if backend.kind == "ollama":
        return f"ollama pull {shlex.quote(model.name)}"
    return f"put {model.path} there" if model.path else "correct its [[models]] entry"


def missing_tools(examined: Examined) -> Iterator[Finding]:
    """Models that are meant for tools and can't use them."""
    default = examined.defaults.get("tool_use")
    able = next((model.id for model in examined.settings.models if model.supports_tools), None)
    for i, model in enumerate(examined.settings.models):
        # What discovery guessed from a name is nobody's wish.
        is_meant = "tool_use" in model.strengths and not examined.config.was_found(f"models[{i}].strengths")
        if model.supports_tools or not (is_meant or model.id == default):
            continue
        meant = "it is the default for tool_use" if model.id == default else "tool_use is among its strengths"
        yield Finding(
            "missing_tools",
            "problem",
            f"{meant}, but it takes no tools: requests with tools pass it over",
            (model.id,),
            f'[defaults] tool_use = "{able}"'
            if able is not None and model.id == default
            else "take another model, or write supports_tools = true if it does take them",
        )


def unknown_licenses(examined: Examined) -> Iterator[Finding]:
    """Models of which nobody says under what licence they are."""
    unknown = tuple(model.id for model in examined.settings.models if model.license_tier == "unknown")
    if unknown:
        yield Finding(
            "unknown_licenses",
            "note",
            "their licence is not known, so they rank last among equal models",
            unknown,
            f'license = "..." in the [[models]] entry of each, as in id = "{unknown[0]}": what its maker says',
        )


def cpu_offload(examined: Examined) -> Iterator[Finding]:
    """Models in memory that do not fit onto the graphics card. Without a card there is nothing to be done."""
    for name, models in examined.running.items():
        for model in models:
            share = _share_on_processor(model)
            if share and (examined.machine.has_gpu or share < 100):
                yield Finding(
                    "cpu_offload",
                    "note",
                    f"{share} % of it are in the machine's own memory and computed by the processor, which is slow",
                    (f"{model.name} ({name})",),
                    "give it less context (max_context), take a smaller quantisation, or unload other models",
                )


def _share_on_processor(model: RunningModel) -> int:
    """In percent, more than none counting as one."""
    if not model.size_bytes or model.vram_bytes is None or model.vram_bytes >= model.size_bytes:
        return 0
    return max(1, round(100 * (1 - model.vram_bytes / model.size_bytes)))


def unstable_context(examined: Examined) -> Iterator[Finding]:
    """Ollama's models whose context nobody wrote down."""
    for backend in examined.settings.backends:
        left = [
            model
            for model in examined.settings.models
            if model.backend == backend.name and model.location == "device" and model.num_ctx is None
        ]
        if backend.kind == "ollama" and left:
            yield Finding(
                "unstable_context",
                "note",
                f"no max_context is written, so {backend.name} decides how much context they are loaded with: by its "
                "version, its environment (OLLAMA_CONTEXT_LENGTH) and its memory. What is longer is refused",
                tuple(model.id for model in left),
                f"max_context = {_context_of(examined, left[0])} in the [[models]] entry of each, as in id = "
                f'"{left[0].id}"',
            )


def _context_of(examined: Examined, model: ResolvedModel) -> int:
    """What it is loaded with now, else a usual one that it was made for."""
    for running in examined.running.get(model.backend, ()):
        if running.context and same_name(running.name) == same_name(model.name):
            return running.context
    return min(_USUAL_CONTEXT, model.max_context or _USUAL_CONTEXT)
