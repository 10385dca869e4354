"""Managed llama.cpp: one child process a loaded model, started on demand, ended with this process.

A child is llama.cpp's own server, so it is asked like any server of that kind. Its crash is a failed
request; the next request starts a new one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from modelway.backends.base import ChatCall, Deadlines, ServedModel
from modelway.backends.llama_cpp.child import EngineOptions, LlamaChild
from modelway.backends.openai_compat import OpenAICompatBackend
from modelway.backends.openai_compat.request import left_out
from modelway.errors import BackendError
from modelway.events import BackendEvent, ModelLoading
from modelway.origin import Origin
from modelway.pools import ConnectionConfig, PoolManager

_DEFAULT_CONTEXT = 4096
_MAGIC = b"GGUF"
#: A broken connection is seen a moment before the end of the process that caused it.
_LAST_GASP_S = 0.25


class WorkerInfo(NamedTuple):
    """A loaded model and its process."""

    model_id: str
    pid: int
    address: str


class _Worker(NamedTuple):
    child: LlamaChild
    backend: OpenAICompatBackend


class LlamaCppBackend:
    """Runs the GGUF files ``models`` (by our model id); needs ``modelway[llama]``.

    ``threads`` compute for each model: by default half of the cores, as two models that compute at once,
    and cores that share a unit, gain nothing from more. ``context``: tokens an answer's window has
    (default 4096). ``parallel``: answers at once by one model (default 1); further ones wait in its process.
    """

    def __init__(
        self,
        name: str,
        models: Mapping[str, Path],
        *,
        pools: PoolManager,
        deadlines: Deadlines,
        threads: int | None = None,
        context: int | None = None,
        parallel: int | None = None,
        connections: ConnectionConfig | None = None,
    ):
        self.name = name
        self._models = dict(models)
        self._pools = pools
        self._deadlines = deadlines
        cores = _cores()
        self._options = EngineOptions(
            threads=min(threads or max(1, cores // 2), cores),
            context=context or _DEFAULT_CONTEXT,
            parallel=parallel or 1,
        )
        # The engine announces keep-alive and closes after each streamed answer.
        self._connections = replace(connections or ConnectionConfig(connect_s=deadlines.connect_s), keep_alive=False)
        #: Loading or loaded; an entry goes when its load fails or its process ends.
        self._workers: dict[str, asyncio.Task[_Worker]] = {}
        self._watchers: dict[LlamaChild, asyncio.Task[None]] = {}
        self._closed = False

    def unsupported_options(self, call: ChatCall) -> tuple[str, ...]:
        return left_out(call, "llama_server")

    async def stream(self, call: ChatCall) -> AsyncGenerator[BackendEvent, None]:
        load = self._load(call.model_id)
        if not load.done():
            yield ModelLoading(call.model_id, self.name)
        worker = await self._loaded(load, call.model_id)
        try:
            async with aclosing(worker.backend.stream(call)) as events:
                async for event in events:
                    yield event
        except BackendError as error:
            if error.kind in ("connect", "reset", "interrupted"):
                await self._notice_end(worker.child)
            raise

    async def served(self) -> list[ServedModel]:
        return [ServedModel(name=model_id) for model_id in self._models]

    def workers(self) -> list[WorkerInfo]:
        """The loaded models and their processes."""
        loaded = {model_id: load.result() for model_id, load in self._workers.items() if _succeeded(load)}
        return [WorkerInfo(model_id, worker.child.pid, worker.child.address) for model_id, worker in loaded.items()]

    async def aclose(self) -> None:
        """End all child processes and wait for them; requests after this fail."""
        self._closed = True
        loads = list(self._workers.values())
        for load in loads:
            load.cancel()
        if loads:
            await asyncio.wait(loads)
        await asyncio.gather(*(load.result().child.stop() for load in loads if _succeeded(load)))
        if self._watchers:
            await asyncio.wait(list(self._watchers.values()))

    def _load(self, model_id: str) -> asyncio.Task[_Worker]:
        """The one load of this model, begun now if there is none."""
        if self._closed:
            raise self._closed_error(model_id)
        load = self._workers.get(model_id)
        if load is None:
            load = self._workers[model_id] = asyncio.create_task(self._start(model_id))
            load.add_done_callback(lambda load: self._load_ended(model_id, load))
        return load

    def _load_ended(self, model_id: str, load: asyncio.Task[_Worker]) -> None:
        if not _succeeded(load):
            del self._workers[model_id]

    async def _loaded(self, load: asyncio.Task[_Worker], model_id: str) -> _Worker:
        try:
            # Shielded: a caller that leaves does not take the model from the others that wait for it.
            return await asyncio.shield(load)
        except asyncio.CancelledError:
            waiter = asyncio.current_task()
            if load.cancelled() and waiter is not None and not waiter.cancelling():
                # Only ``aclose`` cancels a load; the one who waits for it was not cancelled.
                raise self._closed_error(model_id) from None
            raise

    async def _start(self, model_id: str) -> _Worker:
        origin = Origin(self.name, model_id)
        path = await asyncio.to_thread(_checked_file, self._models.get(model_id), origin)
        child = await LlamaChild.start(path, self._options, self._deadlines.load_s, origin)
        backend = OpenAICompatBackend(
            self.name,
            child.address,
            pools=self._pools,
            deadlines=self._deadlines,
            connections=self._connections,
            api_key=child.api_key,
            dialect="llama_server",
            pool_name=f"{self.name}/{model_id}",
        )
        worker = _Worker(child, backend)
        self._watchers[child] = asyncio.create_task(self._forget_ended(model_id, worker))
        return worker

    async def _forget_ended(self, model_id: str, worker: _Worker) -> None:
        await worker.child.exited
        del self._workers[model_id]
        await worker.backend.aclose()
        del self._watchers[worker.child]

    async def _notice_end(self, child: LlamaChild) -> None:
        """If the child is dying, wait until it is forgotten, so that the next request starts a new one."""
        if watcher := self._watchers.get(child):
            await asyncio.wait({watcher}, timeout=_LAST_GASP_S)

    def _closed_error(self, model_id: str) -> BackendError:
        return Origin(self.name, model_id).error("connect", "this backend was closed")


def _succeeded(load: asyncio.Task[_Worker]) -> bool:
    """Whether a worker is there; also takes note of an exception, or asyncio would report it as lost."""
    return load.done() and not load.cancelled() and load.exception() is None


def _checked_file(path: Path | None, origin: Origin) -> Path:
    if path is None:
        raise origin.error("missing", "no file is configured for this model; set its path")
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        raise origin.error("missing", f"{path} can't be read ({error.strerror}); correct the path") from None
    if magic != _MAGIC:
        raise origin.error("missing", f"{path} is no GGUF file; name one that is")
    return path


def _cores() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
