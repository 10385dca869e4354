"""What a caller may rely on in Ollama's memory: held by the mock server and, where one answers, by a real Ollama.

The real one is asked at ``$OLLAMA_HOST`` by ``make e2e``. It needs two models that chat; the two smallest are taken.
What needs memory for one model at a time runs where ``$OLLAMA_MAX_LOADED_MODELS`` says 1, as the server's must.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from modelway.backends.mock import MockModelConfig, MultiModelMockBackend, OllamaLimits
from modelway.privacy.locality import ollama_url

SERVERS = ["mock", pytest.param("real", marks=[pytest.mark.e2e, pytest.mark.timeout(300)])]


@dataclass
class Ollama:
    """A server with two models, and what is asked of it."""

    http: aiohttp.ClientSession
    models: tuple[str, str]
    is_for_one: bool

    async def post(self, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
        async with self.http.post(path, json=body) as answer:
            return answer.status, await answer.json()

    async def load(self, model: str, **body: Any) -> dict[str, Any]:
        status, answer = await self.post("/api/chat", model=model, messages=[], **body)
        assert (status, answer["done"]) == (200, True)
        return answer

    async def say(self, model: str, **body: Any) -> dict[str, Any]:
        messages = [{"role": "user", "content": "Say yes."}]
        options = {"num_predict": 1} | body.pop("options", {})
        status, answer = await self.post(
            "/api/chat", model=model, messages=messages, stream=False, options=options, **body
        )
        assert (status, answer["done"]) == (200, True)
        return answer

    async def resident(self) -> dict[str, dict[str, Any]]:
        async with self.http.get("/api/ps") as answer:
            return {entry["name"]: entry for entry in (await answer.json())["models"]}

    async def until_gone(self, *models: str) -> None:
        async with asyncio.timeout(30):
            while (await self.resident()).keys() & set(models):  # noqa: ASYNC110  (the server tells nobody)
                await asyncio.sleep(0.01)


@pytest.fixture(params=SERVERS)
async def ollama(request: pytest.FixtureRequest) -> AsyncIterator[Ollama]:
    if request.param == "mock":
        config = MockModelConfig(reply="yes")
        limits = OllamaLimits(max_loaded=1 if "one_at_a_time" in request.node.name else 0)
        async with (
            MultiModelMockBackend({"a:latest": config, "b:latest": config}, limits=limits) as server,
            aiohttp.ClientSession(server.url) as http,
        ):
            yield Ollama(http, ("a:latest", "b:latest"), limits.max_loaded == 1)
        return
    if "OLLAMA_HOST" not in os.environ:
        pytest.skip("$OLLAMA_HOST is not set")
    url = ollama_url(os.environ["OLLAMA_HOST"])
    async with aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(120)) as http:
        yield await real(http)


async def real(http: aiohttp.ClientSession) -> Ollama:
    try:
        async with http.get("/api/tags") as answer:
            listed = (await answer.json())["models"]
    except aiohttp.ClientError:
        pytest.skip("no Ollama answers at $OLLAMA_HOST")
    here = sorted((entry["size"], entry["name"]) for entry in listed if not entry.get("remote_host"))
    server = Ollama(http, ("", ""), os.environ.get("OLLAMA_MAX_LOADED_MODELS") == "1")
    chatting = []
    for _, name in here:
        _, shown = await server.post("/api/show", model=name)
        if "completion" in shown.get("capabilities", []):
            chatting.append(name)
    if len(chatting) < 2:
        pytest.skip("this Ollama has no two models that chat")
    server.models = (chatting[0], chatting[1])
    for name in server.models:
        await server.load(name, keep_alive=0)
    await server.until_gone(*server.models)
    return server


async def test_a_request_without_messages_loads_and_with_a_keep_alive_of_0_unloads(ollama):
    model = ollama.models[0]
    assert (await ollama.load(model))["done_reason"] == "load"
    assert model in await ollama.resident()
    assert (await ollama.load(model, keep_alive=0))["done_reason"] == "unload"
    await ollama.until_gone(model)
    assert (await ollama.load(model, keep_alive=0))["done_reason"] == "unload"
    assert model not in await ollama.resident()


@pytest.mark.parametrize("keep_alive", ["-1", "300"])
async def test_a_number_in_quotes_is_no_keep_alive(ollama, keep_alive):
    status, answer = await ollama.post("/api/chat", model=ollama.models[0], messages=[], keep_alive=keep_alive)
    assert (status, answer) == (400, {"error": f'time: missing unit in duration "{keep_alive}"'})


async def test_a_keep_alive_stays_until_another_is_given(ollama):
    model = ollama.models[0]
    await ollama.load(model, keep_alive=-1)
    await ollama.say(model)
    assert int((await ollama.resident())[model]["expires_at"][:4]) > 2300
    await ollama.say(model, keep_alive="250ms")
    began = time.monotonic()
    await ollama.until_gone(model)
    assert time.monotonic() - began < 10
    await ollama.say(model)
    assert int((await ollama.resident())[model]["expires_at"][:4]) < 2300


async def test_another_context_is_another_load(ollama):
    model = ollama.models[0]
    for context in (512, 1024):
        await ollama.say(model, options={"num_ctx": context})
        assert (await ollama.resident())[model]["context_length"] == context


async def test_one_at_a_time_each_pushes_out_the_other(ollama):
    if not ollama.is_for_one:
        pytest.skip("$OLLAMA_MAX_LOADED_MODELS is not 1")
    for model in ollama.models * 2:
        await ollama.say(model)
        assert set(await ollama.resident()) == {model}


async def test_one_at_a_time_requests_of_one_moment_are_all_served(ollama):
    if not ollama.is_for_one:
        pytest.skip("$OLLAMA_MAX_LOADED_MODELS is not 1")
    answers = await asyncio.gather(*(ollama.say(model) for model in ollama.models * 3))
    assert all(answer["message"]["role"] == "assistant" for answer in answers)
