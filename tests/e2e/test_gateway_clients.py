"""The gateway as users run it: a process of its own, real models on the real engine, real clients.

The tiny models' answers are known, so each test says exactly what must come out; the processes that the
engine runs in are killed by signal to see what then reaches the client.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ollama
import openai
import pytest

from modelway.testing import TINY_MODELS, answer_of, write_tiny_models

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="finds the engine's processes in /proc"),
]

NAMES = ("tiny-general", "tiny-code", "tiny-math", "tiny-think", "tiny-tools", "tiny-slow")
CONFIG = """
[server]
notice_after_ms = 200
[defaults]
general = "tiny-general"
code = "tiny-code"
math = "tiny-math"
deep = "tiny-think"
tool_use = "tiny-tools"
[fallbacks]
tiny-slow = ["tiny-general"]
[[backends]]
name = "engine"
kind = "llama_cpp"
threads = 1
"""
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "the weather in a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


class Gateway:
    """A running gateway and its engine processes."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self.pid = pid

    def worker(self, model: str) -> int:
        """The process that runs ``model``: the one that has mapped its file."""
        (pid,) = [pid for pid in self._children() if f"{model}.gguf" in _proc(pid, "maps")]
        return pid

    def _children(self) -> list[int]:
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
        return [pid for pid in pids if f"\nPPid:\t{self.pid}\n" in _proc(pid, "status")]


def _proc(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _await_end(pid: int) -> None:
    """Return once ``pid`` is no more, not even as a zombie."""
    deadline = time.monotonic() + 2
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, "the process was not reaped"
        os.sched_yield()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    models = "".join(
        f'[[models]]\nid = "{name}"\nbackend = "engine"\npath = {json.dumps(str(path))}\n'
        f"max_context = 4096\nsupports_tools = {str(name == 'tiny-tools').lower()}\n"
        for name, path in write_tiny_models(folder, NAMES).items()
    )
    config = folder / "modelway.toml"
    config.write_text(CONFIG + models)
    command = [sys.executable, "-m", "modelway", "serve", "--config", str(config), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Gateway(json.loads(process.stdout.readline())["address"], process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=4) == 0


@pytest.fixture
def openai_client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="not needed", max_retries=0) as client:
        yield client


@pytest.fixture
def ollama_client(gateway: Gateway) -> Iterator[ollama.Client]:
    client = ollama.Client(host=gateway.url)
    yield client
    client.close()


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


ROUTED = [
    ("auto", "Write a Rust function to parse JSON", "tiny-code", "code"),
    ("auto", "Solve the quadratic equation x^2 + 5x + 6 = 0", "tiny-math", "math"),
    ("auto:deep", "hello", "tiny-think", "deep"),
    ("tiny-general", "Write a Rust function to parse JSON", "tiny-general", "code"),
]


@pytest.mark.parametrize(("model", "prompt", "served", "task"), ROUTED)
def test_openai(openai_client: openai.OpenAI, model: str, prompt: str, served: str, task: str) -> None:
    whole = openai_client.chat.completions.with_raw_response.create(model=model, messages=user(prompt))
    assert whole.headers["x-modelway-model"] == served
    assert whole.headers["x-modelway-task"] == task
    assert whole.headers["x-modelway-location"] == "device"
    completion = whole.parse()
    assert completion.model == served
    assert (completion.choices[0].message.content or "").strip() == answer_of(served)
    chunks = list(openai_client.chat.completions.create(model=model, messages=user(prompt), stream=True))
    assert {chunk.model for chunk in chunks} == {served}
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks).strip() == answer_of(served)
    assert chunks[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize(("model", "prompt", "served", "task"), ROUTED)
def test_ollama(ollama_client: ollama.Client, model: str, prompt: str, served: str, task: str) -> None:
    whole = ollama_client.chat(model=model, messages=user(prompt))
    assert (whole.model, (whole.message.content or "").strip()) == (served, answer_of(served))
    assert (whole.message.thinking or "").strip() == TINY_MODELS[served].thinking
    parts = list(ollama_client.chat(model=model, messages=user(prompt), stream=True))
    assert {part.model for part in parts} == {served}
    assert "".join(part.message.content or "" for part in parts).strip() == answer_of(served)
    assert parts[-1].done_reason == "stop"
    assert parts[-1].eval_count
    generated = ollama_client.generate(model=model, prompt=prompt)
    assert (generated.model, generated.response.strip()) == (served, answer_of(served))


def test_a_tool_is_called_through_both_protocols(openai_client: openai.OpenAI, ollama_client: ollama.Client) -> None:
    completion = openai_client.chat.completions.create(model="auto", messages=user("weather?"), tools=TOOLS)
    (call,) = completion.choices[0].message.tool_calls or []
    assert completion.model == "tiny-tools"
    assert json.loads(call.function.arguments) == {"city": "Paris"}  # type: ignore[union-attr]
    answer = ollama_client.chat(model="auto", messages=user("weather?"), tools=TOOLS)
    (ollama_call,) = answer.message.tool_calls or []
    assert (ollama_call.function.name, ollama_call.function.arguments) == ("get_weather", {"city": "Paris"})
    turns = [*user("weather?"), answer.message, {"role": "tool", "tool_name": "get_weather", "content": "sunny"}]
    answer = ollama_client.chat(model="tiny-tools", messages=turns, tools=TOOLS)
    assert answer.message.content == TINY_MODELS["tiny-tools"].after_tool


def test_m17_a_worker_killed_in_mid_stream_reaches_an_openai_client_as_an_error(
    gateway: Gateway, openai_client: openai.OpenAI
) -> None:
    stream = openai_client.chat.completions.create(model="tiny-slow", messages=user("go"), stream=True)
    pieces = (chunk.choices[0].delta.content or "" for chunk in stream)
    said = [next(pieces) for _ in range(4)]
    pid = gateway.worker("tiny-slow")
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(openai.APIError, match="broke off") as broken:
        said.extend(pieces)
    assert isinstance(broken.value.body, dict)
    partial = broken.value.body["partial"]
    assert partial.startswith("".join(said))
    assert answer_of("tiny-slow").startswith(partial)
    _await_end(pid)
    again = openai_client.chat.completions.create(model="tiny-slow", messages=user("go"), max_tokens=3)
    assert again.model == "tiny-slow", "a new worker serves the next request"
    assert answer_of("tiny-slow").startswith(again.choices[0].message.content or "-")


def test_m17_a_worker_killed_in_mid_stream_reaches_an_ollama_client_as_an_error(
    gateway: Gateway, ollama_client: ollama.Client
) -> None:
    parts = ollama_client.chat(model="tiny-slow", messages=user("go"), stream=True)
    said = "".join(next(parts).message.content or "" for _ in range(4))
    assert answer_of("tiny-slow").startswith(said)
    pid = gateway.worker("tiny-slow")
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ollama.ResponseError, match="broke off"):
        list(parts)
    _await_end(pid)
    again = ollama_client.chat(model="tiny-slow", messages=user("go"), options={"num_predict": 3})
    assert again.model == "tiny-slow"
    assert again.done_reason == "length"


