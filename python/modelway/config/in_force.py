"""The limits that are kept outside the core, which lists its own: deadlines, sizes, attempts, connections.

Each has the shape that :meth:`modelway.ModelRouter.limits_in_force` tells.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelway.config.settings import Settings

#: The largest body of a request to the gateway, bytes, after decompression: long conversations with pictures are less.
MAX_BODY_BYTES = 16 * 1024**2
#: Deeper nesting than any tool's schema needs.
MAX_JSON_DEPTH = 64
#: So many attempts are sent for one request at most, where not more models are in its chain.
MOST_ATTEMPTS = 3
#: Tokens of context of a model that modelway runs itself, where nobody says otherwise.
LLAMA_CPP_CONTEXT = 4_096


def limits_beside_the_core(settings: Settings) -> Iterator[dict[str, Any]]:
    """Those of all requests, of each backend, of each model, and of the gateway."""
    deadlines, memory = settings.deadlines, settings.memory
    yield _limit("load", "ms", deadlines.load_ms, "all")
    yield _limit("first_token", "ms", deadlines.first_token_ms, "all")
    yield _limit("between_tokens", "ms", deadlines.between_tokens_ms, "all")
    if deadlines.total_ms is not None:
        yield _limit("total", "ms", deadlines.total_ms, "all")
    yield _limit("attempts", "attempts", MOST_ATTEMPTS, "all")
    if memory.manage:
        yield _limit("memory_wait", "ms", round(memory.max_wait_s * 1000), "all")
        if memory.embedding_bytes:
            yield _limit("embedding_memory", "bytes", memory.embedding_bytes, "all")
    for backend in settings.backends:
        of = f"backend {backend.name}"
        if backend.url is not None:
            yield _limit("connect", "ms", round(backend.deadlines.connect_s * 1000), of)
        if backend.max_connections:
            yield _limit("connections", "connections", backend.max_connections, of)
        if backend.kind == "llama_cpp":
            yield _limit("context", "tokens", backend.context or LLAMA_CPP_CONTEXT, of)
        yield _limit("retry_reserve", "attempts", settings.health.retries_per_s, of) | {"window_s": 1.0}
    for model in settings.models:
        if model.max_context is not None:
            yield _limit("context", "tokens", model.max_context, f"model {model.id}")
    yield _limit("body", "bytes", MAX_BODY_BYTES, "gateway")
    yield _limit("depth", "levels", MAX_JSON_DEPTH, "gateway")
    yield _limit("write", "ms", settings.server.write_timeout_ms, "gateway")


def _limit(what: str, unit: str, limit: int, of: str) -> dict[str, Any]:
    return {"what": what, "unit": unit, "limit": limit, "of": of}
