"""Waiting for what the monitor of a conductor does by itself, and which tasks are ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from modelway.conductor import Conductor


async def until(predicate: Callable[[], bool]) -> None:
    """Return once ``predicate`` holds; the test's own limit ends one that never does."""
    while not predicate():  # noqa: ASYNC110  (what the monitor sees has no event of its own)
        await asyncio.sleep(0.002)


async def until_reachable(conductor: Conductor, wanted: bool) -> None:
    """Until the backend ``local`` was seen to answer, or not to."""
    await until(lambda: conductor.monitor.is_reachable("local") is wanted)


def own_tasks() -> set[asyncio.Task[object]]:
    """All tasks of this loop but those of the mock server's connections."""
    return {task for task in asyncio.all_tasks() if "RequestHandler" not in repr(task)}
