"""Limits at the gateway: refusals with ``Retry-After``, what is left in headers, waits in comments, the status."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from gateway_support import CHAT, HELLO, client_of, gateway_over, ndjson, sse, text_of

from conftest import OpenConductor
from modelway.conductor import Conductor, turn
from modelway.gateway import relay
from modelway.testing import MockModelConfig, MultiModelMockBackend

PATHS = (CHAT, "/api/chat", "/api/generate")

Client = Callable[..., Any]


@pytest.fixture
async def server() -> AsyncIterator[MultiModelMockBackend]:
    async with MultiModelMockBackend({"m": MockModelConfig(reply="one two three")}) as server:
        yield server


@pytest.fixture
async def open_client(server: MultiModelMockBackend, open_conductor: OpenConductor) -> AsyncIterator[Client]:
    """Opens a gateway over one model with ``more`` TOML before its tables and ``model`` in its own."""
    async with AsyncExitStack() as stack:

        async def open_(more: str = "", model: str = "") -> tuple[aiohttp.ClientSession, Conductor]:
            conductor = open_conductor(
                f'{more}\n[server]\nnotice_after_ms = 30\n[defaults]\ngeneral = "m"\n'
                f'[[backends]]\nname = "local"\nkind = "ollama"\nurl = "{server.url}"\n[[models]]\nid = "m"\n{model}\n'
            )
            url = await stack.enter_async_context(gateway_over(conductor))
            return await stack.enter_async_context(client_of(url)), conductor

        yield open_


def body(path: str, stream: bool = False, user: str | None = None) -> dict[str, Any]:
    asked: dict[str, Any] = {"prompt": "hello"} if path == "/api/generate" else {"messages": HELLO}
    return {"model": "auto", "stream": stream, **asked, **({"user": user} if user else {})}


async def waiting(conductor: Conductor, count: int) -> None:
    while conductor.router.load("m").waiting != count:  # noqa: ASYNC110  (the core tells nobody)
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("limits", "code"),
    [("requests_per_minute = 1", "rate_limit_exceeded"), ("quota_requests = 1", "quota_exceeded")],
)
async def test_a_user_beyond_a_limit_gets_429_with_retry_after_in_the_protocols_shape(open_client, path, limits, code):
    client, conductor = await open_client(f"[limits.user]\n{limits}")
    async with client.post(path, json=body(path)) as response:
        assert response.status == 200
        assert response.headers["x-ratelimit-limit-requests"] == "1"
        assert response.headers["x-ratelimit-remaining-requests"] == "0"
        assert 0 < float(response.headers["x-ratelimit-reset-requests"].removesuffix("s")) <= 86_400
        assert "x-ratelimit-limit-tokens" not in response.headers
    async with client.post(path, json=body(path, stream=True)) as response:
        answer = await response.json()
        assert response.status == 429
        assert 1 <= int(response.headers["Retry-After"]) <= 86_400
        assert response.headers["x-ratelimit-remaining-requests"] == "0"
    if path == CHAT:
        assert (answer["error"]["code"], answer["error"]["type"]) == (code, "rate_limit_error")
    else:
        assert answer.keys() == {"error"}
    assert conductor.history[-1].outcome == "limited"


async def test_the_user_of_the_body_has_limits_of_its_own_and_does_not_travel_on(open_client, server):
    client, conductor = await open_client("[limits.user]\ntokens_per_minute = 500\ntoken_burst = 300")
    for user in ("alice", "bob", None):
        async with client.post(CHAT, json=body(CHAT, user=user)) as response:
            assert response.status == 200
            assert response.headers["x-ratelimit-limit-tokens"] == "300"
            assert response.headers.get("x-modelway-warning") is None
    assert not any("user" in record.body for record in server.request_history)
    standing = conductor.router.standing
    assert standing("alice")["tokens"]["remaining"] < 300
    assert standing("carol")["tokens"]["remaining"] == 300


async def test_without_limits_there_are_no_headers_of_limits(open_client):
    client, _ = await open_client()
    async with client.post(CHAT, json=body(CHAT)) as response:
        assert not [name for name in response.headers if name.lower().startswith("x-ratelimit")]


@pytest.mark.parametrize("user", [3, ["a"], {"name": "a"}])
async def test_a_user_is_text(open_client, user):
    client, _ = await open_client()
    async with client.post(CHAT, json=body(CHAT) | {"user": user}) as response:
        assert response.status == 400
        assert "user" in (await response.json())["error"]["message"]


@pytest.mark.parametrize("path", PATHS)
async def test_a_full_queue_is_503_with_retry_after(open_client, server, path):
    client, conductor = await open_client("[fairness]\nmax_waiting = 1", "max_concurrent = 1")
    gate = server.hold()
    running = asyncio.create_task(conductor.complete("hello"))
    await server.wait_for(lambda: gate.waiting == 1)
    queued = asyncio.create_task(conductor.complete("hello"))
    await waiting(conductor, 1)
    async with client.post(path, json=body(path)) as response:
        answer = await response.json()
        assert response.status == 503
        assert int(response.headers["Retry-After"]) >= 1
        assert response.headers["x-modelway-model"] == "m"
    if path == CHAT:
        assert answer["error"]["code"] == "queue_full"
    gate.release()
    await asyncio.gather(running, queued)


async def test_a_request_larger_than_any_limit_lets_pass_is_400_and_not_to_be_repeated(open_client):
    client, _ = await open_client("[limits.user]\ntokens_per_minute = 100")
    async with client.post(CHAT, json=body(CHAT)) as response:
        assert response.status == 400
        assert (await response.json())["error"]["code"] == "larger_than_limit"
        assert "Retry-After" not in response.headers
    async with client.post(CHAT, json=body(CHAT) | {"max_tokens": 10}) as response:
        assert response.status == 200


async def test_a_stream_that_waits_says_where_in_comments(open_client, server, monkeypatch):
    monkeypatch.setattr(relay, "NOTICE_EVERY_S", 0.01)
    monkeypatch.setattr(turn, "LOOK_EVERY_S", 0.01)
    client, conductor = await open_client(model="max_concurrent = 1")
    gate = server.hold()
    running = asyncio.create_task(conductor.complete("hello"))
    await server.wait_for(lambda: gate.waiting == 1)
    before = asyncio.create_task(conductor.complete("hello", user="before"))
    await waiting(conductor, 1)
    async with client.post(CHAT, json=body(CHAT, stream=True, user="after")) as response:
        assert await response.content.readline() == b": queued position=2\n"
        assert int(response.headers["x-modelway-queue-ms"]) >= 30
        before.cancel()
        while await response.content.readline() != b": queued position=1\n":
            pass
        assert len(server.request_history) == 1
        gate.release()
        events = sse("\n" + (await response.text()).lstrip("\n"))
    served = next(event for event in events if str(event).strip().startswith(": served"))
    assert "served model=m fallback=none queue_ms=" in served
    assert text_of(events) == "one two three"
    assert events[-1] == "[DONE]"
    await asyncio.gather(running, before, return_exceptions=True)


@pytest.mark.parametrize("path", PATHS)
async def test_a_client_that_leaves_while_queued_gives_its_place_back(open_client, server, path):
    client, conductor = await open_client(model="max_concurrent = 1")
    gate = server.hold()
    running = asyncio.create_task(conductor.complete("hello"))
    await server.wait_for(lambda: gate.waiting == 1)
    asking = asyncio.create_task(client.post(path, json=body(path, stream=True)))
    await waiting(conductor, 1)
    asking.cancel()
    await waiting(conductor, 0)
    gate.release()
    await running
    assert len(server.request_history) == 1, "nothing was sent for it"
    async with client.post(path, json=body(path)) as response:
        assert response.status == 200
        assert int(response.headers["x-modelway-queue-ms"]) < 1_000


async def test_m21_many_clients_at_few_slots_are_all_answered_or_told_when_to_come_back(open_client, server):
    client, conductor = await open_client("[fairness]\nmax_waiting = 40", "max_concurrent = 2")
    gate = server.hold()

    async def ask(number: int) -> tuple[int, str | None]:
        path = PATHS[number % 3]
        async with client.post(path, json=body(path, stream=bool(number % 2))) as response:
            text = await response.text()
            if response.status == 200 and response.content_type == "application/x-ndjson":
                assert ndjson(text)[-1]["done"]
            return response.status, response.headers.get("Retry-After")

    tasks = [asyncio.create_task(ask(number)) for number in range(80)]
    await waiting(conductor, 40)
    gate.release()
    results = await asyncio.gather(*tasks)
    assert {status for status, _ in results} <= {200, 503}
    assert sum(status == 200 for status, _ in results) >= 42
    assert all(retry_after for status, retry_after in results if status == 503)


async def test_the_status_lists_each_limit_in_force_and_who_waits(open_client, server):
    client, conductor = await open_client(
        "[limits.user]\nquota_tokens = 5_000\n[fairness]\nmax_waiting = 7", "max_concurrent = 1"
    )
    gate = server.hold()
    running = asyncio.create_task(conductor.complete("hello"))
    await server.wait_for(lambda: gate.waiting == 1)
    queued = asyncio.create_task(conductor.complete("hello"))
    await waiting(conductor, 1)
    async with client.get("/modelway/status") as response:
        status = await response.json()
    limits = {(limit["of"], limit["what"]): limit["limit"] for limit in status["limits"]}
    assert limits["user", "quota"] == 5_000
    assert limits["backend local", "queue"] == 7
    assert limits["model m", "concurrency"] == 1
    (model,) = status["models"]
    assert (model["model"], model["backend"], model["state"], model["available"]) == ("m", "local", "closed", True)
    assert (model["running"], model["waiting"]) == (1, 1)
    gate.release()
    await asyncio.gather(running, queued)
