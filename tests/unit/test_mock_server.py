"""The mock server itself: what models say, its records and barriers, its life."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import tomllib
import urllib.error
import urllib.request

import aiohttp
import mock_client
import pytest
from mock_client import USER, chat, read, records

from modelway.backends.mock import Fault, FaultKind, MockModelConfig, MultiModelMockBackend, run_in_thread
from modelway.testing import mock_config

http, server = mock_client.http, mock_client.server


async def test_a_reply_can_be_pieces_or_a_function_of_the_request(server, http):
    server.models["pieces"] = MockModelConfig(reply=["a", "", "b c"])
    server.models["echo"] = MockModelConfig(reply=lambda request: request.body["messages"][0]["content"] + "!")
    server.models["silent"] = MockModelConfig()
    async with chat(http, server, "pieces") as answer:
        lines = records(await answer.read())
    assert [line["message"]["content"] for line in lines] == ["a", "", "b c", ""]
    for model, said in {"echo": "hello!", "silent": "I am silent, a mock model."}.items():
        async with chat(http, server, model, stream=False) as answer:
            assert (await answer.json())["message"]["content"] == said


async def test_delays_show_in_the_metrics(server, http):
    server.models["slow"] = MockModelConfig(reply="a b", ttft_s=0.02, per_token_s=0.01)
    for stream in (True, False):
        async with chat(http, server, "slow", stream=stream) as answer:
            last = json.loads((await answer.read()).splitlines()[-1])
        assert last["prompt_eval_duration"] >= 20_000_000
        assert last["eval_duration"] >= 20_000_000


async def test_down_cuts_streams_and_refuses_and_up_brings_back_the_same_address(server, http):
    url = server.url
    gate = server.hold("code", after=1)
    async with chat(http, server) as answer:
        await answer.content.readline()
        await server.wait_for(lambda: gate.waiting == 1)
        await server.down()
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    assert (server.request_history[0].cancelled, server.request_history[0].finished) == (False, False)
    with pytest.raises(aiohttp.ClientConnectorError):
        await http.get(url)
    server.release()
    await server.up()
    assert server.url == url
    async with chat(http, server) as answer:
        assert answer.status == 200


async def test_streams_are_held_at_a_barrier_together(server, http):
    gate = server.hold(after=1)
    reading = [asyncio.create_task(read(chat(http, server, model))) for model in ("code", "think", "alias")]
    await server.wait_for(lambda: gate.waiting == 3)
    assert [record.pieces_sent for record in server.request_history] == [1, 1, 1]
    gate.release()
    assert all(records(body)[-1]["done"] for body in await asyncio.gather(*reading))


async def test_a_gate_at_zero_holds_even_the_headers(server, http):
    gate = server.hold("code")
    reading = asyncio.create_task(read(chat(http, server)))
    await server.wait_for(lambda: gate.waiting == 1)
    assert server.request_history[0].status is None
    async with chat(http, server, "alias") as answer:
        assert answer.status == 200
    server.release()
    assert records(await reading)[-1]["done"]


async def test_waiting_for_what_never_happens_ends(server):
    with pytest.raises(TimeoutError):
        await server.wait_for(lambda: False, timeout_s=0.01)


async def test_the_history_holds_what_was_asked_and_shows_none_of_it(server, http):
    async with http.post(
        server.url + "/api/chat",
        json={"model": "code:latest", "messages": USER},
        headers={"Authorization": "Bearer secret"},
    ) as answer:
        await answer.read()
    await server.wait_for(lambda: server.request_history[0].finished)
    (record,) = server.request_history
    assert (record.model, record.asked, record.protocol, record.path) == ("code", "code:latest", "ollama", "/api/chat")
    assert record.body["messages"] == USER
    assert record.headers["authorization"] == "Bearer secret"
    assert record.ended is not None
    assert record.started <= record.ended
    assert "hello" not in repr(record)
    assert "secret" not in repr(record)


async def test_a_connection_is_kept_for_the_next_request(server, http):
    for _ in range(2):
        async with chat(http, server) as answer:
            await answer.read()
    assert server.connections == 1


async def test_a_connection_is_closed_after_a_stream_although_keep_alive_is_announced():
    async with MultiModelMockBackend({"m": MockModelConfig()}, close_after_stream=True) as server:
        body = json.dumps({"model": "m", "messages": USER}).encode()
        head = f"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
        writer.write(head.encode() + body)
        answer = await reader.read()  # to the end of the connection
        writer.close()
        await writer.wait_closed()
    assert b"Keep-Alive: timeout=5, max=100" in answer
    assert answer.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("kind", ["ollama", "openai"])
async def test_a_configuration_for_the_server_s_models(server, kind):
    server.models['eye "1"\x7f'] = MockModelConfig(capabilities=["completion", "vision"], max_context=512)
    text = mock_config(server, defaults={"code": "code"}, fallbacks={"code": ["think", "tools"]}, kind=kind)
    written = tomllib.loads(text)
    assert written["backends"] == [{"name": "mock", "kind": kind, "url": server.url}]
    assert written["defaults"] == {"code": "code"}
    assert written["fallbacks"] == {"code": ["think", "tools"]}
    models = {model["id"]: model for model in written["models"]}
    assert list(models) == list(server.models)
    assert models["tools"]["supports_tools"]
    assert not models["code"]["supports_tools"]
    eye = models['eye "1"\x7f']
    assert (eye["max_context"], eye["capabilities"]) == (512, ["TextGeneration", "VisionInput"])
    assert tomllib.loads(mock_config(server))["defaults"] == {"general": "code"}
    with pytest.raises(ValueError, match="'nope' is none of code, think"):
        mock_config(server, defaults={"math": "nope"})


async def test_a_server_has_no_address_before_it_starts():
    with pytest.raises(RuntimeError, match="start"):
        _ = MultiModelMockBackend({}).url


async def test_closing_twice_is_closing_once():
    server = MultiModelMockBackend({})
    await server.start()
    await server.start()
    await server.aclose()
    await server.aclose()
    assert not server.is_up


def test_a_server_in_a_thread_serves_a_client_that_blocks():
    with run_in_thread(MultiModelMockBackend({"m": MockModelConfig(reply="ok")})) as thread:
        thread.call(lambda: thread.server.fail("m", Fault.http(503), times=1))
        body = json.dumps({"model": "m", "messages": USER, "stream": False}).encode()
        request = urllib.request.Request(thread.url + "/api/chat", body)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request)
        refused.value.close()
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer)["message"]["content"] == "ok"
        thread.wait_for(lambda: thread.server.request_counts["m"] == 2)
        thread.run(thread.server.down())
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(request)
        port = int(thread.url.rpartition(":")[2])
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


async def test_a_restart_cuts_what_runs_and_serves_at_the_same_place(server, http):
    gate = server.hold("code", after=1)
    url = server.url
    async with chat(http, server) as answer:
        await server.wait_for(lambda: gate.waiting == 1)
        await server.restart()
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    assert not server.request_history[0].cancelled
    server.release()
    async with chat(http, server) as answer:
        assert (server.url, answer.status) == (url, 200)


async def test_with_a_certificate_it_speaks_https_and_nothing_else(http):
    import trustme

    authority = trustme.CA()
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(ours)
    theirs = ssl.create_default_context()
    authority.configure_trust(theirs)
    async with MultiModelMockBackend({"m": MockModelConfig(reply="ok")}, tls=ours) as server:
        assert server.url.startswith("https://127.0.0.1:")
        async with http.get(server.url, ssl=theirs) as answer:
            assert answer.status == 200
        with pytest.raises(aiohttp.ClientError):
            await http.get(server.url.replace("https:", "http:"))
        server.fail("m", Fault(FaultKind.RESET_MID_STREAM))
        with pytest.raises(aiohttp.ClientError):
            async with http.post(f"{server.url}/api/chat", json={"model": "m", "messages": USER}, ssl=theirs) as answer:
                await answer.read()
