"""``GET /modelway/status``: each limit in force, and for each model its health and who waits for it."""

from __future__ import annotations

from typing import Any

from modelway.router import ModelRouter


def status_document(router: ModelRouter) -> dict[str, Any]:
    """What is in force and how busy everything is, now."""
    return {"limits": router.limits_in_force(), "models": [_model(router, model) for model in router.profiles]}


def _model(router: ModelRouter, model: str) -> dict[str, Any]:
    health, load = router.health(model), router.load(model)
    return {
        "model": model,
        "backend": router.profiles[model].backend_id,
        "state": health.state,
        "held": health.held,
        "available": health.available,
        "success_rate": health.success_rate,
        "retry_in_s": health.retry_in_s,
        "running": load.running,
        "waiting": load.waiting,
        "wait_s": load.wait_s,
    }
