"""The ways in which a caller leaves a stream, and what must be true after each."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from modelway.events import ConductorMessage

#: Whether the event at hand is the one at which the caller leaves.
Moment = Callable[[ConductorMessage], bool]
Stream = AsyncGenerator[ConductorMessage, None]


async def by_aclose(stream: Stream, moment: Moment) -> float:
    async with aclosing(stream) as events:
        while not moment(await anext(events)):
            pass
        return time.monotonic()


async def by_break(stream: Stream, moment: Moment) -> float:
    async for event in stream:
        if moment(event):
            break
    return time.monotonic()


async def by_garbage_collection(stream: Stream, moment: Moment) -> float:
    """Nobody refers to the stream any more; it stands in a circle, so that only the collector finds it."""
    circle: list[object] = [stream]
    circle.append(circle)
    while not moment(await anext(stream)):
        pass
    del circle, stream
    gc.collect()
    return time.monotonic()


async def by_cancelling_the_reader(stream: Stream, moment: Moment) -> float:
    """Its task is cancelled while it does something else between two events."""
    met = asyncio.Event()

    async def read() -> None:
        async with aclosing(stream) as events:
            async for event in events:
                if moment(event):
                    met.set()
                    await asyncio.Event().wait()

    reader = asyncio.create_task(read())
    await met.wait()
    reader.cancel()
    left_at = time.monotonic()
    await asyncio.gather(reader, return_exceptions=True)
    return left_at


#: Each reads the stream up to the moment and leaves; the value is when it left, on the clock of the mock server.
WAYS: list[Callable[[Stream, Moment], Awaitable[float]]] = [
    by_aclose,
    by_break,
    by_garbage_collection,
    by_cancelling_the_reader,
]


async def within_turns(predicate: Callable[[], bool], turns: int = 50) -> None:
    """Return once ``predicate`` holds, which must be within so many turns of the loop."""
    for _ in range(turns):
        if predicate():
            return
        await asyncio.sleep(0)
    raise AssertionError(f"not so within {turns} turns of the loop")
