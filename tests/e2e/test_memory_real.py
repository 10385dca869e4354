"""Models that do not fit together, on the real engine: a load is a child process started, an unload one that ends."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

import psutil
import pytest

from modelway.backends.llama_cpp.child import LlamaChild
from modelway.conductor import Conductor
from modelway.config import Config
from modelway.errors import NoModelAvailable, StreamInterrupted
from modelway.events import Degraded, Finished, ModelLoading, Queued, TextDelta
from modelway.testing import answer_of, write_tiny_models
from processes import children

pytestmark = pytest.mark.e2e

A, B, C, ENDLESS = "tiny-quick", "tiny-general", "tiny-creative", "tiny-endless"
MB = 10**6
#: More than a worker with a tiny model takes, so that a written size stands.
SIZE = 120 * MB


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_tiny_models(tmp_path_factory.mktemp("models"), [A, B, C, ENDLESS])


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models for which a process was started, in order."""
    names: list[str] = []
    start = LlamaChild.start.__func__  # type: ignore[attr-defined]

    async def noted(cls, path, *rest):
        names.append(path.stem)
        return await start(cls, path, *rest)

    monkeypatch.setattr(LlamaChild, "start", classmethod(noted))
    return names


def config(files: dict[str, Path], room_for: float, more: str = "", size: int | None = SIZE) -> Config:
    """Room for so many models of ``size``; None: their sizes are not written, and ``room_for`` is in bytes."""
    written, room = ("", room_for) if size is None else (f"memory_bytes = {size}\n", room_for * size)
    models = "".join(
        f'[[models]]\nid = "{name}"\nbackend = "files"\npath = "{path}"\n{written}' for name, path in files.items()
    )
    backend = f'[[backends]]\nname = "files"\nkind = "llama_cpp"\nthreads = 1\nmemory_bytes = {int(room)}\n'
    return Config.from_toml(f'{more}[defaults]\ngeneral = "{A}"\n[fallbacks]\ngeneral = ["{B}"]\n{backend}{models}')


@asynccontextmanager
async def engine(configuration: Config) -> AsyncIterator[Conductor]:
    """A conductor that leaves no process behind."""
    before = children()
    async with Conductor(configuration) as conductor:
        assert "files" in conductor.router.managed
        yield conductor
    assert children() == before


async def ask(conductor: Conductor, model: str) -> str:
    reply = await conductor.complete("hello", model=model, options={"max_tokens": 20})
    assert reply.model == model
    return reply.text


async def soon(is_so: Callable[[], bool]) -> None:
    """Wait for what only the system can tell; the test's own time-out ends it."""
    while not is_so():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


def held(conductor: Conductor) -> dict[str, str]:
    return {one.model: one.state for one in conductor.router.residents("files")}


def resident_bytes() -> int:
    """Of all child processes together."""
    sizes = []
    for pid in children():
        with suppress(psutil.Error):  # it has ended meanwhile
            sizes.append(psutil.Process(pid).memory_info().rss)
    return sum(sizes)


async def test_eight_clients_that_alternate_between_two_models_load_each_a_few_times(files, started):
    """60 requests; each client waits for its answer before it asks the other model, so 9 loads are the least possible.

    All workers together never take more than there is and a sixth of it: what was measured of one when it was loaded is
    not quite what it takes later.
    """

    async def client(number: int, conductor: Conductor) -> None:
        for turn in range(8 if number < 4 else 7):
            model = (A, B)[(number + turn) % 2]
            assert await ask(conductor, model) == answer_of(model)

    async def watch(seen: list[int]) -> None:
        while True:
            seen.append(resident_bytes())
            await asyncio.sleep(0.005)

    async with engine(config(files, 10**9, size=None)) as conductor:
        await ask(conductor, A)
        (one,) = conductor.router.residents("files")
        assert abs(one.memory_bytes - resident_bytes()) < one.memory_bytes / 4
    started.clear()
    capacity = one.memory_bytes * 3 // 2
    seen: list[int] = []
    async with engine(config(files, capacity, size=None)) as conductor:
        watching = asyncio.create_task(watch(seen))
        await asyncio.gather(*(client(number, conductor) for number in range(8)))
        watching.cancel()
    assert len(started) <= 11, Counter(started)
    assert one.memory_bytes / 2 < max(seen) <= capacity * 7 // 6


