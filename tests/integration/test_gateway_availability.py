"""``/ready``, ``/modelway/events`` and the backends in ``/modelway/status``: what the gateway says of availability."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from availability_kit import until, until_reachable
from conductor_kit import OpenConductor, config_text
from gateway_support import client_of, gateway_over

from modelway.backends.mock import MultiModelMockBackend
from modelway.conductor import Conductor
from modelway.config import Config
from modelway.gateway.routes import make_app
from modelway.gateway.sockets import listening
from modelway.types import RequestOutcome

HASTY = "[health]\nfailures_to_open = 1\ncheck_ms = 30\nrecheck_ms = 30\nalert_after_ms = 60\n"


@pytest.fixture
async def conductor(server: MultiModelMockBackend, open_conductor: OpenConductor) -> AsyncIterator[Conductor]:
    async with open_conductor(config_text(server.url, more=HASTY)) as conductor:
        await until_reachable(conductor, True)
        yield conductor


@pytest.fixture
async def client(conductor: Conductor) -> AsyncIterator[aiohttp.ClientSession]:
    async with gateway_over(conductor) as url, client_of(url) as session:
        yield session


async def ready(client: aiohttp.ClientSession) -> tuple[int, dict]:
    async with client.get("/ready") as response:
        return response.status, await response.json()


async def test_ready_when_every_default_can_be_served(client: aiohttp.ClientSession) -> None:
    assert await ready(client) == (200, {"ready": True, "missing": [], "degraded": []})


async def test_a_default_that_its_chain_serves_is_degraded_and_one_without_is_missing(
    server, client, conductor
) -> None:
    conductor.router.record_outcome("code-model", RequestOutcome(False))
    degraded = {"task": "code", "model": "code-model", "why": "failing"}
    assert await ready(client) == (200, {"ready": True, "missing": [], "degraded": [degraded]})
    del server.models["general-model"]
    await until(lambda: conductor.router.health("general-model").held == "missing")
    missing = {"task": "general", "model": "general-model", "why": "missing"}
    assert await ready(client) == (503, {"ready": False, "missing": [missing], "degraded": [degraded]})


async def test_a_server_that_is_away_is_not_ready_though_nobody_has_asked_it(server, client, conductor) -> None:
    await server.down()
    await until_reachable(conductor, False)
    status, document = await ready(client)
    assert status == 503
    assert {entry["why"] for entry in document["missing"]} == {"unreachable"}
    assert {entry["task"] for entry in document["missing"]} == set(conductor.settings.defaults)
    await server.up()
    await until_reachable(conductor, True)
    assert (await ready(client))[0] == 200


@pytest.mark.parametrize(
    ("models", "status"),
    [("", 503), ('[[models]]\nid = "m"\n', 200), ('[[models]]\nid = "m"\nlocation = "external"\n', 503)],
    ids=["none", "one", "elsewhere"],
)
async def test_without_defaults_any_model_on_this_device_will_do(models: str, status: int) -> None:
    backend = '[[backends]]\nname = "local"\nkind = "mock"\n'
    conductor = Conductor(Config.from_toml(backend + models.replace("id =", 'backend = "local"\nid =')))
    async with conductor, gateway_over(conductor) as url, client_of(url) as client:
        assert (await ready(client))[0] == status


async def test_the_status_tells_of_each_backend(server, client, conductor) -> None:
    async with client.get("/modelway/status") as response:
        (backend,) = (await response.json())["backends"]
    assert backend.pop("since_s") >= 0
    assert backend == {"name": "local", "location": "device", "state": "closed", "reachable": True}
    await server.down()
    await until_reachable(conductor, False)
    async with client.get("/modelway/status") as response:
        (backend,) = (await response.json())["backends"]
    assert backend["reachable"] is False


async def test_alerts_are_streamed_as_they_come(server, client) -> None:
    async with client.get("/modelway/events") as response:
        assert response.content_type == "text/event-stream"
        assert await response.content.readuntil(b"\n\n") == b": alerts of modelway\n\n"
        del server.models["code-model"]
        block = await response.content.readuntil(b"\n\n")
    name, data = block.decode().strip().split("\n")
    assert name == "event: availability"
    alert = json.loads(data.removeprefix("data: "))
    assert {key: alert[key] for key in ("model", "backend", "what", "is_over")} == {
        "model": "code-model", "backend": "local", "what": "missing", "is_over": False,
    }  # fmt: skip
    assert "ollama pull code-model" in alert["message"]


async def test_a_stream_of_alerts_keeps_no_gateway_from_stopping(conductor: Conductor) -> None:
    loop = asyncio.get_running_loop()
    async with listening(make_app(conductor), ("127.0.0.1",), 0, drain_s=30.0) as url:
        session = aiohttp.ClientSession(url)
        response = await session.get("/modelway/events")
        await response.content.readuntil(b"\n\n")
        stopping = loop.time()
    assert loop.time() - stopping < 2.0
    assert await response.content.read() == b""
    await session.close()


async def test_a_client_that_leaves_ends_its_stream(client, conductor) -> None:
    async with client.get("/modelway/events") as response:
        await response.content.readuntil(b"\n\n")
        await until(lambda: len(conductor.monitor._watchers._queues) == 1)
    await until(lambda: not conductor.monitor._watchers._queues)
