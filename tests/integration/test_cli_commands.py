"""``route``, ``models``, ``config`` and wrong use: what each prints where, and its exit code. No model is asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request

import pytest
from cli_helpers import CODE_PROMPT, NOWHERE, models_served, run, start, write_config

import modelway


@pytest.fixture(autouse=True)
def only_this_folder(tmp_path, monkeypatch) -> None:
    """No configuration of this machine is found, and no server of it is asked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MODELWAY_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("OLLAMA_HOST", NOWHERE)


@pytest.fixture
def config(tmp_path):
    return write_config(tmp_path, NOWHERE)


@pytest.mark.parametrize(
    ("arguments", "code", "out", "err"),
    [
        (["route", CODE_PROMPT], 0, ["tiny-code", "on this device (ollama)", "code", "then        tiny-general"], []),
        (["route", CODE_PROMPT, "--task", "general"], 0, ["tiny-general", "general"], []),
        (["route", CODE_PROMPT, "--task", "CodeGeneration"], 0, ["tiny-code"], []),
        (["route", "hello", "--model", "coder"], 0, ["model       tiny-code"], []),
        (["route", CODE_PROMPT, "--images", "1"], 0, ["model       tiny-general"], []),
        (["route", "hello", "--model", "tiny-cod"], 1, [], ["error: ", "tiny-code"]),
        (["route", "hello", "--task", "coed"], 2, [], ["--task", "code"]),
        (["route", "hello", "--images", "-1"], 2, [], ["--images"]),
        (["route", "hello", "--tools"], 1, [], ["error: "]),
        (["route", "hello", "--nonsense"], 2, [], ["--nonsense"]),
        (["nonsense"], 2, [], ["nonsense"]),
        ([], 2, [], ["Missing command"]),
        (["--help"], 0, ["Commands", "route", "chat", "serve"], []),
        (["--version"], 0, ["modelway "], []),
        (["models"], 0, ["tiny-general", "on this device", "8192", "permissive", "4.1 GB", "at a provider"], []),
        (["config", "check"], 0, [], ["no problems"]),
        (["config", "show"], 0, ["default  server.port = 11633", 'file     models[1].aliases = ["coder"]'], []),
        (["serve", "--host", "192.0.2.1"], 2, [], ["192.0.2.1"]),
        (["ask", "hello", "--image", "missing.png"], 2, [], ["missing.png", "No such file"]),
        (["ask", "hello", "--image", "models.toml"], 2, [], ["models.toml", "PNG"]),
    ],
)
def test_commands(config, arguments: list[str], code: int, out: list[str], err: list[str]) -> None:
    result = run("--config", config, *arguments)
    assert result.exit_code == code, result.stderr
    for fact in out:
        assert fact in result.stdout
    for fact in err:
        assert fact in result.stderr
    assert bool(result.stdout) == bool(out)
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [("--json", "--config", "models.toml", "route", "hi"), ("route", "hi", "--config", "models.toml", "--json")],
)
def test_common_options_stand_before_and_after_the_command(config, arguments) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout)["model"] == "tiny-general"


@pytest.mark.parametrize("arguments", [("route",), ("route", "-")])
def test_prompt_comes_from_standard_input(config, arguments) -> None:
    result = run("--config", config, *arguments, text=CODE_PROMPT)
    assert "tiny-code" in result.stdout


def test_standard_input_that_is_not_text_is_refused(config) -> None:
    result = run("--config", config, "route", text=b"caf\xe9")
    assert result.exit_code == 2
    assert "byte 3" in result.stderr


def test_route_json_is_the_decision(config) -> None:
    decision = modelway.ModelRouter(modelway.load_config(config)).select(CODE_PROMPT)
    assert json.loads(run("--config", config, "route", CODE_PROMPT, "--json").stdout) == json.loads(
        json.dumps(decision.to_dict())
    )


def test_route_explain_json_adds_evidence(config) -> None:
    document = json.loads(run("--config", config, "route", CODE_PROMPT, "--explain", "--json").stdout)
    assert sum(document["scores"].values()) == pytest.approx(1, abs=1e-5)  # six digits each
    assert max(document["scores"], key=document["scores"].get) == "code"
    words = {
        CODE_PROMPT[item["start"] : item["end"]].lower() for item in document["evidence"] if item["task"] == "code"
    }
    assert "function" in words
    assert document["rejected"] == [["far-away", "external"]]


