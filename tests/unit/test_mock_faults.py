"""The mock server's faults: each strikes where it says and is what it says. The reply has five pieces."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import mock_client
import pytest
from mock_client import REPLY, USER, ask, chat, completion, events, read, records

from modelway.backends.mock import Fault, FaultKind, MockModelConfig, MultiModelMockBackend

http, server = mock_client.http, mock_client.server


ENDS = [
    (FaultKind.END_WITHOUT_DONE, b""),
    (FaultKind.ERROR_RECORD, b'{"error":"the model runner has failed"}\n'),
    (FaultKind.CUT_UTF8, b'"content":"\xc3'),
]


@pytest.mark.parametrize(("kind", "end"), ENDS)
async def test_the_body_ends_well_formed_as_http_and_too_early(server, http, kind, end):
    server.fail("code", Fault(kind, after=2), times=1)
    async with chat(http, server) as answer:
        assert answer.status == 200
        body = await answer.read()
    first, second, *_ = body.splitlines()
    assert json.loads(first)["message"]["content"] + json.loads(second)["message"]["content"] == "fn main()"
    assert body.endswith(end)
    assert b'"done":true' not in body
    async with chat(http, server) as answer:
        assert records(await answer.read())[-1]["done"]


@pytest.mark.parametrize("kind", [FaultKind.END_WITHOUT_DONE, FaultKind.ERROR_RECORD])
async def test_the_same_in_openai_s_framing(server, http, kind):
    server.fail("code", Fault(kind, message="out of memory"))
    async with completion(http, server) as answer:
        chunks = events(await answer.read())
    assert "[DONE]" not in chunks
    assert not any(choice["finish_reason"] for chunk in chunks for choice in chunk.get("choices", []))
    if kind is FaultKind.ERROR_RECORD:
        assert chunks[-1] == {"error": {"code": 500, "message": "out of memory", "type": "server_error"}}


async def test_a_malformed_record_takes_the_place_of_one(server, http):
    server.fail("code", Fault(FaultKind.MALFORMED_RECORD))
    async with chat(http, server) as answer:
        lines = (await answer.read()).splitlines()
    assert len(lines) == 6
    with pytest.raises(json.JSONDecodeError):
        json.loads(lines[1])
    async with completion(http, server) as answer:
        blocks = (await answer.text()).split("\n\n")
    with pytest.raises(json.JSONDecodeError):
        json.loads(blocks[2].removeprefix("data: "))


async def test_a_record_of_the_wrong_type_is_json_and_nothing_else(server, http):
    server.fail("code", Fault(FaultKind.WRONG_TYPE, after=0))
    async with chat(http, server) as answer:
        assert records(await answer.read())[0]["message"] == 7
    async with ask(http, server, "/api/generate", model="code", prompt="x") as answer:
        assert records(await answer.read())[0]["response"] == 7
    async with completion(http, server) as answer:
        assert events(await answer.read())[1]["choices"] == 7


async def test_invalid_utf8_stands_in_a_whole_record(server, http):
    server.fail("code", Fault(FaultKind.INVALID_UTF8))
    async with chat(http, server) as answer:
        line = (await answer.read()).splitlines()[1]
    with pytest.raises(UnicodeDecodeError):
        line.decode()
    assert json.loads(line.decode(errors="replace"))["message"]["content"] == "\ufffd"


async def test_an_empty_answer_ends_well_and_says_nothing(server, http):
    server.fail("code", Fault(FaultKind.EMPTY_ANSWER))
    async with chat(http, server) as answer:
        (line,) = records(await answer.read())
    assert line["done"]
    assert line["message"]["content"] == ""
    async with completion(http, server) as answer:
        role, finish, done = events(await answer.read())
    assert (role["choices"][0]["delta"]["content"], finish["choices"][0]["finish_reason"], done) == (
        None,
        "stop",
        "[DONE]",
    )


async def test_a_giant_record_is_one_line_of_the_size_asked_for(server, http):
    server.fail("code", Fault(FaultKind.GIANT_RECORD, size=300_000))
    async with chat(http, server) as answer:
        lines = records(await answer.read())
    assert len(lines[1]["message"]["content"]) == 300_000
    assert lines[-1]["done"]


async def test_data_after_done(server, http):
    server.fail("code", Fault(FaultKind.DATA_AFTER_DONE))
    async with chat(http, server) as answer:
        *_, last, more = records(await answer.read())
    assert (last["done"], more["done"]) == (True, False)
    async with completion(http, server) as answer:
        assert events(await answer.read())[-2] == "[DONE]"


@pytest.mark.parametrize(("size", "packets"), [(1, "bytes"), (7, "sevens"), (1_000_000, "one")])
async def test_repacketed_bytes_are_the_same_answer(server, http, size, packets):
    server.fail("code", Fault(FaultKind.REPACKETED, size=size))
    async with chat(http, server) as answer:
        chunks: list[bytes] = []
        pending = b""
        async for data, ends in answer.content.iter_chunks():
            pending += data
            if ends:
                chunks.append(pending)
                pending = b""
    assert {len(chunk) for chunk in chunks[:-1]} <= {size}
    assert (len(chunks) == 1) == (packets == "one")
    assert "".join(line["message"]["content"] for line in records(b"".join(chunks))) == REPLY


async def test_a_trickle_is_an_answer_byte_by_byte(server, http):
    server.fail("code", Fault(FaultKind.TRICKLE, interval_s=0.0))
    async with chat(http, server) as answer:
        assert "".join(line["message"]["content"] for line in records(await answer.read())) == REPLY
    server.fail("code", Fault(FaultKind.TRICKLE, interval_s=60.0))
    async with chat(http, server) as answer:
        await answer.content.readline()
        assert await answer.content.readexactly(1) == b"{"
    await server.wait_for(lambda: server.request_history[1].cancelled)


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
async def test_a_reset_before_the_headers(server, http, path):
    server.fail("code", Fault(FaultKind.RESET_BEFORE_HEADERS))
    with pytest.raises(aiohttp.ClientOSError) as failure:
        await ask(http, server, path, model="code", messages=USER, stream=True)
    assert isinstance(failure.value, ConnectionResetError) or "reset" in str(failure.value).lower()
    await server.wait_for(lambda: not server.request_history[0].running)
    record = server.request_history[0]
    assert (record.reset, record.cancelled, record.finished) == (True, False, False)


async def test_a_reset_in_mid_stream_comes_after_the_pieces(server, http):
    server.fail("code", Fault(FaultKind.RESET_MID_STREAM, after=3))
    async with chat(http, server) as answer:
        pieces = [json.loads(await answer.content.readline())["message"]["content"] for _ in range(3)]
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    assert "".join(pieces) == "fn main() {"


@pytest.mark.parametrize("kind", [FaultKind.STALL_BEFORE_HEADERS, FaultKind.STALL_MID_STREAM])
async def test_a_stall_lasts_until_released(server, http, kind):
    server.fail("code", Fault(kind, after=2))
    reading = asyncio.create_task(read(chat(http, server)))
    await server.wait_for(lambda: any(record.held for record in server.request_history))
    assert server.request_history[0].pieces_sent == (0 if kind is FaultKind.STALL_BEFORE_HEADERS else 2)
    server.release()
    assert records(await reading)[-1]["done"]
    assert server.request_history[0].finished


@pytest.mark.parametrize("kind", [FaultKind.STALL_BEFORE_HEADERS, FaultKind.STALL_MID_STREAM])
async def test_a_client_that_leaves_a_stall_is_seen(server, http, kind):
    server.fail("code", Fault(kind))
    reading = asyncio.create_task(read(chat(http, server)))
    await server.wait_for(lambda: any(record.held for record in server.request_history))
    reading.cancel()
    await server.wait_for(lambda: not server.request_history[0].running)
    record = server.request_history[0]
    assert (record.cancelled, record.finished, record.held) == (True, False, False)


STATUSES = [
    (Fault.http(404), "model 'code' not found", {}),
    (Fault.http(400, "bad"), "bad", {}),
    (Fault.http(401), "unauthorized", {}),
    (Fault.http(429, retry_after="7"), "rate limit exceeded", {"Retry-After": "7"}),
    (Fault.http(429, retry_after="-1e9 soon"), "rate limit exceeded", {"Retry-After": "-1e9 soon"}),
    (Fault.http(500), "model runner has unexpectedly stopped", {}),
    (Fault.http(503), "server busy, please try again.  maximum pending requests exceeded", {}),
]


@pytest.mark.parametrize(("fault", "message", "headers"), STATUSES)
async def test_an_http_error_in_the_shape_of_the_protocol(server, http, fault, message, headers):
    server.fail("code", fault)
    async with chat(http, server) as answer:
        assert answer.status == fault.status
        assert answer.headers.items() >= headers.items()
        assert (await answer.json())["error"].startswith(message)
    async with completion(http, server) as answer:
        error = (await answer.json())["error"]
    assert error["message"].startswith(message)
    assert error["code"] == fault.status


async def test_an_html_page_from_a_proxy(server, http):
    server.fail("code", Fault.html(502))
    async with chat(http, server) as answer:
        assert (answer.status, answer.content_type) == (502, "text/html")
        assert (await answer.text()).startswith("<html>")


async def test_a_redirect_names_its_place_and_nothing_else(server, http):
    server.fail("code", Fault.redirect("http://127.0.0.1:1/elsewhere"))
    async with http.post(f"{server.url}/api/chat", json={"model": "code"}, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (307, "http://127.0.0.1:1/elsewhere")
        assert await answer.read() == b""


PAGES = [
    (Fault(FaultKind.PAGE), "text/html", b"<html>"),
    (Fault(FaultKind.PAGE, body=b"{}", content_type="application/json"), "application/json", b"{}"),
    (Fault(FaultKind.PAGE, body=b"hm"), "text/plain", b"hm"),
]


@pytest.mark.parametrize(("fault", "content_type", "begin"), PAGES)
@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
async def test_a_page_is_no_answer_under_status_200(server, http, path, fault, content_type, begin):
    server.fail("code", fault)
    async with ask(http, server, path, model="code", messages=USER, stream=True) as answer:
        assert (answer.status, answer.content_type) == (200, content_type)
        assert (await answer.read()).startswith(begin)
    record = server.request_history[0]
    assert (record.status, record.finished, record.pieces_sent) == (200, True, 0)


@pytest.mark.parametrize(("given", "announced"), [(None, "text/plain"), ("application/octet-stream",) * 2])
async def test_a_wrong_content_type_announces_the_right_answer(server, http, given, announced):
    server.fail("code", Fault(FaultKind.WRONG_CONTENT_TYPE, content_type=given))
    async with chat(http, server) as answer:
        assert answer.content_type == announced
        assert "".join(line["message"]["content"] for line in records(await answer.read())) == REPLY
    async with chat(http, server, stream=False) as answer:
        assert answer.content_type == announced


async def test_a_huge_header_stands_before_the_answer(server):
    server.fail("code", Fault(FaultKind.HUGE_HEADER), times=2)
    async with aiohttp.ClientSession(max_field_size=100_000) as patient, chat(patient, server) as answer:
        assert len(answer.headers["X-Padding"]) == 64 * 1024
        assert records(await answer.read())[-1]["done"]
    async with aiohttp.ClientSession() as usual:
        with pytest.raises(aiohttp.ClientResponseError):
            await read(chat(usual, server))


async def test_headers_that_trickle_never_end(server):
    server.fail("code", Fault(FaultKind.TRICKLE_BEFORE_HEADERS, interval_s=0.0))
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, port)
    body = b'{"model":"code","messages":[]}'
    head = f"POST /api/chat HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    assert await reader.readexactly(100) == b"HTTP/1.1 200 OK\r\nX-Slow: ".ljust(100, b"x")
    writer.close()
    await server.wait_for(lambda: server.request_history[0].cancelled)


async def test_a_delayed_answer_is_a_whole_one(server, http):
    server.fail("code", Fault(FaultKind.DELAY, interval_s=0.05))
    async with chat(http, server) as answer:
        assert records(await answer.read())[-1]["done"]
    record = server.request_history[0]
    assert record.ended is not None
    assert record.ended - record.started >= 0.05


async def test_a_close_in_mid_stream_comes_after_the_pieces(server, http):
    server.fail("code", Fault(FaultKind.CLOSE_MID_STREAM, after=3))
    async with chat(http, server) as answer:
        pieces = [json.loads(await answer.content.readline())["message"]["content"] for _ in range(3)]
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    assert "".join(pieces) == "fn main() {"
    await server.wait_for(lambda: not server.request_history[0].running)
    assert (server.request_history[0].reset, server.request_history[0].cancelled) == (True, False)


@pytest.mark.parametrize("count", [3, 20_001])
async def test_tiny_records_come_before_the_one_that_was_due(server, http, count):
    server.fail("code", Fault(FaultKind.TINY_RECORDS, after=1, count=count))
    async with chat(http, server) as answer:
        text = "".join(line["message"]["content"] for line in records(await answer.read()))
    assert text == REPLY.replace("fn", "fn" + "x" * count, 1)


async def test_blank_lines_are_lines_of_no_record(server, http):
    server.fail("code", Fault(FaultKind.BLANK_LINES, after=1, count=25_000))
    async with chat(http, server) as answer:
        body = await answer.read()
    assert body.count(b"\n\n") == 12_500
    assert len([line for line in body.splitlines() if line]) == 6
    async with completion(http, server) as answer:
        assert (await answer.read()).count(b"\n") > 25_000


@pytest.mark.parametrize("values", [{"after": -1}, {"status": 200}, {"size": 0}, {"count": 0}, {"interval_s": -1.0}])
def test_a_fault_that_no_server_could_have_is_refused(values):
    with pytest.raises(ValueError, match=rf"Fault\.{next(iter(values))}"):
        Fault(FaultKind.STATUS, **values)


async def test_faults_of_a_configuration_are_a_queue_and_then_a_standing_one(http):
    config = MockModelConfig(
        reply="ok", faults=[Fault.http(500), None, Fault.http(404)], standing_fault=Fault.http(503)
    )
    async with MultiModelMockBackend({"m": config}) as server:

        async def status() -> int:
            async with chat(http, server, "m") as answer:
                return answer.status

        assert [await status() for _ in range(5)] == [500, 200, 404, 503, 503]
        server.heal("m")
        assert await status() == 200
        server.fail("m", Fault.http(429), times=2)
        assert [await status() for _ in range(3)] == [429, 429, 200]


async def test_an_unavailable_model_is_listed_and_fails_until_it_is_back(server, http):
    server.unavailable_models.add("code")
    for path in ("/api/chat", "/v1/chat/completions"):
        async with ask(http, server, path, model="code", messages=USER) as answer:
            assert answer.status == 500
    server.heal("code")
    async with chat(http, server) as answer:
        assert answer.status == 200
