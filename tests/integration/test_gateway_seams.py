"""Seams and deadlines as the gateway's clients see them: comments, the model field, headers, statuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from conductor_kit import OpenConductor, config_text, few, going_on
from gateway_support import CHAT, HELLO, client_of, gateway_over, ndjson, sse, text_of

from modelway.gateway.relay import DEADLINE_HEADER, PREFER_WARM_HEADER
from modelway.testing import Fault, FaultKind, MultiModelMockBackend

BREAK = Fault(FaultKind.RESET_MID_STREAM, after=2)


@pytest.fixture
async def client(server: MultiModelMockBackend, open_conductor: OpenConductor) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a gateway that goes on with answers that break off."""
    async with gateway_over(open_conductor(going_on(config_text(server.url)))) as url, client_of(url) as session:
        yield session


def body(path: str, stream: bool) -> dict[str, Any]:
    prompt = {"prompt": "hello"} if path.endswith("generate") else {"messages": HELLO}
    return {"model": "auto:code", "stream": stream} | prompt


async def test_m17_a_seam_is_a_comment_and_the_model_field_changes(client, server):
    server.fail("code-model", BREAK)
    server.fail("deep-model", Fault(FaultKind.RESET_MID_STREAM, after=1))
    async with client.post(CHAT, json=body(CHAT, stream=True)) as response:
        events = sse(await response.text())
    seams = [event for event in events if str(event).startswith(": seam")]
    assert seams == [
        ": seam from=code-model to=deep-model after_chars=15",
        ": seam from=deep-model to=general-model after_chars=25",
    ]
    models = [event["model"] for event in events if isinstance(event, dict)]
    first, second = (events.index(seam) for seam in seams)
    assert set(models[:first]) == {"code-model"}
    assert models[first] == "deep-model"
    assert set(models[second - 1 :]) == {"general-model"}
    assert text_of(events[:first]) == "code-model says"
    assert text_of(events) == "code-model saysdeep-modelgeneral-model says so"
    assert events[-1] == "[DONE]"


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
async def test_m17_an_ollama_stream_names_the_model_of_each_line(client, server, path):
    server.fail("code-model", BREAK)
    async with client.post(path, json=body(path, stream=True)) as response:
        lines = ndjson(await response.text())
    assert [line["model"] for line in lines] == ["code-model"] * 2 + ["deep-model"] * 4
    assert lines[-1]["done"] is True


@pytest.mark.parametrize("path", [CHAT, "/api/chat", "/api/generate"])
async def test_m17_a_whole_answer_warns_of_its_seam(client, server, path):
    server.fail("code-model", BREAK)
    async with client.post(path, json=body(path, stream=False)) as response:
        answer = await response.json()
    assert response.status == 200
    assert answer["model"] == "deep-model"
    assert response.headers["x-modelway-fallback"] == "code-model->deep-model"
    assert response.headers["x-modelway-warning"] == (
        "The answer of code-model broke off (the connection broke); "
        "from here on, after 15 characters, deep-model answers."
    )


async def test_m17_where_nobody_goes_on_the_error_record_holds_everything(client, server):
    for model in server.models:
        server.fail(model, Fault(FaultKind.RESET_MID_STREAM, after=1))
    async with client.post(CHAT, json=body(CHAT, stream=True)) as response:
        *events, last = sse(await response.text())
    assert last["error"]["code"] == "stream_interrupted"
    assert last["error"]["partial"] == text_of(events)
    assert text_of(events).startswith("code-modeldeep-modelgeneral-model")


async def test_a_model_that_is_asked_again_is_no_other_model(server, open_conductor):
    async with gateway_over(open_conductor(few(server.url, "code"))) as url, client_of(url) as client:
        server.fail("code-model", Fault.http(500), times=1)
        asked_for = {"model": "auto", "messages": HELLO}
        async with client.post(CHAT, json=asked_for) as response:
            assert response.status == 200
    assert response.headers["x-modelway-fallback"] == "code-model->code-model"
    assert response.headers["x-modelway-reason"] != "fallback"


# --- the client's deadline


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [CHAT, "/api/chat"])
async def test_the_clients_deadline_bounds_the_time_to_the_first_token(client, server, path, stream):
    server.hold("code-model")
    headers = {DEADLINE_HEADER: "60"}
    async with client.post(path, json=body(path, stream), headers=headers) as response:
        answer = await response.json()
    assert response.status == 503
    message = answer["error"]["message"] if path == CHAT else answer["error"]
    assert "the deadline of 60 ms passed before a first token" in message
    await server.wait_for(lambda: server.request_history[0].cancelled)


async def test_an_answer_within_the_clients_deadline_is_left_alone(client):
    async with client.post(CHAT, json=body(CHAT, stream=False), headers={DEADLINE_HEADER: "999999999"}) as response:
        assert response.status == 200


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "1e3", "soon", "", " ", "1,2", "0x10", "1" * 10, "१"])
async def test_a_deadline_that_is_no_number_of_milliseconds_is_refused(client, server, value):
    async with client.post(CHAT, json=body(CHAT, stream=True), headers={DEADLINE_HEADER: value}) as response:
        answer = await response.json()
    assert (response.status, answer["error"]["code"]) == (400, "invalid_request")
    assert answer["error"]["message"].startswith("x-modelway-deadline-ms: ")
    assert not server.request_history


async def test_two_deadlines_are_none(client, server):
    headers = [(DEADLINE_HEADER, "100"), (DEADLINE_HEADER, "200")]
    async with client.post(CHAT, json=body(CHAT, stream=True), headers=headers) as response:
        assert response.status == 400
    assert not server.request_history


@pytest.mark.parametrize("values", [["yes"], ["True"], [""], ["1"], ["true", "true"]])
async def test_a_word_on_warm_models_that_is_neither_true_nor_false_is_refused(client, server, values):
    headers = [(PREFER_WARM_HEADER, value) for value in values]
    async with client.post(CHAT, json=body(CHAT, stream=True), headers=headers) as response:
        answer = await response.json()
    assert (response.status, answer["error"]["code"]) == (400, "invalid_request")
    assert answer["error"]["message"].startswith("x-modelway-prefer-warm: ")
    assert not server.request_history


@pytest.mark.parametrize(("value", "model"), [("true", "deep-model"), ("false", "code-model")])
async def test_a_client_says_whether_a_warm_model_may_answer_instead(open_conductor, server, value, model):
    conductor = open_conductor(config_text(server.url))
    conductor.router.model_loaded("deep-model")
    async with gateway_over(conductor) as url, client_of(url) as session:
        headers = {PREFER_WARM_HEADER: value}
        async with session.post(CHAT, json=body(CHAT, stream=False), headers=headers) as response:
            told = response.headers
    assert (told["x-modelway-model"], told["x-modelway-reason"] == "warm") == (model, model == "deep-model")
    warning = told.get("x-modelway-warning", "")
    assert warning.startswith("deep-model answers instead of code-model") == (model == "deep-model")