def test_route_explain_quotes_the_words_and_gives_each_rejected_model_a_sentence(config) -> None:
    result = run("--config", config, "route", "Sag mir: 这个 function\x1b[31m", "--explain")
    lines = result.stdout.splitlines()
    scores = [float(line.split()[1]) for line in lines[lines.index("scores") + 1 : lines.index("evidence")]]
    assert scores == sorted(scores, reverse=True)
    assert any("“function”" in line for line in lines)
    assert lines[lines.index("rejected") + 1 :] == [
        "  far-away  it runs at a provider, and nothing leaves this machine without consent"
    ]


def test_route_explain_says_that_with_a_named_task_nothing_is_read(config) -> None:
    result = run("--config", config, "route", "hello", "--task", "code", "--explain")
    assert "the prompt was not read" in result.stdout


def test_models_json_lists_every_model(config) -> None:
    listed = {model["id"]: model for model in json.loads(run("models", "--json", "--config", config).stdout)}
    assert list(listed) == ["tiny-general", "tiny-code", "far-away"]
    assert listed["tiny-code"]["aliases"] == ["coder"]
    assert listed["far-away"]["location"] == "external"
    assert listed["tiny-general"]["strengths_guessed"] is False
    assert listed["tiny-general"]["running"] is None, "no gateway runs"


def test_models_tells_what_the_servers_know_of_declared_models(tmp_path) -> None:
    with models_served() as server:
        config = write_config(tmp_path, server.url)
        listed = {model["id"]: model for model in json.loads(run("models", "--json", "--config", config).stdout)}
        shown = run("models", "--config", config).stdout
        assert not server.server.request_history
    code = listed["tiny-code"]
    assert (code["quantization"], code["parameters"], code["family"]) == ("Q4_K_M", "7.6B", "llama")
    assert (code["size_bytes"], code["memory_bytes"]) == (4_000_000_000, 4_100_000_000)
    assert listed["far-away"]["quantization"] is None
    assert "4.0 GB" in shown
    assert "4.1 GB" in shown
    assert "unknown" in next(line for line in shown.splitlines() if line.startswith("far-away"))


def test_models_tells_what_is_in_memory_without_a_gateway_too(tmp_path) -> None:
    with models_served() as server:
        text = f'[[backends]]\nname = "box"\nkind = "ollama"\nurl = "{server.url}"\nmemory_bytes = 9_000_000_000\n'
        text += f'[[backends]]\nname = "other"\nkind = "openai"\nurl = "{server.url}"\n'
        text += '[[models]]\nid = "warm"\nname = "tiny-code"\n[[models]]\nid = "cold"\nname = "tiny-general"\n'
        text += '[[models]]\nid = "theirs"\nname = "tiny-code"\nbackend = "other"\n'
        config = tmp_path / "models.toml"
        config.write_text(text)
        body = json.dumps({"model": "tiny-code", "messages": []}).encode()
        urllib.request.urlopen(f"{server.url}/api/chat", body).close()
        listed = {model["id"]: model for model in json.loads(run("models", "--json", "--config", config).stdout)}
        shown = run("models", "--config", config).stdout
    known = {id_: model["in_memory"]["warmth"] for id_, model in listed.items() if id_ in {"warm", "cold", "theirs"}}
    assert known == {"warm": "warm", "cold": "cold", "theirs": None}
    assert listed["warm"]["in_memory"]["held_bytes"] == 4_000_000_000
    assert "unknown: its server loads and unloads as it likes" in shown


def test_without_configured_models_those_of_this_device_are_found_and_guesses_are_marked(monkeypatch) -> None:
    with models_served() as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        result = run("models")
        routed = run("route", CODE_PROMPT)
        assert not server.server.request_history
    assert result.exit_code == 0, result.stderr
    assert "tiny-code" in result.stdout
    assert "code?" in result.stdout
    assert "guessed" in result.stderr
    assert "tiny-code" in routed.stdout


