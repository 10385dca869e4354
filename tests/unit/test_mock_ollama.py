"""The mock server's Ollama: framing, metrics, refusals, discovery, memory."""

from __future__ import annotations

import asyncio
import json
import math
import re

import mock_client
import pytest
from mock_client import LONG, REPLY, TOOLS, USER, ask, chat, read, records

from modelway.backends.mock import MockModelConfig
from modelway.backends.mock.keep_alive import keep_alive_seconds

http, server = mock_client.http, mock_client.server


METRICS = [
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
]


async def test_a_chat_streams_one_object_a_line_and_ends_with_six_metrics(server, http):
    async with chat(http, server) as answer:
        assert answer.headers["Content-Type"] == "application/x-ndjson"
        assert answer.headers["Transfer-Encoding"] == "chunked"
        lines = records(await answer.read())
    assert "".join(line["message"]["content"] for line in lines) == REPLY
    assert [line["done"] for line in lines] == [False] * 5 + [True]
    last = lines[-1]
    assert last["done_reason"] == "stop"
    assert last["eval_count"] == 5
    assert all(type(last[metric]) is int and last[metric] > 0 for metric in METRICS)
    assert last["total_duration"] >= last["load_duration"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", last["created_at"])


async def test_each_line_leaves_as_soon_as_it_is_made(server, http):
    gate = server.hold("code", after=2)
    async with chat(http, server) as answer:
        first = [await answer.content.readline(), await answer.content.readline()]
        await server.wait_for(lambda: gate.waiting == 1)
        assert [json.loads(line)["message"]["content"] for line in first] == ["fn", " main()"]
        assert server.request_history[0].pieces_sent == 2
        assert server.request_history[0].held
        gate.release()
        assert records(await answer.read())[-1]["done"]


async def test_a_chat_that_is_not_streamed_is_one_object(server, http):
    async with chat(http, server, stream=False) as answer:
        whole = await answer.json()
    assert whole["message"] == {"role": "assistant", "content": REPLY}
    assert whole["done"]
    assert whole["done_reason"] == "stop"


async def test_generate_has_response_and_context_instead_of_message(server, http):
    async with ask(http, server, "/api/generate", model="code", prompt="hello") as answer:
        lines = records(await answer.read())
    assert "".join(line["response"] for line in lines) == REPLY
    assert lines[-1]["context"]
    assert all("message" not in line for line in lines)
    async with ask(http, server, "/api/generate", model="code", prompt="hello", raw=True, stream=False) as answer:
        assert "context" not in await answer.json()


async def test_thinking_comes_in_lines_of_its_own_before_the_content(server, http):
    async with chat(http, server, "think") as answer:
        said = [line["message"] for line in records(await answer.read())]
    assert [message.get("thinking") for message in said] == ["well,", " hm", None, None]
    assert [message["content"] for message in said] == ["", "", "yes", ""]
    async with chat(http, server, "think", think=False) as answer:
        assert all("thinking" not in line["message"] for line in records(await answer.read()))


async def test_tool_calls_stand_whole_in_the_last_line_and_only_when_tools_are_offered(server, http):
    async with chat(http, server, "tools", tools=TOOLS) as answer:
        (line,) = records(await answer.read())
    (call,) = line["message"]["tool_calls"]
    assert call["function"] == {"index": 0, "name": "get_weather", "arguments": {"city": "Paris"}}
    assert line["done_reason"] == "stop"
    told = [*USER, {"role": "tool", "content": "sunny", "tool_name": "get_weather"}]
    for body in ({"messages": USER}, {"messages": told, "tools": TOOLS}):
        async with ask(http, server, "/api/chat", model="tools", stream=False, **body) as answer:
            assert (await answer.json())["message"] == {"role": "assistant", "content": "sunny"}


@pytest.mark.parametrize(
    ("body", "reason", "listed"),
    [({}, "load", True), ({"keep_alive": "10m"}, "load", True), ({"keep_alive": 0}, "unload", False)],
)
async def test_empty_messages_load_or_unload(server, http, body, reason, listed):
    async with ask(http, server, "/api/chat", model="code", messages=[], **body) as answer:
        whole = json.loads(await answer.read())
    assert whole["done"]
    assert whole["done_reason"] == reason
    assert "eval_count" not in whole
    async with http.get(server.url + "/api/ps") as answer:
        assert [entry["name"] for entry in (await answer.json())["models"]] == ["code:latest"] * listed


async def test_a_length_limit_cuts_the_answer_and_says_so(server, http):
    async with chat(http, server, options={"num_predict": 2}) as answer:
        lines = records(await answer.read())
    assert "".join(line["message"]["content"] for line in lines) == "fn main()"
    assert lines[-1]["done_reason"] == "length"


async def test_a_prompt_that_does_not_fit_is_cut_silently_unless_told_not_to(server, http):
    async with ask(http, server, "/api/chat", model="code", messages=LONG, stream=False) as answer:
        assert (await answer.json())["prompt_eval_count"] == 8192
    async with ask(http, server, "/api/chat", model="code", messages=LONG, truncate=False) as answer:
        assert answer.status == 400
        inner = json.loads((await answer.json())["error"])["error"]
    assert (inner["type"], inner["n_prompt_tokens"], inner["n_ctx"]) == ("exceed_context_size_error", 10_001, 8192)


STRING_CALL = {"function": {"name": "f", "arguments": "{}"}}
REFUSALS = [
    ({"model": "nope"}, 404, "model 'nope' not found"),
    ({"model": ""}, 400, "model is required"),
    ({}, 400, "model is required"),
    ({"model": 7}, 400, "json: cannot unmarshal into Go struct field .model of type string"),
    ({"model": "code", "tools": TOOLS}, 400, "registry.ollama.ai/library/code:latest does not support tools"),
    ({"model": "code", "think": True}, 400, '"code" does not support thinking'),
    ({"model": "think", "think": "very"}, 400, "invalid think value"),
    ({"model": "code", "options": {"temperature": "hot"}}, 500, 'option "temperature" must be of type float32'),
    ({"model": "code", "options": {"num_ctx": True}}, 500, 'option "num_ctx" must be of type integer'),
    ({"model": "code", "keep_alive": "-1"}, 400, 'time: missing unit in duration "-1"'),
    ({"model": "code", "keep_alive": "soon"}, 400, 'time: invalid duration "soon"'),
    ({"model": "code", "messages": "hello"}, 400, "json: cannot unmarshal"),
    ({"model": "code", "messages": [{"role": "user", "content": ["x"]}]}, 400, "json: cannot unmarshal"),
    (
        {"model": "code", "messages": [{"role": "user", "content": "x", "images": ["AAAA"]}]},
        500,
        '{"error":{"code":500',
    ),
    ({"model": "code", "messages": [{"role": "user", "images": ["data:image/png;base64,AA"]}]}, 400, "illegal base64"),
    (
        {"model": "tools", "messages": [{"role": "assistant", "tool_calls": [STRING_CALL]}]},
        400,
        "json: cannot unmarshal",
    ),
    ({"model": "embed"}, 400, '"embed" does not support chat'),
    ({"model": "alias:local"}, 404, "model 'alias' not found"),
    ({"model": "gpt:cloud:local"}, 400, "use either :local or :cloud, not both"),
    ({"model": "code:cloud"}, 502, "cloud is not reachable"),
    ({"model": "m:30b-cloud"}, 502, "cloud is not reachable"),
]


@pytest.mark.parametrize(("body", "status", "message"), REFUSALS)
async def test_what_ollama_refuses_is_refused_in_its_words(server, http, body, status, message):
    async with ask(http, server, "/api/chat", **({"messages": USER} | body)) as answer:
        assert answer.status == status
        error = await answer.json()
    assert error["error"].startswith(message)
    assert server.request_history[0].status == status
    assert server.request_history[0].finished


@pytest.mark.parametrize("name", ["code", "code:latest", "CODE", "code:local", "code:latest:local"])
async def test_all_names_of_a_model_find_it_and_the_answer_echoes_the_one_asked(server, http, name):
    async with chat(http, server, name, stream=False) as answer:
        assert (await answer.json())["model"] == name
    assert server.request_counts == {"code": 1}


@pytest.mark.parametrize(
    ("model", "host"), [("gpt:cloud", "https://ollama.com:443"), ("alias", "https://example.com"), ("code", None)]
)
async def test_a_cloud_model_shows_its_host_everywhere(server, http, model, host):
    async with chat(http, server, model) as answer:
        assert {line.get("remote_host") for line in records(await answer.read())} == {host}
    async with ask(http, server, "/api/show", model=model) as answer:
        assert (await answer.json()).get("remote_host") == host
    async with http.get(server.url + "/api/tags") as answer:
        entries = {entry["name"].removesuffix(":latest"): entry for entry in (await answer.json())["models"]}
    assert entries[model].get("remote_host") == host


async def test_tags_and_show_tell_what_a_model_is(server, http):
    server.models["old"] = MockModelConfig(capabilities_in_tags=False, max_context=2048, license_text="MIT License")
    async with http.get(server.url + "/api/tags") as answer:
        entries = {entry["name"]: entry for entry in (await answer.json())["models"]}
    assert entries["tools:latest"]["capabilities"] == ["completion", "tools"]
    assert "capabilities" not in entries["old:latest"]
    assert entries["old:latest"]["details"]["families"] is None
    assert re.fullmatch(r"[0-9a-f]{64}", entries["old:latest"]["digest"])
    async with ask(http, server, "/api/show", model="old") as answer:
        shown = await answer.json()
    assert shown["model_info"]["llama.context_length"] == 2048
    assert (shown["capabilities"], shown["license"]) == (["completion"], "MIT License")
    async with ask(http, server, "/api/show", model="nope") as answer:
        assert (answer.status, await answer.json()) == (404, {"error": "model 'nope' not found"})


PLAIN_ROUTES = [
    ("GET", "/", 200, "Ollama is running"),
    ("HEAD", "/", 200, ""),
    ("HEAD", "/api/version", 200, ""),
    ("GET", "/api/version", 200, '{"version":"0.32.15"}'),
    ("GET", "/health", 200, '{"status":"ok"}'),
    ("GET", "/api/nope", 404, "404 page not found"),
    ("GET", "/api/chat", 405, "405 method not allowed"),
    ("DELETE", "/v1/models", 405, "405 method not allowed"),
]


@pytest.mark.parametrize(("method", "path", "status", "text"), PLAIN_ROUTES)
async def test_routes_that_ask_no_model(server, http, method, path, status, text):
    async with http.request(method, server.url + path) as answer:
        assert (answer.status, await answer.text()) == (status, text)
        if method == "GET":
            assert answer.content_type == ("application/json" if text.startswith("{") else "text/plain")
    assert server.path_counts == {path: 1}
    assert server.request_history == []


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 403),
        ("127.0.0.1.nip.io", 403),
        ("", 403),
        ("localhost:11434", 200),
        ("a.localhost", 200),
        ("[::1]:80", 200),
        ("192.168.1.5", 200),
    ],
)
async def test_a_foreign_host_is_refused_with_an_empty_body(server, http, host, status):
    async with http.get(server.url + "/", headers={"Host": host}) as answer:
        assert (answer.status, await answer.text()) == (status, "Ollama is running" if status == 200 else "")


