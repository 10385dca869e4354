"""What a test must not leave behind: tasks, timers, file descriptors, child processes, errors that nobody took.

``no_leaks`` counts before and after. What is open for good reason must be closed inside its block: servers, clients and
conductors. Closing takes some turns of the loop, so it looks again until all is gone, or a second is over. The
descriptors and children are those of Linux's ``/proc``.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from processes import children

#: How long what was closed may take to be gone, seconds.
_PATIENCE_S = 1.0


@asynccontextmanager
async def no_leaks() -> AsyncIterator[None]:
    """Fails when the block is left with more open than it was entered with, whichever way it is left."""
    loop = asyncio.get_running_loop()
    untaken: list[str] = []
    loop.set_exception_handler(lambda _, context: untaken.append(_told(context)))
    before = _open_now(loop)
    # So that the collector looks only at what the block made, and is quick.
    gc.freeze()
    try:
        yield
    finally:
        give_up_at = loop.time() + _PATIENCE_S
        # Whatever nobody refers to closes itself now, and complains.
        gc.collect()
        gc.unfreeze()
        while (left := _open_now(loop) - before) and loop.time() < give_up_at:  # noqa: ASYNC110  (nobody tells)
            await asyncio.sleep(0)
        loop.set_exception_handler(None)
    assert not left, f"left behind: {sorted(left.elements())}"
    assert not untaken, f"errors that nobody took: {untaken}"


def _open_now(loop: asyncio.AbstractEventLoop) -> Counter[str]:
    """Everything that is open, by a name that says what it is."""
    tasks = (task for task in asyncio.all_tasks(loop) if task is not asyncio.current_task(loop))
    timers = (timer for timer in vars(loop)["_scheduled"] if not timer.cancelled())
    return Counter(
        [
            *(f"task {task.get_coro()}" for task in tasks),
            *(f"timer {timer}" for timer in timers),
            *(f"descriptor {target}" for target in _descriptors()),
            *(f"child {child}" for child in children()),
        ]
    )


def _descriptors() -> list[str]:
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(descriptor.readlink()))
        except FileNotFoundError:  # that of the listing itself
            continue
    return found


def _told(context: dict[str, Any]) -> str:
    error = context.get("exception")
    return context["message"] if error is None else f"{context['message']}: {error!r}"
