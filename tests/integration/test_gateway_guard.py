"""Who may ask, and in what form: everything else is refused before any model is asked."""

from __future__ import annotations

import gzip
import io
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from gateway_support import CHAT, HELLO, client_of, gateway_over, raw

from conftest import OpenConductor
from modelway.errors import ConfigError
from modelway.gateway import guard
from modelway.gateway.problems import Refused
from modelway.gateway.sockets import CannotListen, listening, loopback_addresses
from modelway.testing import MockModelConfig, MultiModelMockBackend, mock_config

BODY = json.dumps({"model": "m", "messages": HELLO}).encode()


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:11633",
        "app.localhost:80",
        "127.0.0.1",
        "127.0.0.1:11633",
        "127.1.2.3:1",
        "[::1]",
        "[::1]:11633",
    ],
)
def test_a_local_host_may_ask(host: str) -> None:
    guard.check_host([host])
    guard.check_origin([f"http://{host}", f"https://{host}"])


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "127.0.0.1.nip.io",
        "localhost.evil.example",
        "evillocalhost",
        "localhost@evil.example",
        "evil.example#localhost",
        "192.168.1.2:11633",
        "0.0.0.0",
        "[::]",
        "[fe80::1%25lo]",
        "[::ffff:8.8.8.8]",
        "2130706433",
        "0x7f000001",
        "127.1",
        "0177.0.0.1",
        "localhost:port",
        "localhost:123456",
        "localhost, evil.example",
        "::1",
    ],
)
def test_another_host_may_not(host: str) -> None:
    with pytest.raises(Refused) as caught:
        guard.check_host([host])
    assert caught.value.status == 403
    with pytest.raises(Refused) as caught:
        guard.check_origin([f"http://{host}"])
    assert caught.value.status == 403


@pytest.mark.parametrize("origin", ["null", "", "localhost", "file://", "chrome-extension://localhost", "*"])
def test_an_origin_that_is_no_local_page_may_not(origin: str) -> None:
    with pytest.raises(Refused) as caught:
        guard.check_origin([origin])
    assert caught.value.status == 403


@pytest.mark.parametrize("hosts", [[], ["localhost", "localhost"]])
def test_there_is_exactly_one_host(hosts: list[str]) -> None:
    with pytest.raises(Refused) as caught:
        guard.check_host(hosts)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "media_type", ["application/json", "Application/JSON; charset=utf-8", "application/vnd.api+json"]
)
def test_json_may_come(media_type: str) -> None:
    guard.check_media_type(media_type)


@pytest.mark.parametrize(
    "media_type",
    [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; a=application/json", "json"],
)
def test_other_bodies_are_refused_with_the_header_to_send(media_type: str | None) -> None:
    with pytest.raises(Refused, match="send the header 'Content-Type: application/json'") as caught:
        guard.check_media_type(media_type)
    assert caught.value.status == 415


class Guarded:
    """A gateway with one model, and the witness that none of its backend's routes was asked."""

    def __init__(self, url: str, session: aiohttp.ClientSession, server: MultiModelMockBackend) -> None:
        self.url = url
        self.session = session
        self.server = server

    async def post(self, path: str = CHAT, data: bytes = BODY, **headers: str) -> tuple[int, Any]:
        given = {"Content-Type": "application/json"} | {name.replace("_", "-"): v for name, v in headers.items()}
        async with self.session.post(path, data=io.BytesIO(data), headers=given) as response:
            body = await response.json()
            return response.status, body["error"]


@pytest.fixture
async def guarded(open_conductor: OpenConductor) -> AsyncIterator[Guarded]:
    async with MultiModelMockBackend({"m": MockModelConfig()}) as server:
        async with gateway_over(open_conductor(mock_config(server))) as url, client_of(url) as session:
            yield Guarded(url, session, server)
        assert not server.path_counts, "the upstream saw nothing"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.nip.io:11633"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Api_Base": "http://127.0.0.1:1"}, 400),
        ({"X_Base_Url": "http://127.0.0.1:1"}, 400),
        ({"Proxies": "http://127.0.0.1:1"}, 400),
    ],
)
@pytest.mark.parametrize("path", [CHAT, "/api/chat", "/api/generate"])
async def test_refused_by_headers(guarded: Guarded, path: str, headers: dict[str, str], status: int) -> None:
    answered, error = await guarded.post(path, **headers)
    assert answered == status
    assert isinstance(error, str if path.startswith("/api") else dict), "the error has its protocol's shape"


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 400, "invalid_json"),
        (b"{", 400, "invalid_json"),
        (b'{"model": "m", "messages": [], "api_base": "http://127.0.0.1:1"}', 400, "destination_not_allowed"),
        (b'{"model": "a\\r\\nb", "messages": []}', 400, "invalid_request"),
        (b'{"model": "nobody", "messages": [{"role": "user", "content": "x"}]}', 404, "model_not_found"),
        (b'{"messages": []}', 400, "invalid_request"),
        (b'{"model": "m", "messages": [{"role": "robot", "content": "x"}]}', 400, "invalid_request"),
        (b'{"model": "m", "messages": [{"role": "tool", "content": "", "tool_call_id": []}]}', 400, "invalid_request"),
        (b" " * (16 * 1024**2 + 1), 413, "http_error"),
    ],
)
async def test_refused_by_body(guarded: Guarded, data: bytes, status: int, code: str) -> None:
    answered, error = await guarded.post(data=data)
    assert (answered, error["code"]) == (status, code)


