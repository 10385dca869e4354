"""Loading and unloading at our word, as each kind of backend does it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from modelway.backends.base import ChatCall, Deadlines, LoadCall
from modelway.backends.llama_cpp import LlamaCppBackend
from modelway.backends.mock import Fault, MockModelConfig, MultiModelMockBackend
from modelway.backends.ollama import OllamaBackend
from modelway.backends.ollama import backend as ollama_backend
from modelway.backends.openai_compat import OpenAICompatBackend
from modelway.errors import BackendError
from modelway.pools import PoolManager
from processes import children

HELLO = [{"role": "user", "content": "Hi"}]
M = LoadCall("m", "ours")


@pytest.fixture
async def server() -> AsyncIterator[MultiModelMockBackend]:
    async with MultiModelMockBackend({"m": MockModelConfig(reply="one two three"), "n": MockModelConfig()}) as server:
        yield server


@pytest.fixture
async def ollama(server: MultiModelMockBackend) -> AsyncIterator[OllamaBackend]:
    backend = OllamaBackend("box", server.url, pools=PoolManager(), deadlines=Deadlines(load_s=2.0))
    yield backend
    await backend.aclose()


async def names(backend: OllamaBackend) -> set[str]:
    return {model.name for model in await backend.running()}


async def test_ollama_loads_by_an_empty_conversation_with_the_options_of_any_other(server, ollama) -> None:
    await ollama.load(LoadCall("m", "ours", num_ctx=2048))
    assert await names(ollama) == {"m:latest"}
    (request,) = server.request_history
    assert request.body == {"model": "m:latest:local", "messages": [], "stream": False, "options": {"num_ctx": 2048}}
    async with aclosing(ollama.stream(ChatCall("m", "ours", HELLO, num_ctx=2048))) as events:
        assert [event async for event in events]
    asked = server.request_history[1].body
    assert asked["options"] == {"num_ctx": 2048}
    assert "keep_alive" not in asked


async def test_ollama_unloads_until_it_is_gone(server, ollama) -> None:
    await ollama.load(M)
    await ollama.load(LoadCall("n", "n"))
    await ollama.unload(M)
    assert await names(ollama) == {"n:latest"}
    assert server.request_history[-1].body["keep_alive"] == 0
    await ollama.unload(M)  # it is not there, and that is fine


async def test_an_unload_waits_for_whoever_uses_the_model_and_not_for_ever(server, ollama, monkeypatch) -> None:
    monkeypatch.setattr(ollama_backend, "_UNLOAD_S", 0.05)
    gate = server.hold("m", after=1)
    asking = asyncio.create_task(anext(ollama.stream(ChatCall("m", "ours", HELLO))))
    await server.wait_for(lambda: gate.waiting == 1)
    server.gates.clear()  # this one only
    with pytest.raises(BackendError, match=r"was not unloaded within 0\.05 s") as caught:
        await ollama.unload(M)
    assert caught.value.kind == "busy"
    monkeypatch.setattr(ollama_backend, "_UNLOAD_S", 5.0)
    unloading = asyncio.create_task(ollama.unload(M))
    gate.release()
    await asking
    await unloading
    assert await names(ollama) == set()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.http(500, "model requires more system memory (9.1 GiB) than is available (3.2 GiB)"), "server_error"),
        (Fault.http(404), "missing"),
        (Fault.http(503), "busy"),
    ],
    ids=["too large", "gone", "queue full"],
)
async def test_a_load_that_is_refused(server, ollama, fault: Fault, kind: str) -> None:
    server.fail("m", fault, times=1)
    with pytest.raises(BackendError) as caught:
        await ollama.load(M)
    assert (caught.value.kind, caught.value.model) == (kind, "ours")


@pytest.mark.parametrize("act", ["load", "unload"])
async def test_a_server_that_came_back_as_another_version_is_asked_as_that(server, ollama, act: str) -> None:
    await ollama.load(M)
    await server.restart()
    server.version = "0.9.0"
    server.fail("m", Fault.http(404), times=1)
    with pytest.raises(BackendError) as caught:
        await getattr(ollama, act)(M)
    assert caught.value.kind == "missing"
    await ollama.load(M)
    assert [request.body["model"] for request in server.request_history][-2:] == ["m:latest:local", "m"]


@pytest.mark.parametrize("name", ["m", "M:latest", "library/m", "registry.ollama.ai/library/m:latest"])
async def test_an_unload_knows_its_model_by_any_form_of_its_name(server, ollama, monkeypatch, name: str) -> None:
    monkeypatch.setattr(ollama_backend, "_UNLOAD_S", 0.05)
    await ollama.load(LoadCall(name, "ours"))
    gate = server.hold("m", after=1)
    asking = asyncio.create_task(anext(ollama.stream(ChatCall(name, "ours", HELLO))))
    await server.wait_for(lambda: gate.waiting == 1)
    server.gates.clear()
    with pytest.raises(BackendError, match="was not unloaded"):
        await ollama.unload(LoadCall(name, "ours"))
    gate.release()
    await asking


async def test_a_server_that_goes_while_its_unload_is_looked_at_is_an_error(server, ollama) -> None:
    await ollama.load(M)
    gate = server.hold("m", after=1)
    asking = asyncio.create_task(anext(ollama.stream(ChatCall("m", "ours", HELLO))))
    await server.wait_for(lambda: gate.waiting == 1)
    server.gates.clear()
    unloading = asyncio.create_task(ollama.unload(M))
    while server.path_counts["/api/ps"] < 2:  # noqa: ASYNC110  (nobody tells)
        await asyncio.sleep(0)
    await server.down()
    with pytest.raises(BackendError) as caught:
        await unloading
    assert caught.value.kind in {"connect", "reset"}
    await asyncio.wait({asking})
    assert asking.exception() is None or isinstance(asking.exception(), BackendError)


async def test_a_load_has_its_own_deadline(server, ollama) -> None:
    server.hold("m")
    with pytest.raises(BackendError) as caught:
        await ollama.load(LoadCall("m", "ours", load_s=0.05))
    assert caught.value.kind == "timeout"


async def test_a_load_that_is_left_is_broken_off(server, ollama) -> None:
    gate = server.hold("m")
    loading = asyncio.create_task(ollama.load(M))
    await server.wait_for(lambda: gate.waiting == 1)
    loading.cancel()
    await server.wait_for(lambda: server.request_history[0].cancelled)


async def test_openai_has_no_such_request(server) -> None:
    backend = OpenAICompatBackend("far", server.url, pools=PoolManager(), deadlines=Deadlines())
    for ask in (backend.load, backend.unload):
        with pytest.raises(BackendError, match="no request that loads or unloads") as caught:
            await ask(M)
        assert caught.value.kind == "rejected"
    assert not server.path_counts


#: An engine that is loaded once its file "go" is there, and serves nobody.
ENGINE = """
import pathlib, time
from types import SimpleNamespace

