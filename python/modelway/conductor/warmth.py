"""Whether a model is in memory, as far as anybody can know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelway.conductor.pipeline import Conductor


@dataclass(frozen=True, slots=True)
class Warmth:
    """``warmth``: ``warm``, ``loading``, ``unloading`` or ``cold``; ``held_bytes``: the memory that it holds.

    Both are None where nobody knows, and then ``why_unknown`` says why, as a part of a sentence.
    """

    warmth: str | None
    held_bytes: int | None
    why_unknown: str | None = None


def warmth_of(conductor: Conductor, model: str) -> Warmth:
    """That of a configured model, by its id."""
    router = conductor.router
    backend = router.profiles[model].backend_id
    if backend not in router.managed:
        return Warmth(None, None, "its server loads and unloads as it likes")
    held = next((one for one in router.residents(backend) if one.model == model), None)
    if held is not None and held.state != "ready":
        return Warmth(held.state, held.memory_bytes)
    if not conductor.monitor.is_reachable(backend):
        return Warmth(None, None, "its server does not answer")
    return Warmth("cold", 0) if held is None else Warmth("warm", held.memory_bytes)
