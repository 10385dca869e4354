"""``serve``: one ready line, requests until a signal, exit 0."""

from __future__ import annotations

import json
import signal
import urllib.request

import pytest
from cli_helpers import NOWHERE, start, write_config


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
