"""Memory in the fault table: too little of it at a load, and an unload that meets a new request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fault_scene import FIRST, SECOND, Scene, scene, until
from leaks import no_leaks

from modelway.backends.mock import Fault, MockModelConfig, MultiModelMockBackend
from modelway.events import Degraded, FallingBack

NO_ROOM = Fault.http(500, "model requires more system memory (9.1 GiB) than is available (3.2 GiB)")


@pytest.fixture(autouse=True)
async def _nothing_is_left() -> AsyncIterator[None]:
    async with no_leaks():
        yield


@asynccontextmanager
async def managed(spare_bytes: int) -> AsyncIterator[Scene]:
    """A scene whose first backend has 10,000 bytes to be managed; its first model takes 6,000 of them. The spare one is
    there, and so it is known what it takes."""
    patient = "[timeouts]\nquick_ms = 60_000\nstandard_ms = 60_000\n"
    async with scene("ollama", more=patient, model="memory_bytes = 6_000", backend="memory_bytes = 10_000") as stage:
        stage.first.models["first-model"] = MockModelConfig(reply=FIRST, size_bytes=6_000)
        stage.first.models["spare-model"] = MockModelConfig(reply="spare", size_bytes=spare_bytes)
        await stage.conductor.memory.start()
        await stage.conductor.complete("hello", model="spare-model")
        assert told(stage.first) == ["load spare", "chat spare"]
        stage.first.request_history.clear()
        yield stage
        await stage.at_rest()


def told(server: MultiModelMockBackend) -> list[str]:
    """What was asked of the server."""
    words = []
    for record in server.request_history:
        what = "chat" if record.body["messages"] else "unload" if record.body.get("keep_alive") == 0 else "load"
        words.append(f"{what} {record.model.removesuffix('-model')}")
    return words


async def test_out_of_memory_at_load_is_tried_again_once_what_is_idle_has_gone() -> None:
    async with managed(spare_bytes=2_000) as stage:
        stage.first.fail("first-model", NO_ROOM, times=1)
        reply = await stage.conductor.complete("hello")
        assert (reply.text, stage.router.health("first-model").state) == (FIRST, "closed")
        assert not [event for event in reply.events if isinstance(event, FallingBack | Degraded)]
        assert told(stage.first) == ["load first", "unload spare", "load first", "chat first"]


async def test_out_of_memory_at_load_twice_is_a_failure_of_the_model_and_the_next_serves_with_notice() -> None:
    async with managed(spare_bytes=2_000) as stage:
        stage.first.fail("first-model", NO_ROOM, times=2)
        reply = await stage.conductor.complete("hello")
        assert reply.text == SECOND
        assert [event.kind for event in reply.events if isinstance(event, Degraded)] == ["memory"]
        assert told(stage.first) == ["load first", "unload spare", "load first"]
        assert (stage.router.health("first-model").state, stage.router.health("spare-model").state) == (
            "open",
            "closed",
        )
        assert stage.router.memory("first") == (10_000, 0)


async def test_an_unload_waits_for_the_answer_that_uses_the_model() -> None:
    async with managed(spare_bytes=6_000) as stage:
        await stage.conductor.complete("hello")
        stage.first.request_history.clear()
        gate = stage.first.hold("first-model", after=1)
        answering = asyncio.create_task(stage.conductor.complete("hello"))
        await stage.first.wait_for(lambda: gate.waiting == 1)
        spare = asyncio.create_task(stage.conductor.complete("hello", model="spare-model"))
        await until(lambda: stage.router.load("spare-model").waiting == 1)
        assert told(stage.first) == ["chat first"]
        stage.first.release()
        assert ((await answering).text, (await spare).text) == (FIRST, "spare")
        assert told(stage.first)[1:] == ["unload first", "load spare", "chat spare"]


@pytest.mark.parametrize("turns", [0, 1, 2, 5, 20, 100])
async def test_a_new_request_that_meets_the_unload_waits_and_is_served(turns: int) -> None:
    """So many turns of the loop after its unload was caused, when nobody knows how far that has come."""
    async with managed(spare_bytes=6_000) as stage:
        await stage.conductor.complete("hello")
        spare = asyncio.create_task(stage.conductor.complete("hello", model="spare-model"))
        for _ in range(turns):
            await asyncio.sleep(0)
        late = await stage.conductor.complete("hello", model="first-model")
        assert (late.text, (await spare).text) == (FIRST, "spare")
        check_that_each_was_there(stage.first)


def check_that_each_was_there(server: MultiModelMockBackend) -> None:
    """No model was asked that was not loaded before, and no two were there at once."""
    there = "spare"
    for word in told(server):
        what, model = word.split()
        assert there == ("" if what == "load" else model), told(server)
        there = "" if what == "unload" else model
