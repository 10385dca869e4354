"""The monitor in a conductor over a real server that dies, returns, loses models and gets them back."""

from __future__ import annotations

import asyncio
import time

import pytest
from availability_kit import own_tasks, silent_server, until, until_reachable
from conductor_kit import CODE, OpenConductor, asked, collect, config_text, replies

from modelway.backends.mock import MultiModelMockBackend
from modelway.conductor import Conductor
from modelway.config import Config
from modelway.errors import NoModelAvailable

#: Circuits stay open for minutes: traffic comes back through the monitor or not within the test.
HASTY = "[health]\nfailures_to_open = 2\nbackoff_ms = 300_000\ncheck_ms = 40\nrecheck_ms = 40\nalert_after_ms = 100\n"
#: The only routes that may be asked without a request: none of them loads a model.
FREE = {"/api/version", "/api/tags", "/api/ps", "/api/show", "/v1/models"}


@pytest.mark.parametrize("kind", ["ollama", "openai"])
async def test_s8_a_server_that_is_back_is_used_again_through_exactly_one_probe(
    server: MultiModelMockBackend, open_conductor: OpenConductor, kind: str
) -> None:
    conductor = open_conductor(config_text(server.url, kind, HASTY))
    async with conductor:
        assert (await conductor.complete(CODE)).model == "code-model"
        await server.down()
        for _ in range(3):
            with pytest.raises(NoModelAvailable):
                await conductor.complete(CODE)
        await until_reachable(conductor, False)
        server.request_history.clear()
        await server.up()
        back = time.monotonic()
        await until(lambda: conductor.router.health("code-model").available)
        assert time.monotonic() - back < 2.0, "one pause and one answer, as at the defaults, where that is below 6 s"
        gate = server.hold()
        probe = asyncio.create_task(conductor.complete(CODE))
        await server.wait_for(lambda: gate.waiting == 1)
        _, error = await collect(conductor, CODE)
        assert isinstance(error, NoModelAvailable), "its backend lets nobody else through"
        gate.release()
        assert (await probe).model == "code-model"
        assert asked(server) == ["code-model"], "one probe, no herd"
        assert (await conductor.complete(CODE)).model == "code-model"
        assert conductor.router.backend_health("local").state == "closed"


@pytest.mark.parametrize("kind", ["ollama", "openai"])
async def test_only_free_routes_are_asked_and_no_model_is_loaded(
    server: MultiModelMockBackend, open_conductor: OpenConductor, kind: str
) -> None:
    async with open_conductor(config_text(server.url, kind, HASTY)) as conductor:
        await until_reachable(conductor, True)
        await server.down()
        await until_reachable(conductor, False)
        await server.up()
        await until_reachable(conductor, True)
        seen = sum(server.path_counts.values())
        await until(lambda: sum(server.path_counts.values()) > seen + 3)
    assert set(server.path_counts) <= FREE
    assert server.request_history == []
    assert server.residency.loaded() == {}


async def test_no_connection_is_opened_to_a_backend_elsewhere(server: MultiModelMockBackend) -> None:
    text = config_text(server.url, more=HASTY).replace('name = "local"', 'name = "local"\nlocation = "external"')
    async with Conductor(Config.from_toml(text)) as conductor:
        for _ in range(5):
            await asyncio.gather(*conductor.monitor.begin_due().values())
        assert conductor.monitor.is_reachable("local") is None
    assert server.connections == 0


async def test_m16_m23_models_that_go_in_a_batch_are_missed_and_come_back(
    server: MultiModelMockBackend, open_conductor: OpenConductor
) -> None:
    async with open_conductor(config_text(server.url, more=HASTY)) as conductor:
        gone = {name: server.models.pop(name) for name in ("code-model", "deep-model", "math-model")}
        alerts = conductor.watch()
        told = {(await anext(alerts)).model for _ in gone}
        assert told == set(gone)
        events, error = await collect(conductor, CODE)
        assert error is None
        assert [type(event).__name__ for event in events][:2] == ["ModelSelected", "Degraded"]
        assert asked(server) == ["general-model"], "what is known to be missing is not asked"
        server.models.update(gone)
        ends = [await anext(alerts) for _ in gone]
        assert {end.model for end in ends if end.is_over} == set(gone)
        assert all(0 < end.lasted_s < 5 for end in ends)
        assert (await conductor.complete(CODE)).model == "code-model"
        await alerts.aclose()


async def test_s10_a_server_that_stays_away_is_told_once_and_its_return_with_how_long(
    server: MultiModelMockBackend, open_conductor: OpenConductor
) -> None:
    async with open_conductor(config_text(server.url, more=HASTY)) as conductor:
        await until_reachable(conductor, True)
        await server.down()
        alerts = conductor.watch()
        outage = await anext(alerts)
        assert (outage.what, outage.backend, outage.model, outage.is_over) == ("unreachable", "local", None, False)
        assert outage.lasted_s >= 0.1
        await server.up()
        end = await anext(alerts)
        assert (end.what, end.is_over) == ("unreachable", True)
        assert end.lasted_s > outage.lasted_s
        await alerts.aclose()


async def test_entering_finds_what_is_there_and_closing_leaves_no_task(server: MultiModelMockBackend) -> None:
    config = Config.from_toml(f'[[backends]]\nname = "local"\nkind = "ollama"\nurl = "{server.url}"\n')
    before = own_tasks()
    async with Conductor(config) as conductor:
        assert {name.removesuffix(":latest") for name in conductor.router.profiles} == set(replies())
        del server.models["vision-model"]
        await conductor.aclose()
    assert own_tasks() - before == set()


async def test_a_server_that_does_not_answer_keeps_nobody_from_entering_for_long() -> None:
    async with silent_server() as url:
        config = Config.from_toml(f'[[backends]]\nname = "local"\nkind = "ollama"\nurl = "{url}"\n')
        started = time.monotonic()
        async with Conductor(config):
            assert time.monotonic() - started < 2.0
        assert time.monotonic() - started < 3.0, "nor from leaving"


async def test_who_is_cancelled_while_entering_leaves_nothing_behind(server: MultiModelMockBackend) -> None:
    conductor = Conductor(Config.from_toml(config_text(server.url)))
    before = own_tasks()
    entering = asyncio.create_task(conductor.__aenter__())
    await asyncio.sleep(0)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert own_tasks() - before - {entering} == set()
