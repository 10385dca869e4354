"""Want of memory on the way of one request: who did not fit, who is not asked for that, and what its caller is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from modelway.errors import BackendError, NoModelAvailable
from modelway.events import Degraded
from modelway.residency.shortage import is_shortage

if TYPE_CHECKING:
    from modelway.conductor.failures import Failure
    from modelway.residency import GpuMemoryManager

_DOES_NOT_FIT = "it does not fit into memory"
_REMEDY = (
    "no smaller model is left: free memory, lower the context (max_context) of one of these models, "
    "or add a smaller one to [fallbacks]"
)


class Room:
    """What one request has met; ``memory`` knows what models take, and which are there."""

    def __init__(self, memory: GpuMemoryManager) -> None:
        self._memory = memory
        self._too_large: list[str] = []
        self._not_asked: list[str] = []

    def note(self, candidate: str, error: Failure) -> str | None:
        """``candidate`` failed: how, as a part of a sentence, where it was for want of memory."""
        match error:
            case NoModelAvailable():
                is_short = self._memory.did_not_fit(candidate)
            case BackendError():
                is_short = is_shortage(error)
            case _:
                is_short = False
        if not is_short:
            return None
        if candidate not in self._too_large:
            self._too_large.append(candidate)
        return _DOES_NOT_FIT

    def keeps_out(self, candidate: str) -> str | None:
        """Why ``candidate`` is not asked either; None: it may fit."""
        for failed in self._too_large:
            if (sizes := self._memory.needs_as_much(candidate, failed)) is not None:
                self._not_asked.append(candidate)
                needs, did_not_fit = map(_gigabytes, sizes)
                return f"not asked, as it takes {needs}, and {failed} with {did_not_fit} did not fit into memory"
        return None

    def notices(self, candidate: str) -> Iterator[Degraded]:
        """What is less than was wanted where ``candidate`` answers."""
        others = [model for model in self._too_large if model != candidate]
        if others:
            detail = f"{candidate} answers instead of {others[0]}, which does not fit into memory"
            if self._not_asked:
                detail += f"; {' and '.join(self._not_asked)}, not smaller, {_were(self._not_asked)} not tried"
            yield Degraded("memory", f"{detail}.")
        if (split := self._memory.split(candidate)) is not None:
            size, on_card = map(_gigabytes, split)
            detail = f"{candidate} runs in part on the processor: {on_card} of its {size} are in graphics memory."
            yield Degraded("cpu_offload", detail)
        if (context := self._memory.reduced_context(candidate)) is not None:
            asked, given = context
            yield Degraded("context", f"{candidate} was loaded with a context of {given} tokens instead of {asked}.")

    @property
    def remedy(self) -> str | None:
        """What would help where nobody is left; None: it was not for want of memory."""
        return _REMEDY if self._too_large else None


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


def _were(names: list[str]) -> str:
    return "was" if len(names) == 1 else "were"
