"""One backend asked whether it answers, and what it has: by requests that load no model and cost nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelway.backends.base import PROBE_S, same_name
from modelway.errors import BackendError, EgressRefused

if TYPE_CHECKING:
    from modelway.backends.base import Backend, ServedModel
    from modelway.config.settings import ResolvedBackend, ResolvedModel

#: How long a whole list may take, with what a server says of each of its models.
LIST_S = 10.0

#: Refusals of a server that works: it is there, whatever it thinks of the request.
_OF_A_SOUND_SERVER = frozenset({"unauthorized", "rejected", "rate_limited", "missing"})


@dataclass(frozen=True, slots=True)
class Seen:
    """What a check saw. ``reachable`` None: it says nothing of that; ``served`` None: no list of models came."""

    reachable: bool | None
    served: Sequence[ServedModel] | None = None


async def probed(backend: Backend) -> Seen:
    """Whether it answers, known within ``PROBE_S``."""
    try:
        async with asyncio.timeout(PROBE_S):
            await backend.probe()
    except EgressRefused:  # the configuration was replaced meanwhile
        return Seen(None)
    except (BackendError, TimeoutError) as error:
        return Seen(_is_there(error))
    return Seen(reachable=True)


async def listed(backend: Backend) -> Seen:
    """What it has, known within ``LIST_S``."""
    try:
        async with asyncio.timeout(LIST_S):
            return Seen(reachable=True, served=await backend.served())
    except EgressRefused:
        return Seen(None)
    except (BackendError, TimeoutError) as error:
        return Seen(_is_there(error))


def _is_there(error: BackendError | TimeoutError) -> bool | None:
    if isinstance(error, BackendError) and error.kind in _OF_A_SOUND_SERVER:
        # Without a status nothing was asked: our own key is not there.
        return None if error.status is None else True
    return False


def presence(
    models: Iterable[ResolvedModel], backend: ResolvedBackend, served: Sequence[ServedModel]
) -> tuple[list[str], list[str]]:
    """The ids of ``models`` that ``backend`` has, and of those that it has not.

    Servers of OpenAI's protocol may serve what they don't list, so nothing is missing there.
    """
    names = {same_name(model.name) for model in served}
    files = {model.path for model in served}
    present: list[str] = []
    missing: list[str] = []
    for model in models:
        if model.backend != backend.name or model.destination != backend.destination:
            continue
        is_there = same_name(model.name) in names if model.path is None else model.path in files
        (present if is_there else missing).append(model.id)
    return present, [] if backend.kind == "openai" else missing