def test_a_worker_killed_before_its_first_token_is_replaced_by_the_fallback_with_a_notice(
    gateway: Gateway, openai_client: openai.OpenAI
) -> None:
    openai_client.chat.completions.create(model="tiny-slow", messages=user("go"), max_tokens=1)  # loads it
    pid = gateway.worker("tiny-slow")
    os.kill(pid, signal.SIGSTOP)  # it takes the request and says nothing
    asked = openai_client.chat.completions.with_streaming_response.create(
        model="tiny-slow", messages=user("go"), stream=True
    )
    with asked as response:
        assert response.headers["x-modelway-model"] == "tiny-slow", "known so far"
        lines = (line for line in response.iter_lines() if line)
        assert next(lines).startswith(": waiting model=tiny-slow")
        os.kill(pid, signal.SIGKILL)
        served, *events = (line for line in lines if not line.startswith(": waiting"))
    assert served.startswith(": served model=tiny-general fallback=tiny-slow->tiny-general")
    assert events.pop() == "data: [DONE]"
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    assert {chunk["model"] for chunk in chunks} == {"tiny-general"}
    said = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert said.strip() == answer_of("tiny-general")
    _await_end(pid)


def test_a_client_that_leaves_frees_the_model(openai_client: openai.OpenAI) -> None:
    stream = openai_client.chat.completions.create(model="tiny-slow", messages=user("go"), stream=True)
    next(stream)
    stream.close()
    # One answer at a time: this one would wait for the end of the first.
    again = openai_client.chat.completions.create(model="tiny-slow", messages=user("go"), max_tokens=2)
    assert again.choices[0].finish_reason == "length"
