"""Managed llama.cpp without the engine: files that are none, and an engine that does not come up."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modelway.backends.base import ChatCall, Deadlines
from modelway.backends.llama_cpp import LlamaCppBackend
from modelway.errors import BackendError
from modelway.events import ModelLoading
from modelway.pools import PoolManager
from processes import children

CALL = ChatCall("m", "m", [{"role": "user", "content": "Hi"}])


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[LlamaCppBackend]:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    (tmp_path / "text.gguf").write_text("not a model")
    models = {"m": tmp_path / "m.gguf", "text": tmp_path / "text.gguf", "gone": tmp_path / "gone.gguf", "dir": tmp_path}
    backend = LlamaCppBackend("llama", models, pools=PoolManager(), deadlines=Deadlines(load_s=4.0))
    yield backend
    await backend.aclose()
    assert backend.workers() == []


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The module that the child imports as its engine, to be written by the test."""
    folder = tmp_path / "engine"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder / "xllamacpp.py"


async def failure(backend: LlamaCppBackend, model: str = "m") -> BackendError:
    stream = backend.stream(ChatCall(model, model, CALL.messages))
    assert await anext(stream) == ModelLoading(model, "llama")
    with pytest.raises(BackendError) as caught:
        await anext(stream)
    return caught.value


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("gone", r"gone\.gguf can't be read"),
        ("text", r"text\.gguf is no GGUF file"),
        ("dir", "can't be read"),
        ("unknown", "set its path"),
    ],
)
async def test_a_file_that_is_no_model_is_missing(backend, model, words):
    error = await failure(backend, model)
    assert error.kind == "missing"
    assert error.model == model
    with pytest.raises(BackendError, match=words):
        raise error


async def test_an_engine_that_is_not_installed_is_missing_with_the_remedy(backend, engine):
    engine.write_text("raise ImportError('no such library')")
    error = await failure(backend)
    assert error.kind == "missing"
    assert "pip install 'modelway[llama]'" in str(error)


async def test_a_process_that_ends_while_loading(backend, engine):
    engine.write_text("import os, sys\nprint('first words', file=sys.stderr, flush=True)\nos._exit(3)")
    for _ in range(2):
        error = await failure(backend)
        assert error.kind == "server_error"
        assert "ended with 3" in str(error)
        assert error.detail == "first words"


REFUSING_ENGINE = """
from types import SimpleNamespace

def CommonParams():
    return SimpleNamespace(model=SimpleNamespace(), cpuparams=SimpleNamespace(), cpuparams_batch=SimpleNamespace())

def Server(params):
    print("a word on standard output that is no answer")
    raise RuntimeError(f"not {params.n_ctx} of {params.model.path}")
"""


async def test_a_model_that_the_engine_refuses(backend, engine):
    engine.write_text(REFUSING_ENGINE)
    error = await failure(backend)
    assert error.kind == "server_error"
    assert "not 4096 of" in str(error)


async def test_an_engine_that_takes_too_long_is_ended(tmp_path, engine):
    engine.write_text("import threading\nthreading.Event().wait()")
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    models = {"m": tmp_path / "m.gguf"}
    backend = LlamaCppBackend("llama", models, pools=PoolManager(), deadlines=Deadlines(load_s=0.2))
    error = await failure(backend)
    assert error.kind == "timeout"
    assert "0.2 s" in str(error)
    await backend.aclose()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("begun", [False, True], ids=["before there is a process", "after it began"])
async def test_closing_at_any_moment_of_a_load_leaves_no_process(tmp_path, engine, begun):
    engine.write_text("import threading\nthreading.Event().wait()")
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    for steps in range(1, 20):
        backend = LlamaCppBackend("llama", {"m": tmp_path / "m.gguf"}, pools=PoolManager(), deadlines=Deadlines())
        waiting = [asyncio.create_task(failure(backend)) for _ in range(2)]
        while begun and not children():  # noqa: ASYNC110  (the kernel tells nobody)
            await asyncio.sleep(0)
        for _ in range(steps):
            await asyncio.sleep(0)
        await backend.aclose()
        assert [(await task).kind for task in waiting] == ["connect"] * 2
        assert children() == set()


async def test_a_closed_backend_says_so(backend):
    await backend.aclose()
    with pytest.raises(BackendError, match="closed") as caught:
        await anext(backend.stream(CALL))
    assert caught.value.kind == "connect"


async def test_the_configured_models_are_listed_and_no_process_started(backend):
    """Those whose files are there; that one of them is no model, the engine says when it is asked."""
    assert {(model.name, model.quantization) for model in await backend.served()} == {("m", None), ("text", None)}
    assert backend.workers() == []
    assert await backend.running() == []
