"""A default's model that its server does not have is told when a program starts, on stderr, with the remedy."""

from __future__ import annotations

import json
import signal
import sys
import time

import pytest
from cli_helpers import models_served, run, start, write_config

from modelway.backends.mock import MockModelConfig

NOTICE = "tiny-code, the default for code, is not on ollama; get it with: ollama pull tiny-code.\n"


@pytest.fixture
def config(tmp_path):
    """Of a server that has lost ``tiny-code``."""
    with models_served() as server:
        del server.server.models["tiny-code"]
        yield write_config(tmp_path, server.url)


@pytest.mark.parametrize("command", ["models", "chat"])
@pytest.mark.parametrize("json_only", [(), ("--json",)], ids=["plain", "json"])
def test_the_notice_stands_on_stderr_once(config, command, json_only) -> None:
    result = run(command, *json_only, "--config", config)
    assert result.exit_code == 0
    assert result.stderr.count(NOTICE) == 1
    assert "ollama pull" not in result.stdout


def test_serve_tells_it_before_its_address(config, monkeypatch) -> None:
    monkeypatch.setenv("MODELWAY_HOST", "127.0.0.1:0")
    process = start("serve", "--config", config)
    assert process.stdout.readline().startswith("modelway is listening on ")
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=4) == ("", NOTICE)


def test_nothing_is_told_where_nothing_is_missing(tmp_path) -> None:
    with models_served() as server:
        result = run("models", "--config", write_config(tmp_path, server.url))
        assert server.server.request_history == [], "no model was asked"
    assert (result.exit_code, result.stderr) == (0, "")


def test_no_command_runs_for_what_whoever_starts_can_read(config, tmp_path) -> None:
    program = [sys.executable, "-c", f"open({str(tmp_path / 'ran')!r}, 'w')"]
    config.write_text(config.read_text() + f"[health]\nalert_command = {json.dumps(program)}\n")
    assert run("models", "--config", config).exit_code == 0
    assert not (tmp_path / "ran").exists()


def test_the_command_runs_for_what_happens_later(tmp_path, monkeypatch) -> None:
    noted = tmp_path / "noted"
    code = f"import sys; open({str(noted)!r}, 'w').write(sys.argv[-1])"
    with models_served(other=MockModelConfig()) as server:
        config = write_config(tmp_path, server.url)
        program = json.dumps([sys.executable, "-S", "-c", code])
        config.write_text(config.read_text() + f"[health]\ncheck_ms = 30\nalert_command = {program}\n")
        monkeypatch.setenv("MODELWAY_HOST", "127.0.0.1:0")
        process = start("serve", "--config", config)
        process.stdout.readline()
        server.call(lambda: server.server.models.pop("tiny-code"))
        assert process.stderr.readline() == NOTICE
        while not noted.exists() or noted.read_text() != NOTICE.strip():
            time.sleep(0.005)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=4)
