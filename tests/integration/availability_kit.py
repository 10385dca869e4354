"""Waiting for what the monitor of a conductor does by itself, which tasks are ours, and a server that hangs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

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


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """The address of a server that accepts connections, reads, and never says a word."""
    talks: set[asyncio.Task[None]] = set()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.create_task(listen(reader, writer)))

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await asyncio.gather(*talks)
