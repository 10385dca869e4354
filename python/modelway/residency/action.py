"""One load or unload, and what it comes to: a report, which its owner makes once, however the action ended."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelway.errors import BackendError

if TYPE_CHECKING:
    from modelway.backends.base import Backend, LoadCall, RunningModel

_log = logging.getLogger("modelway.residency")


@dataclass(frozen=True, slots=True)
class Loaded:
    """The model is there. ``running`` is what the server says it has in memory; None: it does not say."""

    load_ms: float
    running: Sequence[RunningModel] | None


@dataclass(frozen=True, slots=True)
class NotLoaded:
    """It is not there; ``error`` None: nobody knows why, as the action was broken off."""

    error: BackendError | None = None


@dataclass(frozen=True, slots=True)
class Unloaded:
    """It was to go; ``is_sure``: its server says that it has."""

    is_sure: bool = True


Outcome = Loaded | NotLoaded | Unloaded


@dataclass(eq=False, slots=True)
class Action:
    """One that is under way: of which model on which backend, since when."""

    model: str
    backend: str
    is_load: bool
    began: float

    def broken_off(self) -> Outcome:
        """What it has come to where it did not come to its end."""
        return NotLoaded() if self.is_load else Unloaded(is_sure=False)


async def loaded(backend: Backend, call: LoadCall, now: Callable[[], float]) -> Loaded | NotLoaded:
    """Load it, and see what it takes. ``now`` is a clock in seconds."""
    began = now()
    try:
        await backend.load(call)
    except BackendError as error:
        return NotLoaded(error)
    return Loaded((now() - began) * 1000, await in_memory(backend))


async def unloaded(backend: Backend, call: LoadCall) -> Unloaded:
    """Unload it. Where that fails its memory counts as free all the same: who waits for it is to find out."""
    try:
        await backend.unload(call)
    except BackendError as error:
        _log.warning("%s", error)
        return Unloaded(is_sure=False)
    return Unloaded()


async def in_memory(backend: Backend) -> Sequence[RunningModel] | None:
    """What a backend says it has in memory; None: it does not say."""
    try:
        return await backend.running()
    except BackendError as error:
        _log.debug("%s", error)
        return None
