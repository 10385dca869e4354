"""Models that do not fit together, on the real engine: modelway against order of arrival, in turn within one run.

A load is a child process started. Both have the same clients, files, memory and engine; order of arrival is the
simulator's policy, driving real processes. Each round runs every case once; ratios are taken within a round, and what
is promised is held against their median, or against the worst of all rounds.

python benches/thrash.py MODEL.gguf [--rounds 3]

The file, of a chat model, is used as three models.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from real_device import commanded

from modelway.backends.base import Deadlines
from modelway.backends.llama_cpp import LlamaCppBackend
from modelway.backends.llama_cpp.child import EngineOptions, LlamaChild
from modelway.conductor import Conductor
from modelway.config import Config
from modelway.events import TextDelta
from modelway.origin import Origin
from modelway.pools import PoolManager
from modelway.testing.simulator import (
    Client,
    OrderOfArrival,
    SimModel,
    busy,
    later,
    now_and_then,
    own_lists,
    percentile,
    poisson,
    shared_list,
)
from modelway.testing.simulator.scenarios import MEASURED_ORDER

NAMES = ("A", "B", "C")
CONTEXT = 2048
PROMPT = "Tell me about the sea."
OPTIONS = {"max_tokens": 16, "temperature": 0}
#: The default of ``[memory] max_wait_s``.
BOUND_S = 30.0
#: By how much all workers together may exceed the capacity: what a worker takes is measured when it has been loaded,
#: and is not quite what it takes later.
MARGIN = 1 / 6
LOOK_S = 0.01

#: Of a model, one whole answer.
Ask = Callable[[str], AsyncGenerator[object, None]]


@dataclass(frozen=True, slots=True)
class Answer:
    """Seconds: until the first token came, and until the answer had ended."""

    model: str
    first_s: float
    whole_s: float


@dataclass(slots=True)
class Seen:
    """The child processes that there were, and the most bytes that they had in memory together."""

    pids: set[int] = field(default_factory=set)
    most_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """``peak``: the most bytes of all children together, in parts of the capacity."""

    answers: Sequence[Answer]
    loads: int
    span_s: float
    peak: float

    def longest_s(self, model: str | None = None) -> float:
        return max(answer.first_s for answer in self.answers if model in {None, answer.model})

    def p95_s(self, model: str | None = None) -> float:
        return percentile(sorted(answer.whole_s for answer in self.answers if model in {None, answer.model}), 95)


@dataclass(frozen=True, slots=True)
class Case:
    """Traffic, with memory for ``room`` models. ``watched``: whose times are printed.

    ``strangers_s``: when another model is loaded beside all this by somebody else, seconds; the one before goes.
    """

    title: str
    room: int
    traffic: Callable[[], list[Client]]
    watched: Sequence[str | None] = (None,)
    is_compared: bool = True
    strangers_s: Sequence[float] = ()


def busy_a() -> list[Client]:
    return busy("A", 2, 100)


#: When B or C is asked, in turn.
OTHERS_S = [4.0 + 1.5 * number for number in range(12)]


def a_beside_others() -> list[Client]:
    """B and C in turn: each has to be loaded anew where there is room for two. Nobody waits for an answer before the
    next is asked, so the same requests come at the same times whatever there is room for; A is loaded by then.
    """
    a = now_and_then("A", [0.0]) + later(poisson("A", 2.0, 20.0, seed=1), 2.0)
    return a + now_and_then("B", OTHERS_S[0::2]) + now_and_then("C", OTHERS_S[1::2])


CASES = {
    "own": Case("8 clients, each A, B, A, B, ... (60)", 1, lambda: own_lists(8, 60, order=MEASURED_ORDER)),
    "shared": Case("8 workers on one list A, B, A, B, ... (60)", 1, lambda: shared_list(8, 60)),
    "one": Case("one client, A, B, A, B, ... (12)", 1, lambda: own_lists(1, 12)),
    "three": Case("8 clients, each A, B, C, ..., room for two (48)", 2, lambda: own_lists(8, 48, "ABC")),
    "alone": Case("two clients keep A busy (100)", 1, busy_a, "A", is_compared=False),
    "beside": Case("the same, and B once", 1, lambda: busy_a() + now_and_then("B", [4.0]), "AB"),
    "no loads": Case("A 2 a second, B and C in turn, room for all", 3, a_beside_others, "A", is_compared=False),
    "strangers": Case(
        "the same, and somebody else loads beside it", 4, a_beside_others, "A", is_compared=False, strangers_s=OTHERS_S
    ),
    "warm": Case("A 2 a second, B and C in turn, room for two", 2, a_beside_others, "ABC"),
}  # fmt: skip


def children() -> set[int]:
    found: set[int] = set()
    for of in Path("/proc/self/task").glob("*/children"):
        with suppress(FileNotFoundError):  # a thread may end while we look
            found.update(map(int, of.read_text().split()))
    return found


def resident_bytes(pid: int) -> int:
    with suppress(OSError):  # it has ended meanwhile
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


async def watch(seen: Seen) -> None:
    """Until cancelled. On the loop that starts children, so none is seen before it has become a program of its own."""
    while True:
        pids = children()
        seen.pids |= pids
        seen.most_bytes = max(seen.most_bytes, sum(map(resident_bytes, pids)))
        await asyncio.sleep(LOOK_S)


async def load_beside(path: Path, times_s: Sequence[float]) -> None:
    """What somebody does who knows nothing of us: the same loads, so what they cost the processor."""
    began = time.perf_counter()
    options = EngineOptions(threads=1, context=CONTEXT, parallel=1)
    for at_s in times_s:
        await asyncio.sleep(began + at_s - time.perf_counter())
        child = await LlamaChild.start(path, options, BOUND_S, Origin("nobody's"))
        await asyncio.sleep(max(0.0, began + at_s + 1.0 - time.perf_counter()))
        await child.stop()


async def client(asks: Client, ask: Ask, answers: list[Answer]) -> None:
    for wanted in asks:
        await asyncio.sleep(wanted.after_s)
        began = time.perf_counter()
        first_s: float | None = None
        async with aclosing(ask(wanted.model)) as events:
            async for event in events:
                if first_s is None and isinstance(event, TextDelta):
                    first_s = time.perf_counter() - began
        assert first_s is not None, f"{wanted.model} said nothing"
        answers.append(Answer(wanted.model, first_s, time.perf_counter() - began))


async def run(
    engine: AbstractAsyncContextManager[Ask], case: Case, capacity_bytes: int, files: Mapping[str, Path]
) -> Run:
    assert not children(), "a process of an earlier run is left"
    answers: list[Answer] = []
    seen = Seen()
    async with engine as ask:
        watching = asyncio.create_task(watch(seen))
        began = time.perf_counter()
        clients = (client(asks, ask, answers) for asks in case.traffic())
        await asyncio.gather(*clients, load_beside(files["C"], case.strangers_s))
        span_s = time.perf_counter() - began
        watching.cancel()
    return Run(answers, len(seen.pids), span_s, seen.most_bytes / capacity_bytes)


@asynccontextmanager
async def modelway(files: Mapping[str, Path], capacity_bytes: int) -> AsyncIterator[Ask]:
    models = "".join(
        f'[[models]]\nid = "{name}"\nbackend = "engine"\npath = {json.dumps(str(path))}\n'
        for name, path in files.items()
    )
    config = Config.from_toml(
        f'[defaults]\ngeneral = "A"\n[[backends]]\nname = "engine"\nkind = "llama_cpp"\ncontext = {CONTEXT}\n'
        f"memory_bytes = {capacity_bytes}\n{models}"
    )
    async with Conductor(config) as conductor:
        yield lambda model: conductor.stream(PROMPT, model=model, options=OPTIONS)


@asynccontextmanager
async def order_of_arrival(files: Mapping[str, Path], capacity_bytes: int, model_bytes: int) -> AsyncIterator[Ask]:
    pools = PoolManager()
    backend = LlamaCppBackend("engine", files, pools=pools, deadlines=Deadlines(), context=CONTEXT)
    models = [SimModel(name, memory_bytes=model_bytes) for name in files]
    messages = [{"role": "user", "content": PROMPT}]
    try:
        async with commanded(capacity_bytes, models, backend, OrderOfArrival()) as device:
            yield lambda model: device.stream(model, messages, OPTIONS)
    finally:
        await backend.aclose()
        await pools.aclose()


async def bytes_of_one(files: Mapping[str, Path]) -> int:
    """What the process of one model takes when it has answered."""
    async with modelway(files, 10**12) as ask:
        await client(iter(own_lists(1, 1)[0]), ask, [])
        return sum(map(resident_bytes, children()))


def told(case: Case, policy: str, result: Run) -> str:
    of = "".join(
        f"  {name or 'all'}: first token at most {result.longest_s(name):.2f} s, p95 {result.p95_s(name):.2f} s"
        for name in case.watched
    )
    return f"  {policy:16} {result.loads:3} loads {result.span_s:6.1f} s  memory {result.peak:4.0%}{of}"


def verdicts(ours: Mapping[str, Sequence[Run]], theirs: Mapping[str, Sequence[Run]]) -> list[tuple[str, float, float]]:
    """What, what was measured, and what was promised."""

    def median(of: Callable[[Run], float], case: str) -> float:
        return statistics.median(map(of, ours[case]))

    def ratio(of: Callable[[Run], float], case: str, to: Sequence[Run]) -> float:
        return statistics.median(of(mine) / of(other) for mine, other in zip(ours[case], to, strict=True))

    everything = [result for runs in ours.values() for result in runs]
    p95_of_a: Callable[[Run], float] = partial(Run.p95_s, model="A")
    return [
        ("own lists: loads", median(lambda one: one.loads, "own"), 11),
        ("own lists: time of order of arrival", ratio(lambda one: one.span_s, "own", theirs["own"]), 0.55),
        ("shared list: loads", median(lambda one: one.loads, "shared"), 7),
        ("warm A beside loads: p95 of that without", ratio(p95_of_a, "warm", ours["no loads"]), 1.1),
        ("the same: p95 of that beside a stranger's loads", ratio(p95_of_a, "warm", ours["strangers"]), 1.1),
        ("B beside a busy A: longest wait, s", max(one.longest_s("B") for one in ours["beside"]), BOUND_S),
        ("busy A beside B: p95 of that without B", ratio(p95_of_a, "beside", ours["alone"]), 1.5),
        ("longest wait of all cases, s", max(one.longest_s() for one in everything), BOUND_S),
        ("most memory of all cases, in capacities", max(one.peak for one in everything), 1 + MARGIN),
    ]


def linked(model: Path, folder: Path) -> dict[str, Path]:
    """One file as three models."""
    files = {name: folder / f"{name}.gguf" for name in NAMES}
    for link in files.values():
        link.symlink_to(model.resolve(strict=True))
    return files


async def main(files: Mapping[str, Path], rounds: int) -> None:
    one = await bytes_of_one(files)
    print(f"a model takes {one / 10**6:.0f} MB; room for n of them is n + 1/4 of that")
    ours: dict[str, list[Run]] = {name: [] for name in CASES}
    theirs: dict[str, list[Run]] = {name: [] for name in CASES}
    for number in range(rounds):
        for name, case in CASES.items():
            capacity = one * (4 * case.room + 1) // 4
            print(f"round {number + 1}: {case.title}", flush=True)
            ours[name].append(await run(modelway(files, capacity), case, capacity, files))
            print(told(case, "modelway", ours[name][-1]), flush=True)
            if case.is_compared:
                theirs[name].append(await run(order_of_arrival(files, capacity, one), case, capacity, files))
                print(told(case, "order of arrival", theirs[name][-1]), flush=True)
    print(f"loads, and medians of {rounds} ratios of time:")
    for name, case in CASES.items():
        if case.is_compared:
            counts = [[result.loads for result in runs[name]] for runs in (theirs, ours)]
            times = [mine.span_s / other.span_s for mine, other in zip(ours[name], theirs[name], strict=True)]
            print(f"  {case.title:50} {counts[0]} -> {counts[1]}  {statistics.median(times):.2f} of the time")
    for what, measured, promised in verdicts(ours, theirs):
        verdict = "holds" if measured <= promised else "DOES NOT HOLD"
        print(f"{what:50} {measured:6.2f} promised <= {promised:.4g}: {verdict}")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("model", type=Path, metavar="MODEL.gguf")
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as links:
        asyncio.run(main(linked(given.model, Path(links)), given.rounds))
