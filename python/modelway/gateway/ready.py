"""``GET /ready``: whether what the configuration promises can be served now, and what is less than promised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelway.conductor import Conductor
    from modelway.types import ModelProfile


def ready_document(conductor: Conductor) -> dict[str, Any]:
    """``ready``: each default's own model, or one of its chain, can serve. ``missing`` names the defaults for which
    none can, ``degraded`` those whose own model can't, each with why. Without defaults any model will do."""
    router = conductor.router
    defaults = {task: router.resolve(name) for task, name in conductor.settings.defaults.items()}
    setbacks = {model: _setback(conductor, profile) for model, profile in router.profiles.items()}
    missing: list[dict[str, str | None]] = []
    degraded: list[dict[str, str | None]] = []
    for task, model in defaults.items():
        if setbacks[model] is not None:
            is_served = any(setbacks[other] is None for other in router.fallback_chain(task))
            (degraded if is_served else missing).append({"task": task, "model": model, "why": setbacks[model]})
    if not defaults and None not in setbacks.values():
        missing.append({"task": None, "model": None, "why": "no model can serve"})
    return {"ready": not missing, "missing": missing, "degraded": degraded}


def _setback(conductor: Conductor, profile: ModelProfile) -> str | None:
    """Why a model can't serve now, in a word; None: it can."""
    health = conductor.router.health(profile.model_id)
    if str(profile.location) != "device":
        return str(profile.location)
    if conductor.monitor.is_reachable(profile.backend_id) is False:
        return "unreachable"
    return None if health.available else health.held or "failing"
