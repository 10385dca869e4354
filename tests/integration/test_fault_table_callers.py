"""The rows of the fault table that need a script: callers who leave or stop reading, restarts, clocks, crowds."""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from conductor_kit import text_of
from fault_scene import FIRST, PROTOCOLS, SECOND, Protocol, Scene, config_text, scene
from leaks import no_leaks

from modelway.backends.mock import Fault, FaultKind, MockModelConfig, MultiModelMockBackend, run_in_thread
from modelway.conductor import Conductor
from modelway.config import Config
from modelway.errors import StreamInterrupted
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


async def until(holds: Callable[[], bool]) -> None:
    """Return once ``holds()``, for facts that nobody tells."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0)


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


# --- servers that restart


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_restart_breaks_off_what_runs_and_is_followed_by_one_probe(protocol: Protocol) -> None:
    async with scene(protocol, model="max_concurrent = 8", health="backoff_ms = 100") as stage:
        gate = stage.first.hold("first-model", after=1)
        running = [asyncio.create_task(stage.conductor.complete("hello")) for _ in range(8)]
        await stage.first.wait_for(lambda: gate.waiting == 8)
        waiting = [asyncio.create_task(stage.conductor.complete("hello")) for _ in range(4)]
        await until(lambda: stage.router.load("first-model").waiting == 4)
        await stage.first.restart()
        for broken in await asyncio.gather(*running, return_exceptions=True):
            assert isinstance(broken, StreamInterrupted)
            assert broken.partial == "one"
        assert [(await reply).text for reply in waiting] == [SECOND] * 4, "who waited goes on with the next"
        stage.first.release()
        gate = stage.first.hold("first-model")
        await until(lambda: stage.router.health("first-model").available)
        before = len(stage.first.request_history)
        herd = [asyncio.create_task(stage.conductor.complete("hello")) for _ in range(20)]
        await until(lambda: sum(task.done() for task in herd) == 19)
        assert len(stage.first.request_history) == before + 1, "one probe, no herd"
        gate.release()
        texts = [(await reply).text for reply in herd]
        assert (texts.count(FIRST), texts.count(SECOND)) == (1, 19)
        replies = await asyncio.gather(*(stage.conductor.complete("hello") for _ in range(8)))
        assert {reply.text for reply in replies} == {FIRST}
        await stage.at_rest()


# --- clocks


@pytest.mark.parametrize("jump_s", [-1e6, 1e6])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_jump_of_the_clock_on_the_wall_ends_nothing(
    protocol: Protocol, jump_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(protocol, hasty=True) as stage:
        stage.first.fail("first-model", Fault.http(429, retry_after="30"), times=1)
        assert (await stage.conductor.complete("hello")).text == SECOND
        gate = stage.second.hold("second-model", after=1)
        running = asyncio.create_task(stage.conductor.complete("hello"))
        await stage.second.wait_for(lambda: gate.waiting == 1)
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + jump_s)
        gate.release()
        assert (await running).text == SECOND
        assert stage.router.health("first-model").held == "rate_limited"
        await stage.at_rest()


@pytest.mark.parametrize("protocol", ["ollama", "openai"])
async def test_what_came_while_the_process_was_suspended_is_not_too_late(protocol: Protocol) -> None:
    with run_in_thread(MultiModelMockBackend({"first-model": MockModelConfig(reply=FIRST)})) as server:
        lines = 'general = "first-model"\n[[models]]\nid = "first-model"\nbackend = "first"\n'
        backend = f'[[backends]]\nname = "first"\nkind = "{protocol}"\nurl = "{server.url}"\n'
        text = f"[deadlines]\nbetween_tokens_ms = 200\n[defaults]\n{lines}{backend}"
        async with Conductor(Config.from_toml(text)) as conductor:
            gate = server.call(lambda: server.server.hold("first-model", after=1))
            events: list[ConductorMessage] = []

            async def read() -> None:
                async for event in conductor.stream("hello"):
                    events.append(event)  # noqa: PERF401  (what came before an error is wanted)

            reader = asyncio.create_task(read())
            await until(lambda: bool(text_of(events)))
            for _ in range(10):  # so that it waits for the next piece
                await asyncio.sleep(0)
            server.call(gate.release)
            server.wait_for(lambda: server.server.request_history[0].finished)
            time.sleep(0.3)  # noqa: ASYNC251  (the loop stands still, as when the machine sleeps)
            await reader
            assert text_of(events) == FIRST


# --- configurations that are replaced


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_new_configuration_leaves_a_running_answer_alone(protocol: Protocol) -> None:
    async with scene(protocol) as stage:
        gate = stage.first.hold("first-model", after=1)
        running = asyncio.create_task(stage.conductor.complete("hello"))
        await stage.first.wait_for(lambda: gate.waiting == 1)
        text = config_text(stage.first.url, stage.second.url, protocol)
        stage.router.replace_config(Config.from_toml(text.replace('quick = "first-model"', 'quick = "second-model"')))
        assert (await stage.conductor.complete("hello")).text == SECOND
        gate.release()
        assert (await running).text == FIRST
        await stage.at_rest()


# --- crowds


async def test_m21_a_client_who_waits_takes_no_more_than_50_kb() -> None:
    clients = 1_000
    async with scene("ollama", more=f"[fairness]\nmax_waiting = {clients}\n", model="max_concurrent = 4") as stage:
        gate = stage.first.hold()
        await stage.first.wait_for(lambda: True)
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            tasks = [asyncio.create_task(stage.conductor.complete("hello", user=f"{i % 10}")) for i in range(clients)]
            await until(lambda: stage.router.load("first-model").waiting == clients - 4)
            await stage.first.wait_for(lambda: gate.waiting == 4)
            gc.collect()
            now, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (now - before) / clients < 50_000
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await stage.at_rest()