async def test_compressed_bodies_count_as_what_they_become(guarded: Guarded) -> None:
    status, _ = await guarded.post(data=gzip.compress(b" " * (17 * 1024**2)), Content_Encoding="gzip")
    assert status == 413
    status, error = await guarded.post(data=b"no gzip", Content_Encoding="gzip")
    assert (status, error["code"]) == (400, "invalid_body")


def head(*lines: str) -> bytes:
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (head("GET /v1/models HTTP/1.1"), 400),
        (head("GET /v1/models HTTP/1.0"), 400),
        (head("GET /v1/models HTTP/1.1", "Host: localhost", "Host: evil.example"), 400),
        (head("GET http://localhost/v1/models HTTP/1.1", "Host: localhost"), 400),
        (head("GET http://evil.example/ HTTP/1.1", "Host: localhost"), 400),
        (head("OPTIONS * HTTP/1.1", "Host: localhost"), 400),
        (head("GET /v1/models/a%0d%0ab HTTP/1.1", "Host: localhost"), 400),
        (head("GET /v1/models/a%00b HTTP/1.1", "Host: localhost"), 400),
        (head("GET /v1/models HTTP/1.1", "Host: local\x01host"), 400),
        (head("GET /v1/models HTTP/1.1", "Host: localhost", f"Authorization: {'k' * 100_000}"), 400),
        (head("POST /api/chat HTTP/1.1", "Host: localhost", "Content-Length: 5", "Content-Length: 6"), 400),
        (head("POST /api/chat HTTP/1.1", "Host: localhost", "Content-Length: 5", "Transfer-Encoding: chunked"), 400),
    ],
)
async def test_malformed_requests_are_400_and_their_bytes_are_not_logged(
    guarded: Guarded, caplog: pytest.LogCaptureFixture, request_head: bytes, status: int
) -> None:
    caplog.set_level(logging.DEBUG)
    answered, _ = await raw(guarded.url, request_head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert answered == status
    logged = [record for record in caplog.records if record.name.startswith(("modelway", "aiohttp"))]
    assert not any("localhost" in record.getMessage() or record.exc_info for record in logged)


async def test_bad_chunks_are_400(guarded: Guarded) -> None:
    request = head(
        "POST /api/chat HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        "Transfer-Encoding: chunked",
        "Connection: close",
    )
    status, _ = await raw(guarded.url, request + b"zz\r\n{}\r\n0\r\n\r\n")
    assert status == 400


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("localhost", ("127.0.0.1", "::1")),
        ("127.0.0.1", ("127.0.0.1", "::1")),
        ("127.0.0.2", ("127.0.0.2",)),
        ("::1", ("::1",)),
    ],
)
def test_addresses_to_bind(host: str, addresses: tuple[str, ...]) -> None:
    assert loopback_addresses(host) == addresses


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.com", ""])
def test_other_addresses_are_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=r"server\.host: .* is not an address of this machine alone"):
        loopback_addresses(host)


async def test_a_taken_port_is_told() -> None:
    async with listening(aiohttp.web.Application(), ("127.0.0.1",), 0) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(CannotListen, match=f"port {port}"):
            async with listening(aiohttp.web.Application(), ("127.0.0.1",), port):
                pass
