"""Times in the fault table: servers that restart, clocks that jump, configurations that are replaced, crowds."""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from collections.abc import AsyncIterator

import pytest
from conductor_kit import text_of
from fault_scene import FIRST, PROTOCOLS, SECOND, Protocol, config_text, scene, until
from leaks import no_leaks

from modelway.backends.mock import Fault, MockModelConfig, MultiModelMockBackend, run_in_thread
from modelway.conductor import Conductor, Reply
from modelway.config import Config
from modelway.errors import StreamInterrupted
from modelway.events import ConductorMessage


@pytest.fixture(autouse=True)
async def _nothing_is_left() -> AsyncIterator[None]:
    async with no_leaks():
        yield


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
    slots, waiting = 4, 996
    async with scene(
        "ollama", more=f"[fairness]\nmax_waiting = {waiting}\n", model=f"max_concurrent = {slots}"
    ) as stage:
        gate = stage.first.hold()

        def clients(count: int) -> list[asyncio.Task[Reply]]:
            return [asyncio.create_task(stage.conductor.complete("hello", user=f"{i % 10}")) for i in range(count)]

        # First, so that the crowd does not keep the loop from connecting in time.
        tasks = clients(slots)
        await stage.first.wait_for(lambda: gate.waiting == slots)
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            tasks += clients(waiting)
            await until(lambda: stage.router.load("first-model").waiting == waiting)
            gc.collect()
            now, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (now - before) / waiting < 50_000
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await stage.at_rest()
