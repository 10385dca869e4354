"""Callers in the fault table: those who leave, in each phase of a request, and those who stop reading."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from fault_scene import FIRST, PROTOCOLS, Protocol, Scene, scene, until
from leaks import no_leaks

from modelway.backends.mock import Fault, FaultKind, MockModelConfig
from modelway.events import ConductorMessage, FallingBack, ModelLoading, Queued, TextDelta

#: How often a bound of time may be missed on a machine that does other things too.
TRIES = 3
#: Within which a server must be left.
LEFT_WITHIN_S = 0.1
#: A model that is not in memory has this long to be loaded, and says so soon.
LOADS = "[deadlines]\nfirst_token_ms = 100\nload_ms = 60_000\n"
MIB = 1024 * 1024


@pytest.fixture(autouse=True)
async def _nothing_is_left() -> AsyncIterator[None]:
    async with no_leaks():
        yield


# --- callers who leave


def _occupy(stage: Scene) -> None:
    stage.first.hold("first-model")


def _load(stage: Scene) -> None:
    stage.first.fail("first-model", Fault(FaultKind.STALL_BEFORE_HEADERS))


def _hold_the_text(stage: Scene) -> None:
    stage.first.hold("first-model", after=1)


def _fail_the_first(stage: Scene) -> None:
    stage.first.fail("first-model", Fault.http(500))
    stage.second.hold("second-model")


@dataclass(frozen=True)
class Phase:
    """A stretch of a request: how it is brought about, and the last event before it.

    ``asked`` are the models that were asked by then. ``occupied``: another request has the only slot.
    """

    name: str
    prepare: Callable[[Scene], None]
    last: type[ConductorMessage] | None
    asked: tuple[str, ...] = ("first-model",)
    occupied: bool = False
    protocols: tuple[Protocol, ...] = PROTOCOLS


PHASES = [
    Phase("queued", _occupy, Queued, occupied=True),
    # Only Ollama tells what is in memory.
    Phase("loading", _load, ModelLoading, protocols=("ollama",)),
    Phase("first token", _occupy, None),
    Phase("streaming", _hold_the_text, TextDelta),
    Phase("falling back", _fail_the_first, FallingBack, ("first-model", "second-model")),
]


@pytest.mark.parametrize(
    ("phase", "protocol"),
    [pytest.param(phase, protocol, id=f"{phase.name}-{protocol}") for phase in PHASES for protocol in phase.protocols],
)
async def test_m24_a_caller_who_is_cancelled_leaves_the_server_at_once(phase: Phase, protocol: Protocol) -> None:
    left_s = []
    for _ in range(TRIES):
        async with scene(protocol, more=LOADS if phase.name == "loading" else "", model="max_concurrent = 1") as stage:
            left_s.append(await _leave(phase, stage))
        if left_s[-1] < LEFT_WITHIN_S:
            return
    pytest.fail(f"the server was left after {left_s} s")


async def _leave(phase: Phase, stage: Scene) -> float:
    """Leave in the phase; how long that took until the server knew, seconds."""
    phase.prepare(stage)
    other = asyncio.create_task(stage.conductor.complete("hello")) if phase.occupied else None
    if other:
        await stage.first.wait_for(lambda: any(record.held for record in stage.first.request_history))
    events: list[ConductorMessage] = []

    async def read() -> None:
        async for event in stage.conductor.stream("hello"):
            events.append(event)  # noqa: PERF401  (what came before it was cancelled is wanted)

    reader = asyncio.create_task(read())
    await until(lambda: phase.last is None or any(isinstance(event, phase.last) for event in events))
    server = stage.second if "second-model" in phase.asked else stage.first
    await server.wait_for(lambda: any(record.held for record in server.request_history))
    began = time.monotonic()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    if other is None:
        await stage.at_rest()
        assert server.request_history[-1].cancelled
    else:
        assert stage.router.load("first-model").waiting == 0
    took_s = time.monotonic() - began
    assert stage.asked() == list(phase.asked), "no other is asked for who has left"
    record = stage.conductor.history[-1]
    assert record.outcome == "cancelled"
    health = stage.router.health(phase.asked[-1])
    assert (health.successes, health.failures, health.state) == (0, 0, "closed")
    if other:
        stage.first.release()
        assert (await other).text == FIRST
        await stage.at_rest()
    return took_s


@pytest.mark.parametrize(
    ("phase", "protocol"),
    [
        pytest.param(phase, protocol, id=f"{phase.name}-{protocol}")
        for phase in PHASES
        if phase.last
        for protocol in phase.protocols
    ],
)
async def test_m24_a_caller_who_closes_the_stream_leaves_the_server_at_once(phase: Phase, protocol: Protocol) -> None:
    async with scene(protocol, more=LOADS if phase.name == "loading" else "", model="max_concurrent = 1") as stage:
        phase.prepare(stage)
        other = asyncio.create_task(stage.conductor.complete("hello")) if phase.occupied else None
        if other:
            await stage.first.wait_for(lambda: any(record.held for record in stage.first.request_history))
        stream = stage.conductor.stream("hello")
        async for event in stream:
            if phase.last is not None and isinstance(event, phase.last):
                break
        await stream.aclose()
        asked = [model for model in stage.asked() if model != "second-model"]
        assert asked == ["first-model"], "at the notice the next one has not been asked yet, and is not asked any more"
        assert stage.conductor.history[-1].outcome == "cancelled"
        if other:
            stage.first.release()
            await other
        await stage.at_rest()
        assert len(stage.first.request_history) == 1
        assert not stage.second.request_history


# --- callers who stop reading


def _kernel_bytes() -> int:
    """What the kernel may hold of one connection on its two ends."""
    return sum(int(Path(f"/proc/sys/net/ipv4/tcp_{of}mem").read_text().split()[2]) for of in "rw")


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_m25_a_caller_who_stops_reading_stops_the_server(protocol: Protocol) -> None:
    kernel_bytes, piece_bytes = _kernel_bytes(), 64 * 1024
    pieces = 2 * kernel_bytes // piece_bytes
    async with scene(protocol) as stage:
        stage.first.models["first-model"] = MockModelConfig(reply=["x" * piece_bytes] * pieces)
        stream = stage.conductor.stream("hello")
        async for event in stream:
            if isinstance(event, TextDelta):
                break
        record, seen = stage.first.request_history[0], -1
        while record.pieces_sent != seen:
            seen = record.pieces_sent
            for _ in range(500):
                await asyncio.sleep(0)
        assert record.pieces_sent * piece_bytes < kernel_bytes + MIB, "what the kernel buffers, and a little of ours"
        await stream.aclose()
        await stage.at_rest()
        assert record.cancelled
