"""``GET /modelway/status``: what is in force, and how backends, connections and models do."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelway.conductor import Conductor
    from modelway.router import ModelRouter


def status_document(conductor: Conductor) -> dict[str, Any]:
    """What is in force and how busy everything is, now."""
    router = conductor.router
    return {
        "limits": router.limits_in_force(),
        "backends": [asdict(backend) for backend in conductor.monitor.status()],
        "pools": [asdict(pool) for pool in conductor.pool_stats()],
        "models": [_model(router, model) for model in router.profiles],
    }


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
