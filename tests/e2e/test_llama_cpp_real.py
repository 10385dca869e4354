"""Managed llama.cpp on the real engine: exact answers, one process a model, and none left behind."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from modelway.backends.base import ChatCall, Deadlines
from modelway.backends.llama_cpp import LlamaCppBackend
from modelway.conductor import Conductor
from modelway.config import Config
from modelway.errors import BackendError
from modelway.events import BackendEvent, Ended, ModelLoading, TextDelta, ThinkingDelta, ToolCallDelta
from modelway.origin import Origin
from modelway.pools import PoolManager
from modelway.testing import TINY_MODELS, answer_of, write_tiny_models
from processes import children

pytestmark = pytest.mark.e2e

NAMES = ["tiny-general", "tiny-code", "tiny-math", "tiny-tools", "tiny-creative", "tiny-quick"]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_tiny_models(tmp_path_factory.mktemp("models"), [*NAMES, "tiny-think", "tiny-endless"])


@pytest.fixture
async def backend(files: dict[str, Path]) -> AsyncIterator[LlamaCppBackend]:
    before = children()
    pools = PoolManager()
    backend = LlamaCppBackend("llama", files, pools=pools, deadlines=Deadlines())
    yield backend
    await backend.aclose()
    await pools.aclose()
    assert backend.workers() == []
    assert children() == before


def call(model: str, **fields: object) -> ChatCall:
    return ChatCall(model, model, [{"role": "user", "content": "Hi"}], **fields)  # type: ignore[arg-type]


async def collect(backend: LlamaCppBackend, call: ChatCall) -> list[BackendEvent]:
    async with aclosing(backend.stream(call)) as stream:
        return [event async for event in stream]


def text_of(events: list[BackendEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@pytest.mark.parametrize("name", NAMES)
async def test_a_model_says_exactly_what_it_was_made_to_say(backend, name):
    first, *rest = await collect(backend, call(name))
    assert first == ModelLoading(name, "llama")
    assert text_of(rest) == answer_of(name)
    ended = rest[-1]
    assert isinstance(ended, Ended)
    assert ended.finish_reason == "stop"
    assert ended.usage.completion_tokens


async def test_thinking_is_kept_apart(backend):
    events = await collect(backend, call("tiny-think"))
    thought = "".join(event.text for event in events if isinstance(event, ThinkingDelta))
    # The engine leaves the line breaks around the tags of the thinking.
    assert thought.strip("\n") == TINY_MODELS["tiny-think"].thinking
    assert text_of(events).strip("\n") == answer_of("tiny-think")
    events = await collect(backend, call("tiny-think", options={"think": False}))
    assert not [event for event in events if isinstance(event, ThinkingDelta)]
    assert text_of(events).strip("\n") == answer_of("tiny-think")


async def test_a_loaded_model_is_not_loaded_again(backend):
    await collect(backend, call("tiny-quick"))
    (worker,) = backend.workers()
    events = await collect(backend, call("tiny-quick"))
    assert isinstance(events[0], TextDelta)
    assert backend.workers() == [worker]
    assert children() == {worker.pid}


async def test_each_model_has_one_process(backend):
    await asyncio.gather(*(collect(backend, call(name)) for name in ("tiny-quick", "tiny-math")))
    workers = backend.workers()
    assert {worker.model_id for worker in workers} == {"tiny-quick", "tiny-math"}
    assert children() == {worker.pid for worker in workers}


async def test_requests_at_once_start_one_process(backend):
    answers = await asyncio.gather(*(collect(backend, call("tiny-quick")) for _ in range(5)))
    assert [text_of(events) for events in answers] == [answer_of("tiny-quick")] * 5
    assert all(isinstance(events[0], ModelLoading) for events in answers)
    assert len(children()) == 1


@pytest.mark.parametrize("cancelled", [False, True], ids=["closed", "cancelled"])
async def test_a_caller_that_leaves_does_not_take_the_load_from_the_others(backend, cancelled):
    leaving = backend.stream(call("tiny-quick"))
    assert isinstance(await anext(leaving), ModelLoading)
    staying = asyncio.create_task(collect(backend, call("tiny-quick")))
    if cancelled:
        waiting = asyncio.ensure_future(anext(leaving))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    await leaving.aclose()
    assert text_of(await staying) == answer_of("tiny-quick")


async def test_a_tool_is_called_and_its_result_read(backend):
    events = await collect(backend, call("tiny-tools", tools=TOOLS))
    deltas = [event for event in events if isinstance(event, ToolCallDelta)]
    assert deltas[0].name == "get_weather"
    arguments = "".join(delta.arguments for delta in deltas)
    assert arguments.replace(" ", "") == '{"city":"Paris"}'
    assert isinstance(events[-1], Ended)
    assert events[-1].finish_reason == "tool_calls"
    function = {"name": "get_weather", "arguments": arguments}
    history = [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": deltas[0].id, "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": deltas[0].id, "content": "sunny"},
    ]
    events = await collect(backend, ChatCall("tiny-tools", "tiny-tools", history, tools=TOOLS))
    assert text_of(events) == TINY_MODELS["tiny-tools"].after_tool


async def test_a_prompt_over_the_context_is_refused(files):
    pools = PoolManager()
    backend = LlamaCppBackend("llama", files, pools=pools, deadlines=Deadlines(), context=256, parallel=2)
    long = ChatCall("tiny-quick", "tiny-quick", [{"role": "user", "content": "x" * 1000}])
    with pytest.raises(BackendError, match="context") as caught:
        await collect(backend, long)
    assert caught.value.kind == "rejected"
    await backend.aclose()
    await pools.aclose()


async def begin(backend: LlamaCppBackend, name: str) -> tuple[AsyncIterator[BackendEvent], int]:
    """A stream that has said something, and its process."""
    stream = backend.stream(call(name))
    async for event in stream:
        if isinstance(event, TextDelta):
            break
    return stream, next(worker.pid for worker in backend.workers() if worker.model_id == name)


async def test_m17_a_process_killed_in_mid_stream_is_an_interruption_and_the_next_request_works(backend):
    stream, pid = await begin(backend, "tiny-endless")
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(BackendError) as caught:
        async for _ in stream:
            pass
    assert (caught.value.kind, caught.value.model) == ("interrupted", "tiny-endless")
    assert backend.workers() == []
    assert pid not in children()
    again, other = await begin(backend, "tiny-endless")
    assert other != pid
    await again.aclose()  # type: ignore[attr-defined]


async def test_a_process_killed_before_the_first_token(backend):
    await collect(backend, call("tiny-quick"))
    (worker,) = backend.workers()
    os.kill(worker.pid, signal.SIGSTOP)
    waiting = asyncio.create_task(collect(backend, call("tiny-quick")))
    await asyncio.sleep(0)
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(BackendError) as caught:
        await waiting
    assert caught.value.kind in ("connect", "reset")
    assert backend.workers() == []
    assert text_of(await collect(backend, call("tiny-quick"))) == answer_of("tiny-quick")


async def test_a_stream_that_is_left_frees_the_model(backend):
    stream, pid = await begin(backend, "tiny-endless")
    await stream.aclose()  # type: ignore[attr-defined]
    # The one slot is free again: this does not wait for the end of the context.
    events = await collect(backend, call("tiny-endless", options={"max_tokens": 2}))
    assert isinstance(events[-1], Ended)
    assert events[-1].finish_reason == "length"
    assert [worker.pid for worker in backend.workers()] == [pid]


async def test_a_model_file_that_is_broken_leaves_no_process(files, tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(files["tiny-quick"].read_bytes()[:2000])
    backend = LlamaCppBackend("llama", {"m": broken}, pools=PoolManager(), deadlines=Deadlines())
    for _ in range(2):
        with pytest.raises(BackendError, match=r"broken\.gguf could not be loaded") as caught:
            await collect(backend, call("m"))
        assert caught.value.kind == "server_error"
        assert 0 < len(caught.value.detail) <= 200
        assert children() == set()
    await backend.aclose()


async def test_nobody_else_can_use_a_child(backend):
    await collect(backend, call("tiny-quick"))
    (worker,) = backend.workers()
    pool = PoolManager().pool("stranger")
    for path in ("/v1/models", "/slots", "/props"):
        fetched = await pool.fetch("GET", worker.address + path, Origin("stranger"), timeout_s=2.0)
        assert fetched.status == 401
    assert worker.address.startswith("http://127.0.0.1:")
    await pool.aclose()


async def test_ctrl_c_in_a_terminal_does_not_reach_the_children(backend):
    await collect(backend, call("tiny-quick"))
    (worker,) = backend.workers()
    assert os.getpgid(worker.pid) != os.getpgid(0)


@pytest.mark.parametrize("state", ["idle", "answering", "stopped"])
async def test_closing_ends_every_process(files, state):
    pools = PoolManager()
    backend = LlamaCppBackend("llama", files, pools=pools, deadlines=Deadlines())
    stream, pid = await begin(backend, "tiny-endless")
    if state == "idle":
        await stream.aclose()  # type: ignore[attr-defined]
    if state == "stopped":
        # It can't see the end of its standard input.
        os.kill(pid, signal.SIGSTOP)
    await backend.aclose()
    assert children() == set()
    if state != "idle":
        with pytest.raises(BackendError):
            async for _ in stream:
                pass
    await backend.aclose()
    await pools.aclose()


PARENT = """
    import asyncio, sys
    from pathlib import Path
    from modelway.backends.base import ChatCall, Deadlines
    from modelway.backends.llama_cpp import LlamaCppBackend
    from modelway.events import TextDelta
    from modelway.pools import PoolManager

    async def main():
        models = {"m": Path(sys.argv[1])}
        backend = LlamaCppBackend("llama", models, pools=PoolManager(), deadlines=Deadlines())
        async for event in backend.stream(ChatCall("m", "m", [{"role": "user", "content": "Hi"}])):
            if isinstance(event, TextDelta):
                break
        print(backend.workers()[0].pid, flush=True)
        await asyncio.get_running_loop().create_future()

    asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="waits by pidfd")
