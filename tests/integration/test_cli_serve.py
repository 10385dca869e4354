"""``serve``: one ready line, requests until a signal, exit 0."""

from __future__ import annotations

import http.server
import json
import signal
import threading
import urllib.request

import pytest
from cli_helpers import NOWHERE, run, start, write_config


@pytest.mark.parametrize(
    ("arguments", "number"), [(("--port", "0"), signal.SIGTERM), (("--json",), signal.SIGINT)], ids=["plain", "json"]
)
def test_serve_says_where_it_listens_and_ends_with_zero(tmp_path, monkeypatch, arguments, number) -> None:
    monkeypatch.setenv("MODELWAY_HOST", "localhost:0")
    process = start("serve", *arguments, "--config", write_config(tmp_path, NOWHERE))
    ready = process.stdout.readline()
    if "--json" in arguments:
        address = json.loads(ready)["address"]
    else:
        address = ready.removeprefix("modelway is listening on ").strip()
    assert address.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(f"{address}/health", timeout=3) as answer:
        assert answer.status == 200
    process.send_signal(number)
    out, err = process.communicate(timeout=4)
    assert (process.returncode, out, err) == (0, "", "")


#: What the models of the first backend share.
ROOM = "memory_bytes = 9_000_000_000\n[[models]]"


def test_models_knows_health_and_load_while_a_gateway_runs(tmp_path, monkeypatch) -> None:
    config = write_config(tmp_path, NOWHERE)
    config.write_text(config.read_text().replace("manage = false", "").replace("[[models]]", ROOM, 1))
    monkeypatch.setenv("MODELWAY_HOST", "127.0.0.1:0")
    process = start("serve", "--config", config)
    monkeypatch.setenv("MODELWAY_HOST", process.stdout.readline().rpartition("/")[2].strip())
    try:
        shown = run("models", "--config", config)
        listed = {model["id"]: model for model in json.loads(run("models", "--json", "--config", config).stdout)}
        config.write_text(config.read_text() + '[[models]]\nid = "new"\n')
        other = run("models", "--config", config)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=4)
    heading, *rows = shown.stdout.splitlines()
    assert heading.split()[-6:] == ["WARM", "IN", "MEMORY", "HEALTH", "RUNNING", "WAITING"]
    assert [row.split()[-4:] for row in rows] == [["unknown", "available", "0", "0"]] * 3
    assert [row.count("unknown: its server does not answer") for row in rows] == [1, 1, 1]
    assert listed["tiny-code"]["in_memory"] == {
        "warmth": None,
        "held_bytes": None,
        "why_unknown": "its server does not answer",
    }
    assert (listed["tiny-code"]["running"]["state"], listed["tiny-code"]["running"]["waiting"]) == ("closed", 0)
    assert other.stdout.splitlines()[-1].endswith("not served"), "the gateway has read an older file"


@pytest.mark.parametrize(
    "answer", [b"{}", b"[]", b"no JSON", b'{"models": [3]}', b'{"models": [{"model": "tiny-code"}]}']
)
def test_models_takes_nothing_from_a_server_that_is_no_gateway(tmp_path, monkeypatch, answer) -> None:
    class Stranger(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Stranger) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        monkeypatch.setenv("MODELWAY_HOST", f"127.0.0.1:{server.server_port}")
        result = run("models", "--config", write_config(tmp_path, NOWHERE))
        thread.join()
    assert (result.exit_code, result.stderr) == (0, "")
    assert "HEALTH" not in result.stdout
