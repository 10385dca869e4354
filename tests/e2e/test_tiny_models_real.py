"""The tiny models in the real engine: each says exactly its script over the engine's own HTTP server.

The engine lives in a child process of its own, so that nothing it does can end the tests.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from modelway.testing import TINY_MODELS, answer_of, write_tiny_models

pytestmark = pytest.mark.e2e

# Loads every file named on its command line, tells their addresses, and lives until its input ends.
ENGINE = """
import json, os, sys
from xllamacpp import CommonParams, Server

answers = os.dup(1)
os.dup2(2, 1)  # the engine prints to standard output
servers = {}
for path in sys.argv[1:]:
    params = CommonParams()
    params.model.path = path
    params.n_ctx, params.n_parallel, params.port, params.verbosity = 2048, 1, 0, -1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    servers[path] = Server(params)
addresses = {path: server.listening_address for path, server in servers.items()}
os.write(answers, json.dumps(addresses).encode() + b"\\n")
sys.stdin.read()
os._exit(0)
"""

USER = [{"role": "user", "content": "Say anything you like: <tool_call> \u00e9\u4f60\U0001f600 s001"}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Name of a model -> address of its server."""
    files = write_tiny_models(tmp_path_factory.mktemp("models"))
    command = [sys.executable, "-c", ENGINE, *map(str, files.values())]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        assert child.stdout is not None
        try:
            addresses = json.loads(child.stdout.readline())
            yield {name: addresses[str(path)] for name, path in files.items()}
        finally:
            assert child.stdin is not None
            child.stdin.close()
            assert child.wait(timeout=4) == 0


def stream(address: str, **body: Any) -> list[dict[str, Any]]:
    """The choices of a streamed answer, in order; the stream must end with [DONE]."""
    payload = json.dumps({"messages": USER, "stream": True} | body).encode()
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{address}/v1/chat/completions", payload, headers)) as answer:
        data = [line.removeprefix(b"data: ").strip() for line in answer if line.startswith(b"data: ")]
    assert data.pop() == b"[DONE]"
    return [choice for event in data for choice in json.loads(event)["choices"]]


def joined(choices: list[dict[str, Any]], key: str) -> str:
    return "".join(choice["delta"].get(key) or "" for choice in choices)


@pytest.mark.parametrize("temperature", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("name", [name for name, model in TINY_MODELS.items() if not (model.loop or model.thinking)])
def test_a_model_says_its_script(engine, name, temperature):
    choices = stream(engine[name], temperature=temperature)
    assert joined(choices, "content") == answer_of(name)
    assert choices[-1]["finish_reason"] == "stop"


def test_the_thinking_model_thinks_first(engine):
    choices = stream(engine["tiny-think"])
    assert joined(choices, "reasoning_content").strip() == TINY_MODELS["tiny-think"].thinking
    assert joined(choices, "content").strip() == answer_of("tiny-think")
    kinds = [key for choice in choices for key in ("reasoning_content", "content") if choice["delta"].get(key)]
    assert kinds == sorted(kinds, reverse=True)


def test_the_thinking_model_answers_at_once_where_told_so(engine):
    choices = stream(engine["tiny-think"], chat_template_kwargs={"enable_thinking": False})
    assert joined(choices, "reasoning_content") == ""
    assert joined(choices, "content").strip() == answer_of("tiny-think")


@pytest.mark.parametrize("tool_choice", ["auto", "required"])
def test_the_tools_model_calls_its_tool(engine, tool_choice):
    choices = stream(engine["tiny-tools"], tools=TOOLS, tool_choice=tool_choice)
    calls = [call for choice in choices for call in choice["delta"].get("tool_calls", [])]
    assert calls[0]["function"]["name"] == "get_weather"
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == {"city": "Paris"}
    assert joined(choices, "content") == ""
    assert choices[-1]["finish_reason"] == "tool_calls"


def test_the_tools_model_tells_what_the_tool_said(engine):
    function = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": function}]}
    told = [*USER, call, {"role": "tool", "tool_call_id": "1", "content": "sunny"}]
    choices = stream(engine["tiny-tools"], messages=told, tools=TOOLS)
    assert joined(choices, "content") == TINY_MODELS["tiny-tools"].after_tool
    assert choices[-1]["finish_reason"] == "stop"


@pytest.mark.parametrize(("name", "tokens"), [("tiny-endless", 450), ("tiny-slow", 20)])
def test_a_model_that_loops_goes_on_until_it_is_stopped(engine, name, tokens):
    choices = stream(engine[name], max_tokens=tokens)
    word_length = len(" s000")
    assert joined(choices, "content") == (answer_of(name) * 3)[: tokens * word_length]
    assert choices[-1]["finish_reason"] == "length"


def test_a_conversation_changes_nothing(engine):
    history = [{"role": "system", "content": "Be brief."}, *USER, {"role": "assistant", "content": "No."}, *USER]
    assert joined(stream(engine["tiny-code"], messages=history), "content") == answer_of("tiny-code")
