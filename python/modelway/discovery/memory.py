"""How much memory a model will take, estimated before it was ever loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelway.backends.base import ServedModel

#: Buffers for computing, and what else is not in the file, as a share of it: measured of llama.cpp, where it is less.
_BESIDE_PERCENT = 10
#: A process of our own, before it has a model: measured 33 to 37 MB, with Python and the engine's library.
_PROCESS_BYTES = 40_000_000
#: What Ollama loads a model with where nobody says otherwise, on machines with less than 24 GiB of graphics memory.
_USUAL_CONTEXT = 4096


def estimated_bytes(served: ServedModel, context: int | None) -> int | None:
    """The size of its files and a tenth more, its context's keys and values, and its process where that is ours; None
    where its size is unknown.

    ``context``: the tokens that it is loaded for, where that is written.
    """
    if not served.size_bytes:
        return None
    if context is None:
        context = min(served.max_context or _USUAL_CONTEXT, _USUAL_CONTEXT)
    if served.loaded_context is not None:
        context = served.loaded_context
    own = _PROCESS_BYTES if served.path is not None else 0
    return own + served.size_bytes * (100 + _BESIDE_PERCENT) // 100 + (served.kv_bytes_per_token or 0) * context
