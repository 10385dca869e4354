"""What an alert says to people: what is the matter, for how long, and what mends it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelway.config.settings import ResolvedBackend, Settings


def trouble_sentence(what: str, backend: str, model: str | None, lasted_s: float, settings: Settings) -> str:
    match what:
        case "unreachable":
            return f"{backend} has not answered for {span(lasted_s)}; is its server running?"
        case "circuit" if model is None:
            return f"No connection to {backend} has worked for {span(lasted_s)}; is its server running?"
        case "circuit":
            return f"{model} on {backend} has failed for {span(lasted_s)}; other models answer instead."
        case "unauthorized":
            return f"{backend} refuses the key for {model}; {_key_remedy(_definition(backend, settings))}."
        case _:
            tasks = " and ".join(task for task, name in settings.defaults.items() if _means(name, model, settings))
            remedy = _missing_remedy(backend, model, settings)
            return f"{model}, the default for {tasks}, is not on {backend}; {remedy}."


def over_sentence(what: str, backend: str, model: str | None, lasted_s: float, *, is_gone: bool) -> str:
    after = f"after {span(lasted_s)}"
    if is_gone:
        return f"{model or backend} is not configured any more, {after} of trouble."
    match what:
        case "missing":
            return f"{model} is on {backend} again, {after}."
        case "unauthorized":
            return f"{backend} takes the key for {model} again, {after}."
        case _:
            return f"{model or backend} answers again, {after}."


def span(seconds: float) -> str:
    """``90 seconds``, ``12 minutes``, ``3 hours``, ``4 days``: in a unit of which there are some, rounded."""
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= 2 * size:
            return f"{round(seconds / size)} {unit}s"
    count = round(seconds)
    return "1 second" if count == 1 else f"{count} seconds"


def _missing_remedy(backend: str, model: str | None, settings: Settings) -> str:
    name = next((known.name for known in settings.models if known.id == model), model) or ""
    match _definition(backend, settings).kind:
        case "ollama":
            return f"get it with: ollama pull {shlex.quote(name)}"
        case "llama_cpp":
            return "its file is not there: correct its path"
        case _:
            return "correct its name, or choose another default"


def _key_remedy(backend: ResolvedBackend) -> str:
    if backend.api_key_env is None:
        return "name the environment variable that holds it in api_key_env"
    return f"correct the environment variable {backend.api_key_env}"


def _definition(name: str, settings: Settings) -> ResolvedBackend:
    return next(backend for backend in settings.backends if backend.name == name)


def _means(name: str, model: str | None, settings: Settings) -> bool:
    known = next(known for known in settings.models if known.id == model)
    return name in (known.id, known.id.removesuffix(":latest"), *known.aliases)