def test_without_any_model_the_commands_say_so() -> None:
    listed = run("models")
    assert (listed.exit_code, listed.stdout) == (0, "")
    assert "No models" in listed.stderr
    assert json.loads(run("models", "--json").stdout) == []
    routed = run("route", "hello")
    assert (routed.exit_code, routed.stdout) == (1, "")
    assert routed.stderr.startswith("error: ")


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("[defaults]\nembedding = 'x'\n[server]\nprt = 1\n", {"defaults.embedding", "server.prt"}),
        ("[fallbacks]\ncode = ['depe']\n[defaults]\ncode = 'a'\n", {"fallbacks.code[0]"}),
        ("[[models]]\nid = 'a'\nbackend = 'nowhere'\n", {"models[0].backend"}),
    ],
)
def test_config_check_names_every_problem(tmp_path, text: str, paths: set[str]) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(text)
    result = run("config", "check", "--config", file)
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == len(paths)
    assert all(any(path in line for line in result.stderr.splitlines()) for path in paths)
    as_json = run("config", "check", "--json", "--config", file)
    assert as_json.exit_code == 2
    assert {problem["path"] for problem in json.loads(as_json.stdout)} == paths
    assert run("route", "hello", "--config", file).exit_code == 2


def test_config_check_json_of_a_sound_file_is_an_empty_list(config) -> None:
    result = run("config", "check", "--json", "--config", config)
    assert (result.exit_code, json.loads(result.stdout)) == (0, [])


@pytest.mark.parametrize(
    "command", [("route", "hello"), ("models",), ("config", "check"), ("ask", "hello"), ("serve",)]
)
def test_missing_configuration_is_wrong_configuration(tmp_path, command) -> None:
    result = run(*command, "--config", tmp_path / "missing.toml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "missing.toml" in result.stderr


def test_config_show_json_says_where_each_value_comes_from(config) -> None:
    described = json.loads(run("config", "show", "--json", "--config", config).stdout)
    assert described["source"] == str(config)
    assert described["sources"]["models[0].license"] == "file"
    assert described["sources"]["server.port"] == "default"


def test_config_show_lists_each_limit_in_force(config) -> None:
    config.write_text(
        config.read_text()
        .replace('kind = "ollama"', 'kind = "ollama"\nmax_connections = 8')
        .replace('id = "tiny-code"', 'id = "tiny-code"\nmax_concurrent = 2')
        + "[limits]\nrequests_per_minute = 600\nrequest_burst = 9\n"
        + "[limits.user]\nquota_tokens = 50_000\nquota_window_s = 3_600\n"
    )
    shown = run("config", "show", "--config", config).stdout.partition("# limits in force\n")[2]
    assert [" ".join(line.split()) for line in shown.splitlines()] == [
        "user 50,000 tokens in each 3,600 s",
        "all 10,000 users kept apart by their limits",
        "all 600 requests in 60 s, of which 9 at once",
        "backend ollama 512 requests may wait",
        "backend ollama 20 second attempts for 100 requests",
        "model tiny-code 2 requests at once",
        "backend ollama 8 connections at once",
    ]
    described = json.loads(run("config", "show", "--json", "--config", config).stdout)
    assert {"what": "connections", "unit": "connections", "limit": 8, "of": "backend ollama"} in described["limits"]


def test_config_show_without_a_file_says_so() -> None:
    assert run("config", "show").stdout.startswith("# built in")


def test_config_schema_knows_the_tables() -> None:
    schema = json.loads(run("config", "schema").stdout)
    assert {"defaults", "models", "backends", "server"} <= schema["properties"].keys()


LIGHT = """
import sys
from modelway.cli.main import cli
cli(sys.argv[1:], standalone_mode=False)
print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("arguments", "unloaded"),
    [
        (["--version"], {"aiohttp", "asyncio", "pydantic", "numpy", "textual"}),
        (["route", "hello", "--config", "models.toml"], {"aiohttp", "asyncio", "numpy", "textual"}),
    ],
)
def test_commands_load_no_more_than_they_need(config, arguments: list[str], unloaded: set[str]) -> None:
    process = subprocess.run([sys.executable, "-c", LIGHT, *arguments], capture_output=True, text=True, check=True)
    loaded = set(process.stderr.split())
    assert "click" in loaded
    assert not loaded & unloaded


def test_reader_that_leaves_ends_the_command_quietly(config) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = start("route", "hello", "--config", config, stdout=writing)
    os.close(writing)
    _, err = process.communicate(timeout=4)
    assert (process.returncode, err) == (130, "")


def test_module_is_the_command_and_needs_no_terminal(config) -> None:
    process = start("route", "hello", "--config", config)
    out, err = process.communicate(timeout=4)
    assert (process.returncode, err) == (0, "")
    assert "tiny-general" in out
    assert "\x1b" not in out
