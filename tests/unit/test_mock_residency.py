"""The mock server's memory is scheduled as Ollama's: the line for loads, victims, keep-alives, slots."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import mock_client
import pytest
from mock_client import ask, chat, read

from modelway.backends.mock import MockModelConfig, MultiModelMockBackend, OllamaLimits
from modelway.testing.simulator import OrderOfArrival, SimModel, own_lists, simulate

http = mock_client.http


@asynccontextmanager
async def serve(names: str, load_s: float = 0.0, **limits: Any) -> AsyncIterator[MultiModelMockBackend]:
    models = {name: MockModelConfig(reply="one two", load_s=load_s) for name in names}
    async with MultiModelMockBackend(models, limits=OllamaLimits(**limits)) as server:
        yield server


def asking(http: aiohttp.ClientSession, server: MultiModelMockBackend, model: str, **body: Any) -> asyncio.Task[bytes]:
    return asyncio.create_task(read(chat(http, server, model, **body)))


async def asked(server: MultiModelMockBackend, count: int) -> None:
    """So many requests have come, and gone as far as they go by themselves."""
    await server.wait_for(lambda: len(server.request_history) == count)
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_load_at_a_time_in_order_of_arrival(http):
    async with serve("ABC", load_s=0.02) as server:
        tasks = []
        for count, name in enumerate("ABC", 1):
            tasks.append(asking(http, server, name))
            await asked(server, count)
        assert (server.loads, server.residency.waiting, server.residency.loaded()) == (["A"], 3, {})
        await asyncio.gather(*tasks)
        assert server.loads == ["A", "B", "C"]
        ended = [record.ended for record in server.request_history]
        assert ended == sorted(ended)


@pytest.mark.parametrize(
    ("limits", "sent", "loads"),
    [
        ({}, "ABCABC", "ABC"),
        ({"max_loaded": 1}, "ABAB", "ABAB"),
        ({"max_loaded": 1}, "AABBA", "ABA"),
        ({"max_loaded": 2}, "ABCABCABC", "ABCABAB"),
        ({"memory_bytes": 8_000_000_000}, "ABCABCABC", "ABCABAB"),
        ({"memory_bytes": 1}, "AB", "AB"),
    ],
)
async def test_who_goes_is_decided_by_name_where_all_are_idle_and_stay_equally_long(http, limits, sent, loads):
    async with serve("ABC", **limits) as server:
        for name in sent:
            await read(chat(http, server, name))
        assert "".join(server.loads) == loads


async def test_the_shortest_keep_alive_goes_first_and_an_idle_model_before_a_busy_one(http):
    async with serve("ABCD", max_loaded=2) as server:
        await read(chat(http, server, "A", keep_alive=60))
        await read(chat(http, server, "B", keep_alive=50))
        await read(chat(http, server, "C"))
        assert set(server.residency.loaded()) == {"A", "C"}
        gate = server.hold("A")
        busy = asking(http, server, "A", keep_alive=1)
        await server.wait_for(lambda: gate.waiting == 1)
        await read(chat(http, server, "D"))
        assert set(server.residency.loaded()) == {"A", "D"}
        gate.release()
        await busy


async def test_a_load_that_waits_for_a_busy_model_blocks_other_loads_and_no_loaded_model(http):
    async with serve("ABC", max_loaded=2, slots=2) as server:
        await read(chat(http, server, "A"))
        await read(chat(http, server, "B"))
        gate = server.hold(after=1)
        held = [asking(http, server, "A"), asking(http, server, "B")]
        await server.wait_for(lambda: gate.waiting == 2)
        gate_c = server.hold("C")
        line = [asking(http, server, "C"), asking(http, server, "C", options={"num_ctx": 64})]
        await asked(server, 6)
        server.gates.remove(gate)  # newcomers are not held
        for name in "AB":
            await asyncio.wait_for(read(chat(http, server, name)), 1)
        assert server.residency.waiting == 2
        gate.release()
        gate_c.release()
        await asyncio.gather(*held, *line)
        assert server.loads == ["A", "B", "C", "C"]


async def test_a_model_kept_busy_starves_who_waits_for_it_to_go(http):
    async with serve("AB", max_loaded=1) as server:
        gates = [server.hold("A")]
        running = [asking(http, server, "A")]
        await server.wait_for(lambda: gates[0].waiting == 1)
        waiting = asking(http, server, "B")
        await asked(server, 2)
        for _ in range(5):
            first, gates = gates[0], [server.hold("A")]
            server.gates.remove(first)
            running.append(asking(http, server, "A"))
            await server.wait_for(lambda: gates[0].waiting == 1)  # noqa: B023
            first.release()
            await running.pop(0)
            assert server.loads == ["A"]
        gates[0].release()
        await asyncio.gather(*running, waiting)
        assert server.loads == ["A", "B"]


@pytest.mark.parametrize(("keep_alive", "leaves"), [(None, True), (0, True), (-1, False), ("1h", False)])
async def test_a_keep_alive_on_a_request_to_the_victim_takes_its_eviction_back(http, keep_alive, leaves):
    async with serve("AB", max_loaded=1) as server:
        gate = server.hold("A")
        first = asking(http, server, "A")
        await server.wait_for(lambda: gate.waiting == 1)
        waiting = asking(http, server, "B")
        await asked(server, 2)
        second = asking(http, server, "A", **({} if keep_alive is None else {"keep_alive": keep_alive}))
        await server.wait_for(lambda: gate.waiting == 2)
        gate.release()
        await asyncio.gather(first, second)
        if not leaves:
            await server.wait_for(lambda: not any(record.running for record in server.request_history[::2]))
            assert (list(server.residency.loaded()), server.residency.waiting) == (["A"], 1)
            assert (await unload(http, server, "A"))["done_reason"] == "unload"
        await waiting
        assert list(server.residency.loaded()) == ["B"]


async def unload(http: aiohttp.ClientSession, server: MultiModelMockBackend, model: str) -> Any:
    async with ask(http, server, "/api/chat", model=model, messages=[], keep_alive=0) as answer:
        assert answer.status == 200
        return await answer.json()


async def test_only_the_line_for_loads_is_ever_full(http):
    async with serve("ABC", max_loaded=1, max_queue=1, slots=1) as server:
        gate = server.hold("A")
        tasks = [asking(http, server, "A")]
        await server.wait_for(lambda: gate.waiting == 1)
        for count, name in enumerate("BB", 2):
            tasks.append(asking(http, server, name))
            await asked(server, count)
        async with chat(http, server, "C") as answer:
            assert answer.status == 503
            assert (await answer.json())["error"] == "server busy, please try again.  maximum pending requests exceeded"
        tasks += [asking(http, server, "A") for _ in range(20)]
        await asked(server, 24)
        gate.release()
        await asyncio.gather(*tasks)
        assert {record.status for record in server.request_history} == {200, 503}
        assert server.loads == ["A", "B"]


async def test_a_loaded_model_serves_its_slots_in_order_of_arrival(http):
    async with serve("A", slots=2) as server:
        gate = server.hold("A")
        tasks = []
        for count in range(1, 5):
            tasks.append(asking(http, server, "A"))
            await asked(server, count)
        await server.wait_for(lambda: gate.waiting == 2)
        assert [record.held for record in server.request_history] == [True, True, False, False]
        gate.release()
        await asyncio.gather(*tasks)


async def leave(server: MultiModelMockBackend, task: asyncio.Task[bytes]) -> None:
    task.cancel()
    await server.wait_for(lambda: server.request_history[-1].cancelled)


async def test_a_load_whose_client_leaves_is_aborted(http):
    async with serve("AB", max_loaded=1) as server:
        await read(chat(http, server, "A"))
        server.models["B"] = MockModelConfig(load_s=60.0)
        waiting = asking(http, server, "B")
        await server.wait_for(lambda: server.loads == ["A", "B"])
        await leave(server, waiting)
        assert (server.residency.waiting, server.residency.loaded()) == (0, {})
        await asyncio.wait_for(read(chat(http, server, "A")), 1)


@pytest.mark.parametrize("is_alone", [True, False])
async def test_who_was_told_to_leave_does_so_though_nobody_waits_for_it_any_more(http, is_alone):
    async with serve("AB", max_loaded=1) as server:
        gate = server.hold("A")
        first = asking(http, server, "A")
        await server.wait_for(lambda: gate.waiting == 1)
        line = [asking(http, server, "B")]
        await asked(server, 2)
        if not is_alone:
            line.append(asking(http, server, "B"))
            await asked(server, 3)
        await leave(server, line.pop())
        gate.release()
        await asyncio.gather(first, *line)
        await server.wait_for(lambda: "A" not in server.residency.loaded())
        assert server.loads == (["A"] if is_alone else ["A", "B"])


async def test_another_context_is_another_load_and_other_options_are_none(http):
    async with serve("A") as server:
        for options in ({}, {"num_ctx": 64}, {"num_ctx": 64, "temperature": 1.0}, {"num_ctx": 64, "num_gpu": 0}, {}):
            await read(chat(http, server, "A", options=options))
        assert server.loads == ["A", "A", "A", "A"]


async def test_an_unload_loads_nothing_and_a_dead_process_forgets_all(http):
    async with serve("AB", max_loaded=1) as server:
        assert (await unload(http, server, "A"))["done_reason"] == "unload"
        assert server.loads == []
        await read(chat(http, server, "A", keep_alive=-1))
        await server.restart()
        assert server.residency.loaded() == {}
        async with aiohttp.ClientSession() as fresh:
            await read(chat(fresh, server, "B"))
        assert server.loads == ["A", "B"]


async def test_a_process_that_dies_serves_nobody_in_line(http):
    async with serve("ABC", max_loaded=1, load_s=60.0) as server:
        tasks = []
        for count, name in enumerate("ABC", 1):
            tasks.append(asking(http, server, name))
            await asked(server, count)
        await server.down()
        assert (server.loads, server.residency.waiting) == (["A"], 0)
        failed = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(failure, aiohttp.ClientError) for failure in failed)


async def test_it_loads_as_often_as_the_simulated_scheduler(http):
    """Eight clients with lists of their own: how often depends on whose request comes first, and on nothing else."""

    async def client(server: MultiModelMockBackend, number: int) -> None:
        for k in range(8 if number < 4 else 7):
            await read(chat(http, server, "AB"[(number + k) % 2]))

    async with serve("AB", load_s=0.002, max_loaded=1, slots=1) as server:
        await asyncio.gather(*(client(server, number) for number in range(8)))
        order = [record.model for record in server.request_history[:8]]
        numbers = {"A": iter((0, 2, 4, 6)), "B": iter((1, 3, 5, 7))}
        traffic = own_lists(8, 60, order=[next(numbers[model]) for model in order])
        simulated = simulate(OrderOfArrival(), traffic, [SimModel("A"), SimModel("B")], capacity_bytes=1)
        assert abs(len(server.loads) - simulated.loads) <= 2