async def test_whoever_waits_for_a_load_is_told_and_for_how_long_it_took(files, started):
    async with engine(config(files, 1.5)) as conductor:
        events = [event async for event in conductor.stream("hello", model=A)]
        told = [event for event in events if isinstance(event, (ModelLoading, Queued, TextDelta))]
        assert isinstance(told[0], ModelLoading)
        assert told[1] == Queued(A, "files", 0, 0.0)
        assert isinstance(told[2], TextDelta)
        last = events[-1]
        assert isinstance(last, Finished)
        assert 0 < last.load_ms < last.ttft_ms
        assert conductor.history[-1].queued_ms < last.load_ms
        again = [event async for event in conductor.stream("hello", model=A)]
        assert not any(isinstance(event, (ModelLoading, Queued)) for event in again)
    assert started == [A]


async def test_a_worker_killed_while_it_loads_is_loaded_once_more(files, started):
    async with engine(config(files, 1.5)) as conductor:
        answer = asyncio.create_task(ask(conductor, A))
        await soon(lambda: bool(children()))
        (pid,) = children()
        os.kill(pid, signal.SIGKILL)
        assert await answer == answer_of(A)
        assert pid not in children()
    assert started == [A, A]


async def test_a_worker_killed_while_it_serves_costs_that_answer_and_its_memory_is_free(files, started):
    async with engine(config(files, 1.5)) as conductor:
        stream = conductor.stream("hello", model=ENDLESS, options={"max_tokens": 3_000})
        while not isinstance(await anext(stream), TextDelta):
            pass
        os.kill(*children(), signal.SIGKILL)
        with pytest.raises(StreamInterrupted):
            [event async for event in stream]
        assert await ask(conductor, B) == answer_of(B)
        assert held(conductor) == {B: "ready"}
        assert await ask(conductor, ENDLESS)
    assert started == [ENDLESS, B, ENDLESS]


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
async def test_a_worker_that_ends_or_hangs_while_it_is_evicted_holds_nobody_up(files, started, blow):
    async with engine(config(files, 1.5)) as conductor:
        await ask(conductor, A)
        (pid,) = children()
        answer = asyncio.create_task(ask(conductor, B))
        await soon(lambda: held(conductor).get(A) != "ready")
        os.kill(pid, blow)
        assert await answer == answer_of(B)
        assert pid not in children()
    assert started == [A, B]


async def test_what_never_fits_is_answered_by_a_smaller_one_with_notice(files, started, monkeypatch):
    start = LlamaChild.start.__func__  # type: ignore[attr-defined]

    async def short_of_memory(cls, path, options, load_s, origin):
        if path.stem == A:
            started.append(A)
            raise origin.error("server_error", "ggml_backend_cpu_buffer: failed to allocate buffer of size 4096")
        return await start(cls, path, options, load_s, origin)

    # C and the endless one take as much as A, and so are not asked.
    sizes = config(files, 2.5).models
    smaller = [model.model_copy(update={"memory_bytes": SIZE // 2}) if model.id == B else model for model in sizes]
    async with engine(config(files, 2.5).model_copy(update={"models": tuple(smaller)})) as conductor:
        await ask(conductor, C)
        monkeypatch.setattr(LlamaChild, "start", classmethod(short_of_memory))
        reply = await conductor.complete("hello", task="general")
        assert reply.model == B
        (degraded,) = [event for event in reply.events if isinstance(event, Degraded) and event.kind == "memory"]
        assert degraded.detail == f"{B} answers instead of {A}, which does not fit into memory."
        assert conductor.router.health(A).consecutive_failures == 1
        # What was idle had to go for the second try.
        assert held(conductor) == {B: "ready"}
    assert started == [C, A, A, B]


@pytest.mark.timeout(60)
async def test_two_hundred_random_loads_and_evictions_leave_no_process(files, started):
    chance = random.Random(7)
    names = [A, B, C]

    async def client(conductor: Conductor) -> None:
        while len(started) < 200:
            model = chance.choice(names)
            stream = conductor.stream("hello", model=model, options={"max_tokens": 2})
            async with aclosing(stream) as events:
                left = chance.randrange(8)
                try:
                    async for _ in events:
                        left -= 1
                        if left == 0:
                            break
                except (NoModelAvailable, StreamInterrupted):
                    continue
            if chance.random() < 0.05 and (alive := sorted(children())):
                os.kill(chance.choice(alive), signal.SIGKILL)

    async with engine(
        config(files, 1.5, "[health]\nfailures_to_open = 1000\nleast_success_percent = 0\n")
    ) as conductor:
        await asyncio.gather(*(client(conductor) for _ in range(3)))
        await soon(lambda: len(children()) <= 1)
        assert len(held(conductor)) <= 1
