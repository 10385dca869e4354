"""``GET /modelway/status``: what is in force, how backends, connections and models do, and what is in memory."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from modelway.conductor.warmth import warmth_of
from modelway.errors import UnknownBackend

if TYPE_CHECKING:
    from modelway.conductor import Conductor
    from modelway.config.settings import Settings


def status_document(conductor: Conductor) -> dict[str, Any]:
    """What is in force and how busy everything is, now."""
    router = conductor.router
    return {
        "limits": router.limits_in_force(),
        "privacy": _privacy(router.settings),
        "backends": [asdict(backend) for backend in conductor.monitor.status()],
        "pools": [asdict(pool) for pool in conductor.pool_stats()],
        "memory": [_memory(conductor, backend.name) for backend in router.settings.backends],
        "models": [_model(conductor, model) for model in router.profiles],
    }


def _privacy(settings: Settings) -> dict[str, Any]:
    """What the configuration says of leaving this device, and the places where its models are."""
    privacy, models = settings.privacy, settings.models
    return {
        "allow_external": privacy.allow_external,
        "allow_lan": privacy.allow_lan,
        "secret_scan_before_external": privacy.secret_scan_before_external,
        "history_text": privacy.history_text,
        "destinations": sorted({model.destination for model in models if model.destination is not None}),
        "forbidden_licenses": list(settings.forbid_licenses),
    }


def _memory(conductor: Conductor, backend: str) -> dict[str, Any]:
    router = conductor.router
    try:
        device, held = router.device(backend), router.residents(backend)
        capacity_bytes, in_use_bytes = router.memory(backend)
    except UnknownBackend:  # it has no model yet
        device, held, capacity_bytes, in_use_bytes = None, [], None, 0
    return {
        "backend": backend,
        "device": device,
        "is_managed": backend in router.managed,
        # False: what stands here is what was so when its server answered last.
        "is_up_to_date": backend in router.managed and conductor.monitor.is_reachable(backend) is True,
        "capacity_bytes": capacity_bytes,
        "in_use_bytes": in_use_bytes,
        "models": [
            {
                "model": one.model,
                "state": one.state,
                "memory_bytes": one.memory_bytes,
                "running": one.running,
                "is_closed": one.is_closed,
            }
            for one in held
        ],
    }


def _model(conductor: Conductor, model: str) -> dict[str, Any]:
    router = conductor.router
    health, load = router.health(model), router.load(model)
    return {
        "model": model,
        "backend": router.profiles[model].backend_id,
        **asdict(warmth_of(conductor, model)),
        "state": health.state,
        "held": health.held,
        "available": health.available,
        "success_rate": health.success_rate,
        "retry_in_s": health.retry_in_s,
        "running": load.running,
        "waiting": load.waiting,
        "wait_s": load.wait_s,
    }
