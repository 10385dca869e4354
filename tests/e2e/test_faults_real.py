"""The real engine killed, stopped, badly connected: whole answers or errors after a beginning, and no process left."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

import pytest
from lossy_proxy import lossy

from modelway.backends.llama_cpp.child import EngineOptions, LlamaChild
from modelway.conductor import Conductor
from modelway.config import Config
from modelway.errors import NoModelAvailable, StreamInterrupted
from modelway.events import ConductorMessage, Finished, TextDelta
from modelway.origin import Origin
from modelway.testing import answer_of, write_tiny_models
from processes import children

pytestmark = pytest.mark.e2e

#: Asked first, and never comes to an end by itself; and who answers where it can't.
FIRST, SECOND = "tiny-endless", "tiny-quick"
#: Tokens of an answer that is over soon, and of one that is not over before something happens to it.
FEW, MANY = 20, 1_000
#: Long enough for a busy machine to say something.
HASTY = "[deadlines]\nfirst_token_ms = 800\nbetween_tokens_ms = 800\n"


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_tiny_models(tmp_path_factory.mktemp("models"), [FIRST, SECOND, "tiny-creative"])


@asynccontextmanager
async def engine(files: dict[str, Path], more: str = "") -> AsyncIterator[Conductor]:
    """A conductor over both models, and no process of it left behind."""
    before = children()
    models = "".join(
        f'[[models]]\nid = "{name}"\nbackend = "files"\npath = "{files[name]}"\n' for name in (FIRST, SECOND)
    )
    backend = '[[backends]]\nname = "files"\nkind = "llama_cpp"\nthreads = 1\n'
    chain = f'[defaults]\ngeneral = "{FIRST}"\n[fallbacks]\ngeneral = ["{SECOND}"]\n'
    async with Conductor(Config.from_toml(f"{more}{chain}{backend}{models}")) as conductor:
        yield conductor
    assert children() == before


class Caller:
    """One request, read step by step or to its end."""

    def __init__(self, conductor: Conductor, tokens: int) -> None:
        self._stream = conductor.stream("hello", task="general", options={"max_tokens": tokens})
        self.events: list[ConductorMessage] = []

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    async def begin(self) -> None:
        """Read until it says something."""
        while not self.text:
            self.events.append(await anext(self._stream))

    async def finish(self) -> str:
        """The model that answered; what it said is checked."""
        async with aclosing(self._stream) as events:
            async for event in events:
                self.events.append(event)
        last = self.events[-1]
        assert isinstance(last, Finished)
        assert last.finish_reason == ("length" if last.model == FIRST else "stop")
        assert self.text == (rounds(len(self.text)) if last.model == FIRST else answer_of(last.model))
        return last.model


def rounds(length: int) -> str:
    """The beginning of what the endless model says."""
    script = answer_of(FIRST)
    return (script * (length // len(script) + 1))[:length]


async def serve(conductor: Conductor) -> str:
    return await Caller(conductor, FEW).finish()


def only_child() -> int:
    (pid,) = children()
    return pid


async def soon(is_so: Callable[[], bool]) -> None:
    """Wait for what only the system can tell; the test's own time-out ends it."""
    while not is_so():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def sockets() -> set[str]:
    """The sockets this process has open, by names that are never used again."""
    names = set()
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            names.add(str(entry.readlink()))
    return {name for name in names if name.startswith("socket:")}


async def struck(phase: str, conductor: Conductor, blow: signal.Signals) -> tuple[Caller, asyncio.Task[str], int]:
    """A request whose process got a signal in this phase, that process, and the rest of the request as a task."""
    if phase == "loading":
        caller = Caller(conductor, MANY)
        answer = asyncio.create_task(caller.finish())
        await soon(lambda: bool(children()))
        pid = only_child()
        os.kill(pid, blow)
        return caller, answer, pid
    assert await serve(conductor) == FIRST
    pid = only_child()
    caller = Caller(conductor, MANY)
    if phase == "streaming":
        await caller.begin()
    if phase == "first token":
        # Stopped, it takes the request and does not answer.
        os.kill(pid, signal.SIGSTOP)
        before = sockets()
        answer = asyncio.create_task(caller.finish())
        await soon(lambda: bool(sockets() - before))
        os.kill(pid, blow)
    else:
        os.kill(pid, blow)
        answer = asyncio.create_task(caller.finish())
    return caller, answer, pid


