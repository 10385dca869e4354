"""What only Ollama's native protocol has: local names, loading, discovery, the cloud inside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from modelway.backends.base import ChatCall, Deadlines, RunningModel
from modelway.backends.mock import Fault, FaultKind, MockModelConfig, MultiModelMockBackend
from modelway.backends.ollama import OllamaBackend
from modelway.errors import BackendError
from modelway.events import Ended, ModelLoading, TextDelta
from modelway.pools import PoolManager

MODELS = {
    "coder": MockModelConfig(reply="done", max_context=4096, license_text="MIT License\n\nCopyright"),
    "seer:7b": MockModelConfig(capabilities=["completion", "vision", "tools"], capabilities_in_tags=False),
    "far:latest": MockModelConfig(remote_host="https://ollama.com:443"),
}


@pytest.fixture
async def server() -> AsyncIterator[MultiModelMockBackend]:
    async with MultiModelMockBackend(MODELS) as server:
        yield server
        server.release()


@pytest.fixture
async def pools() -> AsyncIterator[PoolManager]:
    pools = PoolManager()
    yield pools
    await pools.aclose()


def backend_of(server: MultiModelMockBackend, pools: PoolManager, **seconds: float) -> OllamaBackend:
    return OllamaBackend("ollama", server.url + "/", pools=pools, deadlines=Deadlines(**seconds))


def call(model: str = "coder", **fields: object) -> ChatCall:
    return ChatCall(model, model, [{"role": "user", "content": "Hi"}], **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("version", "asked"),
    [
        ("0.17.6", "coder:latest:local"),
        ("0.32.15", "coder:latest:local"),
        ("0.33.0-rc2", "coder:latest:local"),
        ("1.0.0", "coder:latest:local"),
        ("0.17.5", "coder"),
        ("0.9.99", "coder"),
        ("0.0.0", "coder"),
        ("rubbish", "coder"),
    ],
)
async def test_a_local_model_is_called_so_that_no_cloud_answers(server, pools, version, asked):
    server.version = version
    backend = backend_of(server, pools)
    for _ in range(3):
        assert [event async for event in backend.stream(call())]
    assert [record.asked for record in server.request_history] == [asked] * 3
    assert server.path_counts["/api/version"] == 1


async def test_a_server_that_came_back_is_asked_for_its_version_again(server, pools):
    backend = backend_of(server, pools)
    assert [event async for event in backend.stream(call())]
    await server.down()
    with pytest.raises(BackendError):
        await anext(backend.stream(call()))
    server.version = "0.9.0"
    await server.up()
    assert [event async for event in backend.stream(call())]
    assert [record.asked for record in server.request_history] == ["coder:latest:local", "coder"]


async def test_requests_at_once_ask_for_the_version_once(server, pools):
    backend = backend_of(server, pools)

    async def answer() -> list[object]:
        return [event async for event in backend.stream(call())]

    await asyncio.gather(*(answer() for _ in range(5)))
    assert server.path_counts["/api/version"] == 1


@pytest.mark.parametrize(("name", "kind"), [("far", "missing"), ("x:cloud", "rejected"), ("x:20b-cloud", "rejected")])
async def test_a_cloud_model_is_not_reached_by_a_local_name(server, pools, name, kind):
    with pytest.raises(BackendError) as caught:
        await anext(backend_of(server, pools).stream(call(name)))
    assert caught.value.kind == kind


async def test_an_answer_from_elsewhere_is_cut_off(server, pools):
    server.version = "0.17.5"
    stream = backend_of(server, pools).stream(call("far"))
    with pytest.raises(BackendError, match=r"ollama\.com") as caught:
        await anext(stream)
    assert caught.value.kind == "malformed"


async def test_the_metrics_of_the_last_line_are_kept(server, pools):
    *_, ended = [event async for event in backend_of(server, pools).stream(call())]
    assert isinstance(ended, Ended)
    assert ended.load_ms is not None
    assert {"total_duration", "eval_count", "done_reason"} <= set(ended.raw)
    assert ended.usage.prompt_tokens is not None


async def test_a_model_that_is_loading_says_so_and_has_the_time_for_it(server, pools):
    server.fail("coder", Fault(FaultKind.STALL_BEFORE_HEADERS))
    stream = backend_of(server, pools, first_token_s=0.1, load_s=3.0).stream(call())
    assert await anext(stream) == ModelLoading("coder", "ollama")
    server.release()
    assert [event async for event in stream if isinstance(event, TextDelta)] == [TextDelta("done")]


async def test_a_model_that_does_not_get_loaded_in_time(server, pools):
    server.fail("coder", Fault(FaultKind.STALL_BEFORE_HEADERS))
    stream = backend_of(server, pools, first_token_s=0.1, load_s=0.1).stream(call())
    assert isinstance(await anext(stream), ModelLoading)
    with pytest.raises(BackendError, match="for loading") as caught:
        await anext(stream)
    assert caught.value.kind == "timeout"
    await server.wait_for(lambda: server.request_history[-1].cancelled)


async def test_a_loaded_model_that_stalls_is_not_called_loading(server, pools):
    server.hold("coder", after=0)
    with pytest.raises(BackendError) as caught:
        await anext(backend_of(server, pools, first_token_s=0.1).stream(call()))
    assert caught.value.kind == "timeout"


async def test_leaving_while_the_model_is_loading_closes_upstream(server, pools):
    server.fail("coder", Fault(FaultKind.STALL_BEFORE_HEADERS))
    stream = backend_of(server, pools, first_token_s=0.1).stream(call())
    assert isinstance(await anext(stream), ModelLoading)
    await stream.aclose()
    await server.wait_for(lambda: server.request_history[-1].cancelled, timeout_s=1.0)


async def test_too_long_is_an_error_and_not_cut(server, pools):
    long = ChatCall("coder", "coder", [{"role": "user", "content": "word " * 10_000}])
    with pytest.raises(BackendError, match="exceeds the available context size") as caught:
        await anext(backend_of(server, pools).stream(long))
    assert caught.value.kind == "rejected"


async def test_a_wrong_option_is_the_callers_fault(server, pools):
    with pytest.raises(BackendError, match="temperature") as caught:
        await anext(backend_of(server, pools).stream(call(options={"temperature": "hot"})))
    assert (caught.value.kind, caught.value.status) == ("rejected", 500)


async def test_what_a_server_has_is_completed_model_by_model(server, pools):
    served = {model.name: model for model in await backend_of(server, pools).served()}
    assert set(served) == {"coder:latest", "seer:7b", "far:latest"}
    coder = served["coder:latest"]
    assert (coder.max_context, coder.size_bytes, coder.remote_host) == (4096, 4_000_000_000, None)
    assert (coder.quantization, coder.parameters, coder.family) == ("Q4_K_M", "7.6B", "llama")
    assert coder.license == "mit"
    # The list is silent on it; the model's own page is not.
    assert served["seer:7b"].capabilities == {"completion", "vision", "tools"}
    assert served["far:latest"].remote_host == "https://ollama.com:443"
    assert not server.request_history


async def test_a_model_that_is_removed_meanwhile_does_not_spoil_the_list(server, pools, monkeypatch):
    backend = backend_of(server, pools)
    ask = backend._ask

    async def losing(method: str, path: str, *rest: object) -> dict[str, object]:
        answer = await ask(method, path, *rest)
        if path == "/api/tags":
            del server.models["seer:7b"]
        return answer

    monkeypatch.setattr(backend, "_ask", losing)
    served = {model.name: model for model in await backend.served()}
    assert served["seer:7b"].max_context is None
    assert served["coder:latest"].max_context == 4096


async def test_what_was_shown_of_a_model_is_asked_again_only_when_it_is_another(server, pools):
    server.models = dict(MODELS)
    backend = backend_of(server, pools)
    first = await backend.served()
    assert await backend.served() == first
    # Of the three models the one that is elsewhere is never shown.
    assert (server.path_counts["/api/tags"], server.path_counts["/api/show"]) == (2, 2)
    server.models["coder"] = replace(MODELS["coder"], max_context=8192)  # pulled anew
    server.models["new"] = MockModelConfig()
    served = {model.name: model for model in await backend.served()}
    assert (served["coder:latest"].max_context, served["seer:7b"].capabilities) == (8192, first[1].capabilities)
    assert server.path_counts["/api/show"] == 4


async def test_of_models_that_are_gone_nothing_is_kept(server, pools):
    server.models = dict(MODELS)
    backend = backend_of(server, pools)
    await backend.served()
    del server.models["coder"]
    await backend.served()
    server.models["coder"] = MODELS["coder"]
    await backend.served()
    assert server.path_counts["/api/show"] == 3


@pytest.mark.parametrize("digest", [None, "", 7, ["unhashable"]])
async def test_without_a_digest_nothing_is_kept(server, pools, monkeypatch, digest):
    backend = backend_of(server, pools)
    ask = backend._ask

    async def without_digest(method: str, path: str, *rest: object) -> dict[str, object]:
        answer = await ask(method, path, *rest)
        for entry in answer.get("models", []):
            entry["digest"] = digest
        return answer

    monkeypatch.setattr(backend, "_ask", without_digest)
    assert await backend.served() == await backend.served()
    assert server.path_counts["/api/show"] == 4


async def test_a_page_that_could_not_be_had_is_asked_again(server, pools, monkeypatch):
    backend = backend_of(server, pools)
    ask = backend._ask

    async def refusing(method: str, path: str, *rest: object) -> dict[str, object]:
        if path == "/api/show":
            raise BackendError("not now", kind="busy")
        return await ask(method, path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(backend, "_ask", refusing)
        assert {model.license for model in await backend.served()} == {None}
    served = {model.name: model for model in await backend.served()}
    assert served["coder:latest"].license is not None


async def test_what_is_in_memory(server, pools):
    backend = backend_of(server, pools)
    assert await backend.running() == []
    assert [event async for event in backend.stream(call())]
    assert await backend.running() == [RunningModel("coder:latest", 4_000_000_000, vram_bytes=0, context=4096)]


async def test_a_server_that_is_down_has_nothing_to_list(server, pools):
    backend = backend_of(server, pools)
    await server.down()
    with pytest.raises(BackendError) as caught:
        await backend.served()
    assert caught.value.kind == "connect"
