"""Models that do not fit together, on the real engine: a load is a child process started, an unload one that ends."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
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
EACH = dict.fromkeys([A, B, C, ENDLESS], SIZE)
FOR_ONE, FOR_TWO = SIZE * 3 // 2, SIZE * 5 // 2


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_tiny_models(tmp_path_factory.mktemp("models"), [A, B, C, ENDLESS])


@dataclass
class Started:
    """The models for which processes were started, in order, and by the process.

    ``starved``: how many of the next processes of a model get less memory than they ask for.
    """

    models: list[str] = field(default_factory=list)
    model_of: dict[int, str] = field(default_factory=dict)
    starved: Counter[str] = field(default_factory=Counter)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    started = Started()
    load = LlamaChild._load

    async def noted(self, path, options, origin):
        model = path.stem
        started.models.append(model)
        started.model_of[self.pid] = model
        if started.starved[model]:
            started.starved[model] -= 1
            # All but such a context fits in by far, so that it is the engine itself that fails, and where it should.
            resource.prlimit(self.pid, resource.RLIMIT_AS, (10**9, 10**9))
            options = replace(options, context=20_000_000)
        await load(self, path, options, origin)

    # Before it is told what to load the child has not even imported the engine.
    monkeypatch.setattr(LlamaChild, "_load", noted)
    return started


def config(files: dict[str, Path], room: int, sizes: Mapping[str, int] = EACH, more: str = "") -> Config:
    """``room`` in bytes; a model that is not in ``sizes`` has none written."""
    models = "".join(
        f'[[models]]\nid = "{name}"\nbackend = "files"\npath = "{path}"\n'
        + (f"memory_bytes = {sizes[name]}\n" if name in sizes else "")
        for name, path in files.items()
    )
    backend = f'[[backends]]\nname = "files"\nkind = "llama_cpp"\nthreads = 1\nmemory_bytes = {room}\n'
    return Config.from_toml(f'{more}[defaults]\ngeneral = "{A}"\n[fallbacks]\ngeneral = ["{B}"]\n{backend}{models}')


def open_now() -> Counter[str]:
    """Descriptors and tasks of this process."""
    found = Counter(str(task.get_coro()) for task in asyncio.all_tasks())
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the listing itself
            found[str(descriptor.readlink())] += 1
    return found


@asynccontextmanager
async def engine(configuration: Config) -> AsyncIterator[Conductor]:
    """A conductor that leaves no process behind, no descriptor and no task."""
    before, opened = children(), open_now()
    async with Conductor(configuration) as conductor:
        assert "files" in conductor.router.managed
        yield conductor
    assert children() == before
    for _ in range(100):  # a connection that was closed is gone some turns of the loop later
        await asyncio.sleep(0)
    assert not open_now() - opened


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

    async with engine(config(files, 10**9, {})) as conductor:
        await ask(conductor, A)
        (one,) = conductor.router.residents("files")
        assert abs(one.memory_bytes - resident_bytes()) < one.memory_bytes / 4
    started.models.clear()
    capacity = one.memory_bytes * 3 // 2
    seen: list[int] = []
    async with engine(config(files, capacity, {})) as conductor:
        watching = asyncio.create_task(watch(seen))
        await asyncio.gather(*(client(number, conductor) for number in range(8)))
        watching.cancel()
    assert len(started.models) <= 11, Counter(started.models)
    assert one.memory_bytes / 2 < max(seen) <= capacity * 7 // 6


async def test_whoever_waits_for_a_load_is_told_and_for_how_long_it_took(files, started):
    async with engine(config(files, FOR_ONE)) as conductor:
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
    assert started.models == [A]


async def test_a_worker_killed_while_it_loads_is_loaded_once_more(files, started):
    async with engine(config(files, FOR_ONE)) as conductor:
        answer = asyncio.create_task(ask(conductor, A))
        await soon(lambda: bool(children()))
        (pid,) = children()
        os.kill(pid, signal.SIGKILL)
        assert await answer == answer_of(A)
        assert pid not in children()
    assert started.models == [A, A]


async def test_a_worker_killed_while_it_serves_costs_that_answer_and_its_memory_is_free(files, started):
    async with engine(config(files, FOR_ONE)) as conductor:
        stream = conductor.stream("hello", model=ENDLESS, options={"max_tokens": 3_000})
        while not isinstance(await anext(stream), TextDelta):
            pass
        os.kill(*children(), signal.SIGKILL)
        with pytest.raises(StreamInterrupted):
            [event async for event in stream]
        assert await ask(conductor, B) == answer_of(B)
        assert held(conductor) == {B: "ready"}
        assert await ask(conductor, ENDLESS)
    assert started.models == [ENDLESS, B, ENDLESS]


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
async def test_a_worker_that_ends_or_hangs_while_it_is_evicted_holds_nobody_up(files, started, blow):
    async with engine(config(files, FOR_ONE)) as conductor:
        await ask(conductor, A)
        (pid,) = children()
        answer = asyncio.create_task(ask(conductor, B))
        await soon(lambda: held(conductor).get(A) != "ready")
        os.kill(pid, blow)
        assert await answer == answer_of(B)
        assert pid not in children()
    assert started.models == [A, B]


async def test_what_does_not_fit_is_loaded_once_more_when_what_is_idle_has_gone(files, started, caplog):
    async with engine(config(files, FOR_TWO)) as conductor:
        await ask(conductor, C)
        started.starved[A] = 1
        assert await ask(conductor, A) == answer_of(A)
        assert held(conductor) == {A: "ready"}
        assert conductor.router.health(A).consecutive_failures == 0
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "modelway.residency"]
    assert warning.endswith("once more, when what is idle has made room")
    assert started.models == [C, A, A]


async def test_what_never_fits_is_answered_by_a_smaller_one_with_notice(files, started):
    # C and the endless one take as much as A, and so are not asked.
    configured = config(files, FOR_TWO)
    sizes = [
        model.model_copy(update={"memory_bytes": SIZE // 2}) if model.id == B else model for model in configured.models
    ]
    async with engine(configured.model_copy(update={"models": tuple(sizes)})) as conductor:
        await ask(conductor, C)
        started.starved[A] = 2
        reply = await conductor.complete("hello", task="general")
        assert reply.model == B
        (degraded,) = [event for event in reply.events if isinstance(event, Degraded) and event.kind == "memory"]
        assert degraded.detail == f"{B} answers instead of {A}, which does not fit into memory."
        assert conductor.router.health(A).consecutive_failures == 1
        # What was idle had to go for the second try.
        assert held(conductor) == {B: "ready"}
    assert started.models == [C, A, A, B]


async def test_who_asks_for_what_is_being_unloaded_has_it_loaded_anew(files, started):
    async with engine(config(files, FOR_ONE)) as conductor:
        await ask(conductor, A)
        (pid,) = children()
        answers = [asyncio.create_task(ask(conductor, B))]
        await soon(lambda: held(conductor).get(A) == "unloading")
        answers.append(asyncio.create_task(ask(conductor, A)))
        assert await asyncio.gather(*answers) == [answer_of(B), answer_of(A)]
        assert pid not in children()
    assert started.models == [A, B, A]


async def test_what_answers_is_not_unloaded_for_another(files, started):
    async with engine(config(files, FOR_ONE)) as conductor:
        stream = conductor.stream("hello", model=ENDLESS, options={"max_tokens": 3_000})
        while not isinstance(await anext(stream), TextDelta):
            pass
        waiting = asyncio.create_task(ask(conductor, B))
        assert isinstance([event async for event in stream][-1], Finished)
        assert started.models == [ENDLESS]
        assert await waiting == answer_of(B)
    assert started.models == [ENDLESS, B]


async def test_l4_models_of_8_4_2_and_8_in_16_are_never_above_it(files, started):
    unit = 60 * MB
    sizes = {A: 8 * unit, B: 4 * unit, C: 2 * unit, ENDLESS: 8 * unit}
    seen: list[int] = []
    chance = random.Random(4)

    async def watch() -> None:
        while True:
            seen.append(sum(sizes[started.model_of[pid]] for pid in children() if pid in started.model_of))
            await asyncio.sleep(0.002)

    async def client(conductor: Conductor) -> None:
        for model in chance.sample(sorted(sizes), 4):
            await ask(conductor, model)

    async with engine(config(files, 16 * unit, sizes)) as conductor:
        watching = asyncio.create_task(watch())
        for model in [A, B, C]:
            await ask(conductor, model)
        before = children()
        await ask(conductor, ENDLESS)
        # The one that was used least recently, and nothing else, has gone.
        assert held(conductor) == dict.fromkeys([B, C, ENDLESS], "ready")
        assert Counter(started.model_of[pid] for pid in before - children()) == {A: 1}
        await asyncio.gather(*(client(conductor) for _ in range(3)))
        watching.cancel()
        assert {started.model_of[pid] for pid in children()} == {*held(conductor)}
    assert 8 * unit < max(seen) <= 16 * unit


@pytest.mark.timeout(60)
async def test_two_hundred_random_loads_and_evictions_leave_no_process(files, started):
    chance = random.Random(7)
    names = [A, B, C]

    async def client(conductor: Conductor) -> None:
        while len(started.models) < 200:
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
                with suppress(ProcessLookupError):  # it has ended since
                    os.kill(chance.choice(alive), signal.SIGKILL)

    async with engine(
        config(files, FOR_ONE, more="[health]\nfailures_to_open = 1000\nleast_success_percent = 0\n")
    ) as conductor:
        await asyncio.gather(*(client(conductor) for _ in range(3)))
        await soon(lambda: len(children()) <= 1)
        assert len(held(conductor)) <= 1
