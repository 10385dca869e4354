"""Managed llama.cpp: one child process a loaded model, started on demand, ended with this process.

A child is llama.cpp's own server, so it is asked like any server of that kind. Its crash is a failed
request; the next request starts a new one.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from modelway.backends.base import ChatCall, Deadlines, LoadCall, RunningModel, ServedModel
from modelway.backends.llama_cpp.child import EngineOptions, LlamaChild
from modelway.backends.llama_cpp.gguf_header import MAGIC
from modelway.backends.llama_cpp.library import Library
from modelway.backends.openai_compat import OpenAICompatBackend
from modelway.backends.openai_compat.request import left_out
from modelway.config.in_force import LLAMA_CPP_CONTEXT
from modelway.errors import BackendError
from modelway.events import BackendEvent, ModelLoading
from modelway.origin import Origin
from modelway.pools import ConnectionConfig, PoolManager

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

    ``served`` tells of these files and of those in ``folder``. ``threads`` compute for each model: by default half
    of the cores, as two models that compute at once, and cores that share a unit, gain nothing from more.
    ``context``: tokens an answer's window has (default 4096). ``parallel``: answers at once by one model (default
    1); further ones wait in its process.
    """

    def __init__(
        self,
        name: str,
        models: Mapping[str, Path],
        *,
        pools: PoolManager,
        deadlines: Deadlines,
        folder: Path | None = None,
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
            context=context or LLAMA_CPP_CONTEXT,
            parallel=parallel or 1,
        )
        # The engine announces keep-alive and closes after each streamed answer.
        self._connections = replace(connections or ConnectionConfig(connect_s=deadlines.connect_s), keep_alive=False)
        self._library = Library(self._models, folder, self._options.context, self._options.parallel)
        #: Loading or loaded; an entry goes when its load fails or its process ends.
        self._workers: dict[str, asyncio.Task[_Worker]] = {}
        #: Requests under way, by model.
        self._asked: Counter[str] = Counter()
        self._watchers: dict[LlamaChild, asyncio.Task[None]] = {}
        self._stopping: set[asyncio.Task[None]] = set()
        self._closed = False

    def unsupported_options(self, call: ChatCall) -> tuple[str, ...]:
        return left_out(call, "llama_server")

    async def stream(self, call: ChatCall) -> AsyncGenerator[BackendEvent, None]:
        load = self._load(call.model_id, call.load_s)
        self._asked[call.model_id] += 1
        try:
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
        finally:
            self._asked[call.model_id] -= 1

    async def served(self) -> list[ServedModel]:
        """Its models, by our ids, whose files are there, and those of its folder."""
        return await asyncio.to_thread(self._library.served)

    async def running(self) -> list[RunningModel]:
        """The loaded models, with the resident memory of their processes."""
        workers = self.workers()
        sizes = await asyncio.to_thread(_resident_bytes, [worker.pid for worker in workers])
        return [
            RunningModel(worker.model_id, size_bytes=sizes.get(worker.pid), context=self._options.context)
            for worker in workers
        ]

    async def load(self, call: LoadCall) -> None:
        await self._loaded(self._load(call.model_id, call.load_s), call.model_id)

    async def unload(self, call: LoadCall) -> None:
        load = self._workers.get(call.model_id)
        if load is None:
            return
        if self._asked[call.model_id]:
            raise Origin(self.name, call.model_id).error("busy", "it can't be unloaded while a request uses it")
        # Out of reach first: who comes meanwhile starts another process.
        del self._workers[call.model_id]
        stop = asyncio.create_task(self._stop(load))
        self._stopping.add(stop)
        stop.add_done_callback(self._stopping.discard)
        # Shielded: whoever gives up waiting leaves no process behind.
        await asyncio.shield(stop)

    async def probe(self) -> None:
        """No server: the worker of a model is started when the model is asked."""

    def workers(self) -> list[WorkerInfo]:
        """The loaded models and their processes."""
        loaded = {model_id: load.result() for model_id, load in self._workers.items() if _succeeded(load)}
        return [WorkerInfo(model_id, worker.child.pid, worker.child.address) for model_id, worker in loaded.items()]

    async def aclose(self) -> None:
        """End all child processes and wait for them; requests after this fail."""
        self._closed = True
        await asyncio.gather(*map(self._stop, list(self._workers.values())))
        if self._stopping:
            await asyncio.wait(list(self._stopping))
        if self._watchers:
            await asyncio.wait(list(self._watchers.values()))

    def _load(self, model_id: str, load_s: float | None) -> asyncio.Task[_Worker]:
        """The one load of this model, begun now if there is none; ``load_s`` None: as configured."""
        if self._closed:
            raise self._closed_error(model_id)
        load = self._workers.get(model_id)
        if load is None:
            load = self._workers[model_id] = asyncio.create_task(self._start(model_id, load_s))
            load.add_done_callback(lambda load: self._load_ended(model_id, load))
        return load

    def _load_ended(self, model_id: str, load: asyncio.Task[_Worker]) -> None:
        if not _succeeded(load):
            self._forget(model_id, load)

    def _forget(self, model_id: str, load: object) -> None:
        """Where it is still there: it may have been unloaded, and the model be loading again."""
        if self._workers.get(model_id) is load:
            del self._workers[model_id]

    async def _stop(self, load: asyncio.Task[_Worker]) -> None:
        """Break off a load, or end the process that it has started, and wait until it has ended."""
        load.cancel()
        await asyncio.wait({load})
        if _succeeded(load):
            await load.result().child.stop()

    async def _loaded(self, load: asyncio.Task[_Worker], model_id: str) -> _Worker:
        try:
            # Shielded: a caller that leaves does not take the model from the others that wait for it.
            return await asyncio.shield(load)
        except asyncio.CancelledError:
            waiter = asyncio.current_task()
            if load.cancelled() and waiter is not None and not waiter.cancelling():
                # ``aclose`` or ``unload`` has cancelled the load, and nobody the one who waits for it.
                raise self._closed_error(model_id) from None
            raise

    async def _start(self, model_id: str, load_s: float | None) -> _Worker:
        origin = Origin(self.name, model_id)
        path = await asyncio.to_thread(_checked_file, self._models.get(model_id), origin)
        longest_s = self._deadlines.load_s if load_s is None else load_s
        child = await LlamaChild.start(path, self._options, longest_s, origin)
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
        load = asyncio.current_task()
        self._watchers[child] = asyncio.create_task(self._forget_ended(model_id, load, worker))
        return worker

    async def _forget_ended(self, model_id: str, load: object, worker: _Worker) -> None:
        await worker.child.exited
        self._forget(model_id, load)
        await worker.backend.aclose()
        del self._watchers[worker.child]

    async def _notice_end(self, child: LlamaChild) -> None:
        """If the child is dying, wait until it is forgotten, so that the next request starts a new one."""
        if watcher := self._watchers.get(child):
            await asyncio.wait({watcher}, timeout=_LAST_GASP_S)

    def _closed_error(self, model_id: str) -> BackendError:
        why = "this backend was closed" if self._closed else "it was unloaded before it was there"
        return Origin(self.name, model_id).error("connect", why)


def _succeeded(load: asyncio.Task[_Worker]) -> bool:
    """Whether a worker is there; also takes note of an exception, or asyncio would report it as lost."""
    return load.done() and not load.cancelled() and load.exception() is None


def _resident_bytes(pids: Iterable[int]) -> dict[int, int]:
    """What each process has in physical memory, pages of the model's file included. Blocks."""
    import psutil

    sizes = {}
    for pid in pids:
        with suppress(psutil.Error):  # it has ended meanwhile
            sizes[pid] = psutil.Process(pid).memory_info().rss
    return sizes


def _checked_file(path: Path | None, origin: Origin) -> Path:
    if path is None:
        raise origin.error("missing", "no file is configured for this model; set its path")
    try:
        with path.open("rb") as file:
            magic = file.read(len(MAGIC))
    except OSError as error:
        raise origin.error("missing", f"{path} can't be read ({error.strerror}); correct the path") from None
    if magic != MAGIC:
        raise origin.error("missing", f"{path} is no GGUF file; name one that is")
    return path


def _cores() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
