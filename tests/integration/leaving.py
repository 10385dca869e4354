"""The ways in which a caller leaves a stream, and what must be true after each."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from conductor_kit import config_text, going_on, one_at_a_time

from modelway.backends.mock import Fault, FaultKind, MultiModelMockBackend
from modelway.conductor import Conductor
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


#: Seconds within which the upstream must be closed. A busy machine may miss it by chance: the best of three counts.
CLOSED_WITHIN_S = 0.1

LOADING = "[deadlines]\nload_ms = 3_000\nfirst_token_ms = 40\n"


#: The phases in which a request stays that a mock server is prepared for.
SERVED_PHASES = ("queued", "loading", "first token", "streaming", "falling back", "behind the seam")


def prepared(server: MultiModelMockBackend, phase: str) -> str:
    """Script ``server`` so that the next request stays in ``phase``; the configuration for it."""
    text = config_text(server.url)
    match phase:
        case "queued":
            server.hold("code-model", after=1)
            return one_at_a_time(text)
        case "loading":
            server.fail("code-model", Fault(FaultKind.STALL_BEFORE_HEADERS))
            return LOADING + text
        case "first token":
            server.hold("code-model")
        case "streaming":
            server.hold("code-model", after=1)
        case "falling back":
            server.fail("code-model", Fault.http(500))
            server.hold("deep-model")
        case "behind the seam":
            server.fail("code-model", Fault(FaultKind.RESET_MID_STREAM, after=1))
            server.hold("deep-model", after=1)
            return going_on(text)
    return text


async def until_held(server: MultiModelMockBackend, phase: str, conductor: Conductor) -> None:
    """Return once the next request is in ``phase`` and stays there."""
    await server.wait_for(lambda: any(record.held for record in server.request_history if record.running))
    while phase == "loading" and not server.path_counts["/api/ps"]:  # noqa: ASYNC110  (the server tells nobody)
        await asyncio.sleep(0)
    while phase == "queued" and not conductor.router.load("code-model").waiting:  # noqa: ASYNC110  (nor the core)
        await asyncio.sleep(0)
