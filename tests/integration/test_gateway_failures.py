"""Models that fail behind the gateway: seen in headers, events and statuses, never hidden, never spliced."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from gateway_support import CHAT, HELLO, client_of, gateway_over, ndjson, sse, text_of

from conftest import OpenConductor, config_text
from modelway.conductor import Conductor
from modelway.gateway import relay
from modelway.testing import Fault, FaultKind, MockModelConfig, MultiModelMockBackend

REPLY = "one two three four"
PATHS = (CHAT, "/api/chat", "/api/generate")


@pytest.fixture
async def server() -> AsyncIterator[MultiModelMockBackend]:
    names = ("general", "code", "math", "quick", "deep", "creative", "tool")
    async with MultiModelMockBackend({f"{name}-model": MockModelConfig(reply=REPLY) for name in names}) as server:
        yield server


@pytest.fixture
def conductor(server: MultiModelMockBackend, open_conductor: OpenConductor) -> Conductor:
    return open_conductor(config_text(server.url, more="[server]\nnotice_after_ms = 50\n"))


@pytest.fixture
async def client(conductor: Conductor) -> AsyncIterator[aiohttp.ClientSession]:
    async with gateway_over(conductor) as url, client_of(url) as session:
        yield session


def body(path: str, stream: bool, model: str = "auto:code") -> dict[str, Any]:
    prompt = {"prompt": "hello"} if path.endswith("generate") else {"messages": HELLO}
    return {"model": model, "stream": stream} | prompt


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
async def test_a_fallback_is_visible_in_headers_and_model_field(
    client: aiohttp.ClientSession, server: MultiModelMockBackend, path: str, stream: bool
) -> None:
    server.unavailable_models |= {"code-model", "deep-model"}
    async with client.post(path, json=body(path, stream)) as response:
        text = await response.text()
    assert response.status == 200
    assert response.headers["x-modelway-model"] == "general-model"
    assert response.headers["x-modelway-fallback"] == "code-model->deep-model->general-model"
    assert response.headers["x-modelway-reason"] == "fallback"
    assert response.headers["x-modelway-task"] == "code"
    records = [json.loads(text)] if not stream else sse(text)[:-1] if path == CHAT else ndjson(text)
    assert {record["model"] for record in records} == {"general-model"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
async def test_m15_all_down_is_503_with_retry_after_and_each_model_named(
    client: aiohttp.ClientSession, server: MultiModelMockBackend, path: str, stream: bool
) -> None:
    server.unavailable_models |= set(server.models)
    async with client.post(path, json=body(path, stream)) as response:
        answer = await response.json()
    assert response.status == 503
    assert int(response.headers["Retry-After"]) >= 1
    message = answer["error"]["message"] if path == CHAT else answer["error"]
    for model in ("code-model", "deep-model", "general-model"):
        assert model in message


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Fault.http(400, "bad request"), 400, "backend_rejected"),
        (Fault.http(401), 502, "backend_unauthorized"),
        (Fault.http(403), 502, "backend_unauthorized"),
    ],
)
async def test_what_no_other_model_would_mend_goes_to_the_caller(
    client: aiohttp.ClientSession, server: MultiModelMockBackend, fault: Fault, status: int, code: str
) -> None:
    server.fail("code-model", fault)
    async with client.post(CHAT, json=body(CHAT, stream=True)) as response:
        answer = await response.json()
    assert (response.status, answer["error"]["code"]) == (status, code)
    assert response.headers["x-modelway-model"] == "code-model"
    assert server.request_counts == {"code-model": 1}


BREAKS = [FaultKind.RESET_MID_STREAM, FaultKind.END_WITHOUT_DONE, FaultKind.ERROR_RECORD, FaultKind.MALFORMED_RECORD]


@pytest.mark.parametrize("kind", BREAKS)
async def test_m17_openai_stream_that_breaks_off_ends_with_an_error_event(
    client: aiohttp.ClientSession, server: MultiModelMockBackend, kind: FaultKind
) -> None:
    server.fail("code-model", Fault(kind, after=2))
    async with client.post(CHAT, json=body(CHAT, stream=True)) as response:
        *chunks, last = sse(await response.text())
    assert text_of(chunks) == "one two"
    assert last["error"]["code"] == "stream_interrupted"
    assert last["error"]["partial"] == "one two"
    assert server.request_counts == {"code-model": 1}, "no second model is spliced in"


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
@pytest.mark.parametrize("kind", BREAKS)
async def test_m17_ollama_stream_that_breaks_off_ends_with_an_error_line(
    client: aiohttp.ClientSession, server: MultiModelMockBackend, path: str, kind: FaultKind
) -> None:
    server.fail("code-model", Fault(kind, after=2))
    async with client.post(path, json=body(path, stream=True)) as response:
        *lines, last = ndjson(await response.text())
    assert [line["done"] for line in lines] == [False, False]
    assert last.keys() == {"error", "partial"}
    assert last["partial"] == "one two"


@pytest.mark.parametrize("path", PATHS)
async def test_m17_whole_answer_that_breaks_off_keeps_what_came(
    client: aiohttp.ClientSession, server: MultiModelMockBackend, path: str
) -> None:
    server.fail("code-model", Fault(FaultKind.RESET_MID_STREAM, after=2))
    async with client.post(path, json=body(path, stream=False)) as response:
        answer = await response.json()
    assert response.status == 502
    assert (answer["error"] if path == CHAT else answer)["partial"] == "one two"


async def test_a_long_wait_opens_an_sse_answer_with_comments(
    client: aiohttp.ClientSession, server: MultiModelMockBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "NOTICE_EVERY_S", 0.02)
    gate = server.hold("code-model")
    async with client.post(CHAT, json=body(CHAT, stream=True)) as response:
        assert response.headers["x-modelway-model"] == "code-model"
        assert response.headers["x-modelway-fallback"] == "none"
        assert "x-modelway-load-ms" not in response.headers, "not known yet"
        for _ in range(2):
            line = await response.content.readline()
            assert line.startswith(b": waiting model=code-model elapsed_ms=")
            assert await response.content.readline() == b"\n"
        gate.release()
        events = [event for event in sse(await response.text()) if not str(event).startswith(": waiting")]
    assert events[0].startswith(": served model=code-model fallback=none queue_ms=")
    assert text_of(events) == REPLY
    assert events[-1] == "[DONE]"


async def test_after_a_notice_another_model_may_still_serve(
    client: aiohttp.ClientSession, server: MultiModelMockBackend
) -> None:
    server.fail("code-model", Fault(FaultKind.STALL_BEFORE_HEADERS), times=1)
    async with client.post(CHAT, json=body(CHAT, stream=True)) as response:
        assert (await response.content.readline()).startswith(b": waiting model=code-model")
        server.unavailable_models.add("code-model")
        server.release()
        assert await response.content.readline() == b"\n"
        events = [event for event in sse(await response.text()) if not str(event).startswith(": waiting")]
    assert events[0].startswith(": served model=deep-model fallback=code-model->deep-model queue_ms=")
    assert {event["model"] for event in events[1:-1]} == {"deep-model"}
    assert text_of(events) == REPLY


async def test_an_error_after_a_notice_is_an_event(
    client: aiohttp.ClientSession, server: MultiModelMockBackend
) -> None:
    server.fail("code-model", Fault(FaultKind.STALL_BEFORE_HEADERS), times=1)
    async with client.post(CHAT, json=body(CHAT, stream=True)) as response:
        assert (await response.content.readline()).startswith(b": waiting model=code-model")
        server.unavailable_models |= set(server.models)
        server.release()
        assert await response.content.readline() == b"\n"
        events = [event for event in sse(await response.text()) if not str(event).startswith(": waiting")]
    assert response.status == 200
    assert [event["error"]["code"] for event in events] == ["no_model_available"]


async def test_an_ollama_answer_stays_silent_however_long_it_takes(
    client: aiohttp.ClientSession, server: MultiModelMockBackend
) -> None:
    gate = server.hold("code-model")
    asking = asyncio.create_task(client.post("/api/chat", json=body("/api/chat", stream=True)))
    await server.wait_for(lambda: gate.waiting == 1)
    done, _ = await asyncio.wait([asking], timeout=0.1)  # twice the time of the first notice
    assert not done, "no header before the first line"
    gate.release()
    async with await asking as response:
        assert ndjson(await response.text())[-1]["done"] is True


@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize("path", PATHS)
async def test_m24_a_client_that_leaves_closes_the_upstream(
    client: aiohttp.ClientSession,
    conductor: Conductor,
    server: MultiModelMockBackend,
    caplog: pytest.LogCaptureFixture,
    path: str,
    after: int,
) -> None:
    caplog.set_level(logging.DEBUG)
    gate = server.hold("code-model", after=after)
    asking = asyncio.create_task(client.post(path, json=body(path, stream=True)))
    await server.wait_for(lambda: gate.waiting == 1)
    if after:
        response = await asking
        response.close()
    else:
        asking.cancel()
    await server.wait_for(lambda: not server.request_history[0].running)
    assert server.request_history[0].cancelled
    assert server.request_counts == {"code-model": 1}, "no fallback is started"
    record = conductor.history[-1]
    assert record.attempts[-1].outcome == "cancelled"
    assert conductor.router.health("code-model").consecutive_failures == 0
    assert not [entry for entry in caplog.records if entry.levelno >= logging.WARNING]


async def test_m24_a_client_that_leaves_after_a_notice_closes_the_upstream(
    client: aiohttp.ClientSession,
    server: MultiModelMockBackend,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay, "NOTICE_EVERY_S", 0.001)  # so that notices meet the closed connection
    server.hold("code-model")
    async with client.post(CHAT, json=body(CHAT, stream=True)) as response:
        assert (await response.content.readline()).startswith(b": waiting")
        response.close()
    await server.wait_for(lambda: not server.request_history[0].running)
    assert server.request_history[0].cancelled
    gc.collect()  # a task whose error nobody took would be reported now
    assert not [entry for entry in caplog.records if entry.levelno >= logging.WARNING]


async def test_nothing_of_a_conversation_is_logged(
    client: aiohttp.ClientSession, server: MultiModelMockBackend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    canary = "canary-91c2"
    server.models["code-model"] = MockModelConfig(reply=f"{canary} again")
    server.fail("code-model", Fault(FaultKind.RESET_MID_STREAM, after=1), times=1)
    for _ in range(2):
        given = body(CHAT, stream=True) | {"messages": [{"role": "user", "content": canary}]}
        async with client.post(CHAT, json=given, headers={"Authorization": f"Bearer {canary}"}) as response:
            assert canary in await response.text()
    assert canary not in caplog.text


async def test_an_unexpected_error_is_500_and_logged_without_its_text(
    client: aiohttp.ClientSession,
    conductor: Conductor,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = "canary-5b1d"

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(conductor, "stream", broken)
    async with client.post(CHAT, json=body(CHAT, stream=True)) as response:
        answer = await response.json()
    assert (response.status, answer["error"]["code"]) == (500, "internal_error")
    assert said not in answer["error"]["message"]
    assert "unexpected RuntimeError" in caplog.text
    assert said not in caplog.text
