"""The fault table through the gateway: what a raw client, and the ``openai`` and ``ollama`` packages, get to see."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import ollama
import openai
import pytest
from fault_network import tls_server
from fault_rows import ROWS, Row, Then
from fault_scene import PROTOCOLS, SECOND, Protocol, Scene, scene
from gateway_support import CHAT, HELLO, client_of, gateway_over, ndjson, sse
from gateway_support import text_of as sse_text
from leaks import no_leaks

#: What the gateway answers where the caller is told of a refusal.
STATUS = {"rejected": 400, "unauthorized": 502}


@pytest.fixture(autouse=True)
async def _nothing_is_left() -> AsyncIterator[None]:
    async with no_leaks():
        yield


@asynccontextmanager
async def gateway(row: Row, protocol: Protocol, patch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Scene, str]]:
    """The row's scene and the URL of a gateway before it; when the block is left, each permit must be back."""
    tls = tls_server(row.certificate, patch) if row.certificate else None
    async with scene(protocol, hasty=row.hasty, url=row.url, tls=tls) as stage:
        if fault := row.fault_now:
            stage.first.fail("first-model", fault, times=row.times)
        if row.arrange:
            await row.arrange(stage, patch)
        async with gateway_over(stage.conductor) as url:
            yield stage, url
            await stage.at_rest()


def body(stream: bool, row: Row) -> dict[str, Any]:
    return {"model": "auto", "messages": HELLO, "stream": stream, **row.asks}


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(
    ("path", "protocol", "row"),
    [
        pytest.param(path, protocol, row, id=f"{row.name}-{protocol}")
        for path, protocol in ((CHAT, "openai"), ("/api/chat", "ollama"))
        for row in ROWS
        if protocol in row.protocols and not (row.hold_s and row.protocols != PROTOCOLS)
    ],
)
async def test_fault(path: str, protocol: Protocol, row: Row, stream: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    async with gateway(row, protocol, monkeypatch) as (stage, url), client_of(url) as client:
        async with client.post(path, json=body(stream, row)) as response:
            text = await response.text()
        status, said, error = read(path, stream, response, text)
        match row.then:
            case Then.NEXT:
                assert (status, said, error) == (200, SECOND, None)
                assert response.headers["x-modelway-fallback"] == "first-model->second-model"
                assert response.headers["x-modelway-model"] == "second-model"
            case Then.SERVED:
                assert (status, said, error) == (200, row.text, None)
                assert response.headers["x-modelway-fallback"] == "none"
                assert response.headers["x-modelway-model"] == "first-model"
            case Then.INTERRUPTED:
                assert error is not None
                assert status == (200 if stream else 502)
                assert said == (row.partial if stream else "")
                assert error["partial"] == row.partial
                assert text.count(json.dumps(row.partial)) == 1, "told once"
            case Then.CALLER:
                assert (status, said) == (STATUS[row.outcome], "")
                assert error is not None
                assert response.headers["x-modelway-model"] == "first-model"
        assert len(stage.second.request_history) == (row.then is Then.NEXT)


def read(
    path: str, stream: bool, response: aiohttp.ClientResponse, text: str
) -> tuple[int, str, dict[str, Any] | None]:
    """What came, of either protocol, streamed or whole."""
    if response.content_type == "application/json":
        answer = json.loads(text)
        if "error" in answer:
            return response.status, "", answer["error"] if path == CHAT else answer
        message = answer["choices"][0]["message"] if path == CHAT else answer["message"]
        return response.status, message["content"], None
    assert stream
    if path == CHAT:
        *events, last = sse(text)
        return response.status, sse_text(events), None if last == "[DONE]" else last["error"]
    records = ndjson(text)
    said = "".join(record["message"]["content"] for record in records if "message" in record)
    if records[-1].get("done"):
        return response.status, said, None
    return response.status, said, records[-1]


#: One row of each kind of ending, and of each status that a client's package has an exception of its own for.
SEEN = [
    row for row in ROWS if row.name in {"refused", "m17-reset", "m17-error-record", "m19-stall", "400", "401", "500"}
]


@pytest.mark.parametrize("row", SEEN, ids=lambda row: row.name)
async def test_fault_seen_by_the_openai_package(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        gateway(row, "openai", monkeypatch) as (_, url),
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        said: list[str] = []
        models: set[str] = set()
        error: openai.APIError | None = None
        try:
            stream = await client.chat.completions.create(model="auto", messages=HELLO, stream=True)  # type: ignore[call-overload]
            async for chunk in stream:
                said.append(chunk.choices[0].delta.content or "")
                models.add(chunk.model)
        except openai.APIError as raised:
            error = raised
        match row.then:
            case Then.NEXT:
                assert ("".join(said), models, error) == (SECOND, {"second-model"}, None)
            case Then.INTERRUPTED:
                assert ("".join(said), models) == (row.partial, {"first-model"})
                assert error is not None
                assert error.code == "stream_interrupted"
            case _:
                assert isinstance(error, openai.APIStatusError)
                assert (said, error.status_code) == ([], STATUS[row.outcome])
                assert isinstance(error, openai.BadRequestError) == (row.outcome == "rejected")


@pytest.mark.parametrize("row", SEEN, ids=lambda row: row.name)
async def test_fault_seen_by_the_ollama_package(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    async with gateway(row, "ollama", monkeypatch) as (_, url):
        client = ollama.AsyncClient(host=url)
        said: list[str] = []
        models: set[str | None] = set()
        error: ollama.ResponseError | None = None
        try:
            async for part in await client.chat(model="auto", messages=HELLO, stream=True):
                said.append(part.message.content or "")
                models.add(part.model)
        except ollama.ResponseError as raised:
            error = raised
        finally:
            await client.close()
        match row.then:
            case Then.NEXT:
                assert ("".join(said), models, error) == (SECOND, {"second-model"}, None)
            case Then.INTERRUPTED:
                assert ("".join(said), models) == (row.partial, {"first-model"})
                assert error is not None
                assert "broke off" in error.error
            case _:
                assert error is not None
                assert (said, error.status_code) == ([], STATUS[row.outcome])


@pytest.mark.parametrize("after", [0, 1], ids=["first token", "streaming"])
@pytest.mark.parametrize(("path", "protocol"), [(CHAT, "openai"), ("/api/chat", "ollama")])
async def test_m24_a_client_who_leaves_ends_what_runs_upstream(path: str, protocol: Protocol, after: int) -> None:
    async with scene(protocol) as stage, gateway_over(stage.conductor) as url, client_of(url) as client:
        gate = stage.first.hold("first-model", after=after)
        asking = asyncio.create_task(client.post(path, json={"model": "auto", "messages": HELLO, "stream": True}))
        await stage.first.wait_for(lambda: gate.waiting == 1)
        if after:
            (await asking).close()
        else:
            asking.cancel()
            await asyncio.wait([asking])
        await stage.at_rest()
        assert stage.first.request_history[0].cancelled
        assert not stage.second.request_history, "no fallback for who has left"