@pytest.mark.parametrize(
    ("body", "message"),
    [(b"", "missing request body"), (b'{"model": ', "invalid character"), (b"[]", "json: cannot unmarshal list")],
)
async def test_a_body_that_is_no_object_is_refused(server, http, body, message):
    async with http.post(server.url + "/api/chat", data=body) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"].startswith(message)


KEEP_ALIVES = [
    (None, None),
    (0, 0.0),
    (2.5, 2.5),
    (-1, math.inf),
    ("0", 0.0),
    ("10m", 600.0),
    ("1h30m", 5400.0),
    ("1.5s", 1.5),
    ("250ms", 0.25),
    ("-1m", math.inf),
    ("+5s", 5.0),
]


@pytest.mark.parametrize(("value", "seconds"), KEEP_ALIVES)
def test_keep_alive_is_seconds_or_a_go_duration(value, seconds):
    assert keep_alive_seconds(value) == seconds


@pytest.mark.parametrize("value", ["", "300", "-1", "5 m", "m", "5x", True, [5]])
def test_any_other_keep_alive_is_refused(value):
    with pytest.raises(ValueError, match="duration"):
        keep_alive_seconds(value)


async def test_a_busy_model_stays_loaded_and_an_idle_one_leaves_when_its_time_is_over(server, http):
    gate = server.hold("code", after=1)
    reading = asyncio.create_task(read(chat(http, server, keep_alive=0)))
    await server.wait_for(lambda: gate.waiting == 1)
    assert list(server.residency.loaded()) == ["code"]
    gate.release()
    await reading
    await server.wait_for(lambda: not server.request_history[0].running)
    assert server.residency.loaded() == {}
    async with chat(http, server, keep_alive=-1) as answer:
        await answer.read()
    async with http.get(server.url + "/api/ps") as answer:
        (entry,) = (await answer.json())["models"]
    assert int(entry["expires_at"][:4]) > 2300
    assert entry["size_vram"] == 0