PHASES = ["loading", "first token", "streaming", "idle"]


@pytest.mark.parametrize("phase", PHASES)
async def test_m17_a_process_killed_in_any_phase_costs_at_most_that_answer(files, phase):
    async with engine(files) as conductor:
        caller, answer, pid = await struck(phase, conductor, signal.SIGKILL)
        if phase == "streaming":
            with pytest.raises(StreamInterrupted) as caught:
                await answer
            assert caught.value.partial == caller.text == rounds(len(caller.text))
        else:
            # An idle process that is known to be dead is started anew; one that is not yet, is left.
            assert await answer in ({FIRST, SECOND} if phase == "idle" else {SECOND})
        assert await serve(conductor) == FIRST
        assert pid not in children()


@pytest.mark.parametrize("phase", PHASES)
async def test_a_process_that_stands_still_for_a_while_says_everything_afterwards(files, phase):
    async with engine(files) as conductor:
        _, answer, pid = await struck(phase, conductor, signal.SIGSTOP)
        await soon(lambda: is_stopped(pid))
        assert not answer.done()
        os.kill(pid, signal.SIGCONT)
        assert await answer == FIRST
        assert children() == {pid}


@pytest.mark.parametrize("phase", ["first token", "streaming"])
async def test_m19_a_process_that_stands_still_is_left_at_the_deadline_and_used_when_it_goes_on(files, phase):
    async with engine(files, HASTY) as conductor:
        caller, answer, pid = await struck(phase, conductor, signal.SIGSTOP)
        if phase == "streaming":
            with pytest.raises(StreamInterrupted) as caught:
                await answer
            assert caught.value.kind == "timeout"
            assert caught.value.partial == caller.text == rounds(len(caller.text))
        else:
            assert await answer == SECOND
        os.kill(pid, signal.SIGCONT)
        assert await serve(conductor) == FIRST
        assert pid in children()


LOSSY = """
[defaults]
general = "{model}"
[deadlines]
first_token_ms = 400
between_tokens_ms = 400
[health]
failures_to_open = 1000
least_success_percent = 0
retry_percent = 0
retries_per_s = 0
[[backends]]
name = "server"
kind = "openai"
url = "{url}"
api_key_env = "MODELWAY_TEST_KEY"
[[models]]
id = "{model}"
backend = "server"
"""


@asynccontextmanager
async def real_server(file: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The address of llama.cpp's server in a process of its own."""
    options = EngineOptions(threads=1, context=2048, parallel=4)
    child = await LlamaChild.start(file, options, 30.0, Origin("server"))
    monkeypatch.setenv("MODELWAY_TEST_KEY", child.api_key)
    try:
        yield child.address
    finally:
        await child.stop()


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_real_server_behind_a_lossy_connection_gives_whole_answers_or_errors(files, monkeypatch, seed):
    model = "tiny-creative"
    ended: Counter[str] = Counter()

    async def ask(conductor: Conductor) -> None:
        said, partial, end = "", "", "complete"
        try:
            async with aclosing(conductor.stream("hello", task="general")) as events:
                async for event in events:
                    said += event.text if isinstance(event, TextDelta) else ""
        except StreamInterrupted as error:
            partial, end = error.partial, "interrupted"
        except NoModelAvailable:
            end = "failed"
        whole = answer_of(model)
        assert {"complete": said == whole, "interrupted": said == partial and said, "failed": not said}[end]
        assert whole.startswith(said)
        ended[end] += 1

    async with (
        real_server(files[model], monkeypatch) as address,
        lossy(address, seed) as proxy,
        Conductor(Config.from_toml(LOSSY.format(model=model, url=proxy.url))) as conductor,
    ):
        for _ in range(10):
            await asyncio.gather(*(ask(conductor) for _ in range(4)))
        assert ended["complete"] >= proxy.fates["none"] + proxy.fates["split"]
        assert ended["interrupted"]
        assert ended["failed"]
        proxy.is_calm = True
        reply = await conductor.complete("hello", task="general")
        assert reply.text == answer_of(model)