def CommonParams():
    return SimpleNamespace(model=SimpleNamespace(), cpuparams=SimpleNamespace(), cpuparams_batch=SimpleNamespace())

class Server:
    listening_address = "http://127.0.0.1:9"

    def __init__(self, params):
        while not pathlib.Path(params.model.path).with_name("go").exists():
            time.sleep(0.001)
"""


@pytest.fixture
async def llama(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LlamaCppBackend]:
    (tmp_path / "xllamacpp.py").write_text(ENGINE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    backend = LlamaCppBackend("llama", {"ours": tmp_path / "m.gguf"}, pools=PoolManager(), deadlines=Deadlines())
    yield backend
    await backend.aclose()
    assert children() == set()


async def test_llama_loads_by_starting_a_process_and_unloads_by_ending_it(llama, tmp_path) -> None:
    (tmp_path / "go").touch()
    await llama.load(M)
    (worker,) = llama.workers()
    (running,) = await llama.running()
    assert running.name == "ours"
    assert running.size_bytes is not None
    assert running.size_bytes > 1_000_000
    await llama.load(M)
    assert llama.workers() == [worker]
    await llama.unload(M)
    assert (llama.workers(), children()) == ([], set())
    await llama.unload(M)
    await llama.load(M)
    assert llama.workers() != [worker]


async def test_llama_breaks_off_a_load_that_is_not_wanted_any_more(llama) -> None:
    loading = asyncio.create_task(llama.load(M))
    while not children():  # noqa: ASYNC110  (the kernel tells nobody)
        await asyncio.sleep(0)
    await llama.unload(M)
    assert children() == set()
    with pytest.raises(BackendError, match="unloaded before it was there"):
        await loading


async def test_llama_never_ends_a_process_that_somebody_uses(llama, tmp_path) -> None:
    (tmp_path / "go").touch()
    await llama.load(M)
    stream = llama.stream(ChatCall("m", "ours", HELLO))
    asking = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    with pytest.raises(BackendError, match="while a request uses it") as caught:
        await llama.unload(M)
    assert caught.value.kind == "busy"
    asking.cancel()
    await asyncio.wait({asking})
    await stream.aclose()
    await llama.unload(M)
    assert children() == set()


@pytest.mark.parametrize("steps", range(8))
async def test_an_unload_that_nobody_waits_for_goes_on_and_closing_waits_for_it(llama, tmp_path, steps: int) -> None:
    (tmp_path / "go").touch()
    await llama.load(M)
    unloading = asyncio.create_task(llama.unload(M))
    for _ in range(steps):
        await asyncio.sleep(0)
    unloading.cancel()
    await asyncio.wait({unloading})
    await llama.aclose()
    assert children() == set()