@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
def test_a_parent_killed_outright_leaves_no_child(files, stopped):
    command = [sys.executable, "-c", textwrap.dedent(PARENT), str(files["tiny-endless"])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        watched = os.pidfd_open(child)
        if stopped:
            # It can't see the end of its standard input, as one that is loading a model can't.
            os.kill(child, signal.SIGSTOP)
        parent.kill()
    readable, _, _ = select.select([watched], [], [], 3.0)
    os.close(watched)
    assert readable, "the child outlived its parent"


async def test_a_reload_that_does_not_concern_a_loaded_model_leaves_its_process_alone(files):
    def config(more: str) -> Config:
        models = "".join(
            f'[[models]]\nid = "{name}"\nbackend = "files"\npath = "{files[name]}"\n'
            for name in ("tiny-quick", "tiny-code")
        )
        backend = '[[backends]]\nname = "files"\nkind = "llama_cpp"\n'
        return Config.from_toml(f'{more}[defaults]\ngeneral = "tiny-quick"\n{backend}{models}')

    before = children()
    async with Conductor(config("")) as conductor:
        first = await conductor.complete("Hi")
        loaded = children() - before
        conductor.router.replace_config(config('[fallbacks]\ngeneral = ["tiny-code"]\n'))
        again = await conductor.complete("Hi")
        assert first.text == again.text
        assert len(loaded) == 1
        assert children() - before == loaded
        assert not any(isinstance(event, ModelLoading) for event in again.events)
    assert children() == before
