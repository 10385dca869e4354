"""``GET /modelway/status``: what is in force, how backends, connections and models do, and what is in memory."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from modelway.errors import UnknownBackend

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
        "memory": [_memory(router, backend.name) for backend in router.settings.backends],
        "models": [_model(router, model) for model in router.profiles],
    }


def _memory(router: ModelRouter, backend: str) -> dict[str, Any]:
    try:
        device, held = router.device(backend), router.residents(backend)
        capacity_bytes, in_use_bytes = router.memory(backend)
    except UnknownBackend:  # it has no model yet
        device, held, capacity_bytes, in_use_bytes = None, [], None, 0
    return {
        "backend": backend,
        "device": device,
        "is_managed": backend in router.managed,
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


def _warmth(router: ModelRouter, model: str, backend: str) -> tuple[str | None, int | None]:
    """``warm``, ``loading``, ``unloading`` or ``cold``, and the bytes held; None: its server does as it likes."""
    if backend not in router.managed:
        return None, None
    held = next((one for one in router.residents(backend) if one.model == model), None)
    if held is None:
        return "cold", 0
    return "warm" if held.state == "ready" else held.state, held.memory_bytes


def _model(router: ModelRouter, model: str) -> dict[str, Any]:
    health, load = router.health(model), router.load(model)
    backend = router.profiles[model].backend_id
    warmth, held_bytes = _warmth(router, model, backend)
    return {
        "model": model,
        "backend": backend,
        "warmth": warmth,
        "held_bytes": held_bytes,
        "state": health.state,
        "held": health.held,
        "available": health.available,
        "success_rate": health.success_rate,
        "retry_in_s": health.retry_in_s,
        "running": load.running,
        "waiting": load.waiting,
        "wait_s": load.wait_s,
    }
