"""What only OpenAI-compatible servers have: keys, version paths, their own ways to list models."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from modelway.backends.base import ChatCall, Deadlines, ServedModel
from modelway.backends.mock import MockModelConfig, MultiModelMockBackend
from modelway.backends.openai_compat import OpenAICompatBackend
from modelway.errors import BackendError
from modelway.pools import PoolManager

CALL = ChatCall("coder", "coder", [{"role": "user", "content": "Hi"}])


@pytest.fixture
async def server() -> AsyncIterator[MultiModelMockBackend]:
    async with MultiModelMockBackend({"coder": MockModelConfig(reply="done", max_context=4096)}) as server:
        yield server


@pytest.fixture
async def pools() -> AsyncIterator[PoolManager]:
    pools = PoolManager()
    yield pools
    await pools.aclose()


def backend_of(url: str, pools: PoolManager, **options: object) -> OpenAICompatBackend:
    return OpenAICompatBackend("vllm", url, pools=pools, deadlines=Deadlines(), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/"])
async def test_the_url_may_end_with_its_version_or_not(server, pools, path):
    assert [event async for event in backend_of(server.url + path, pools).stream(CALL)]
    assert server.path_counts == {"/v1/chat/completions": 1}


async def test_the_key_is_read_at_each_request(server, pools, monkeypatch):
    backend = backend_of(server.url, pools, api_key_env="TEST_PROVIDER_KEY")
    for key in ("first", " second\n"):
        monkeypatch.setenv("TEST_PROVIDER_KEY", key)
        assert [event async for event in backend.stream(CALL)]
    sent = [record.headers["authorization"] for record in server.request_history]
    assert sent == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize("key", [None, "", "  ", "k\u00e9y", "two\nlines", "nul\x7f"])
async def test_a_key_that_cannot_be_sent_is_an_error_that_does_not_show_it(server, pools, monkeypatch, key):
    monkeypatch.delenv("TEST_PROVIDER_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("TEST_PROVIDER_KEY", key)
    with pytest.raises(BackendError, match="TEST_PROVIDER_KEY") as caught:
        await anext(backend_of(server.url, pools, api_key_env="TEST_PROVIDER_KEY").stream(CALL))
    assert caught.value.kind == "unauthorized"
    assert not (key or "").strip() or key not in str(caught.value)
    assert server.connections == 0


async def test_no_key_no_header(server, pools):
    assert [event async for event in backend_of(server.url, pools).stream(CALL)]
    assert "authorization" not in server.request_history[0].headers


async def test_what_a_server_has(server, pools):
    assert await backend_of(server.url, pools).served() == [
        ServedModel("coder", max_context=4096, size_bytes=4_000_000_000)
    ]
    assert await backend_of(server.url, pools).running() == []
    assert not server.request_history


@pytest.fixture
async def page() -> AsyncIterator[dict[str, web.Response]]:
    """A server with one answer for everything; set ``answer`` before each request."""
    state: dict[str, object] = {}

    async def handle(_: web.Request) -> web.Response:
        answer = state["answer"]
        assert callable(answer)
        return answer()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    state["url"] = site._server.sockets[0].getsockname()  # type: ignore[union-attr]
    yield state  # type: ignore[misc]
    await runner.cleanup()


def url_of(page: dict[str, object]) -> str:
    host, port = page["url"]  # type: ignore[misc]
    return f"http://{host}:{port}"


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (lambda: web.json_response({"data": "x"}), "malformed", "data"),
        (lambda: web.Response(text="<html>"), "malformed", "JSON"),
        (lambda: web.Response(status=401), "unauthorized", "401"),
    ],
)
async def test_a_list_that_is_none(page, pools, answer, kind, words):
    page["answer"] = answer
    with pytest.raises(BackendError, match=words) as caught:
        await backend_of(url_of(page), pools).served()
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (lambda: web.Response(text="<html>Log in</html>", content_type="text/html"), "malformed", "text/html"),
        (lambda: web.json_response({"error": {"message": "slow down", "code": 429}}), "rate_limited", "slow down"),
        (lambda: web.json_response({"choices": []}), "malformed", "did not stream"),
        (lambda: web.Response(text="{", content_type="application/json"), "malformed", "did not stream"),
        (lambda: web.Response(status=307, headers={"Location": "/elsewhere"}), "server_error", "307"),
        (
            lambda: web.Response(body=b"x", content_type="text/event-stream", headers={"Content-Encoding": "gzip"}),
            "malformed",
            "compressed",
        ),
    ],
)
async def test_200_and_yet_no_stream(page, pools, answer, kind, words):
    page["answer"] = answer
    with pytest.raises(BackendError, match=words) as caught:
        await anext(backend_of(url_of(page), pools).stream(CALL))
    assert caught.value.kind == kind


async def test_the_page_that_came_instead_is_shown_in_part(page, pools):
    page["answer"] = lambda: web.Response(text="<html>Log in</html>", content_type="text/html")
    with pytest.raises(BackendError) as caught:
        await anext(backend_of(url_of(page), pools).stream(CALL))
    assert caught.value.detail == "<html>Log in</html>"
