"""What the gateway that runs on this machine knows: a command of its own process has seen no request."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from modelway.cli.serve import listens_at

if TYPE_CHECKING:
    from modelway.config import Config

#: What is read of each model; a server that says less is another program, or another version of ours.
_READ = {"model", "available", "held", "state", "running", "waiting", "warmth", "held_bytes", "why_unknown"}

#: Loopback answers at once or never.
_TIMEOUT_S = 0.5


def models_of_gateway(config: Config) -> dict[str, dict[str, Any]]:
    """Health and load by model id, from ``GET /modelway/status``; empty where no gateway answers."""
    import asyncio

    return asyncio.run(_ask(*listens_at(config)))


async def _ask(host: str, port: int) -> dict[str, dict[str, Any]]:
    from modelway.errors import BackendError
    from modelway.origin import Origin
    from modelway.pools import PoolManager
    from modelway.privacy.locality import place_of_host

    if place_of_host(host) != "device" or port == 0:
        return {}
    pools = PoolManager()
    place = f"[{host}]" if ":" in host else host
    try:
        url = f"http://{place}:{port}/modelway/status"
        fetched = await pools.pool("gateway").fetch("GET", url, Origin("gateway"), timeout_s=_TIMEOUT_S)
        return {model["model"]: model for model in json.loads(fetched.body)["models"] if model.keys() >= _READ}
    except (
        BackendError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
    ):  # nobody there, or something else than our gateway
        return {}
    finally:
        await pools.aclose()
