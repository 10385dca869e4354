"""``modelway licenses`` and ``modelway doctor``, with a server and without any."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_helpers import NOWHERE, run

from modelway.backends.mock import MockModelConfig, MultiModelMockBackend, ServerThread, run_in_thread
from modelway.config import Config
from modelway.errors import NoModelAvailable
from modelway.privacy.consent import ConsentStore
from modelway.privacy.ledger import EgressLedger, Sending
from modelway.router import ModelRouter


@pytest.fixture(autouse=True)
def only_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration and no state of this machine is found, and no server of it is asked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MODELWAY_CONFIG", raising=False)
    for variable in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "own"))
    monkeypatch.setenv("OLLAMA_HOST", NOWHERE)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ServerThread]:
    models = {
        "free:7b": MockModelConfig(license_text="MIT License\n\nPermission is hereby granted"),
        "llama:7b": MockModelConfig(license_text="LLAMA 3.1 COMMUNITY LICENSE AGREEMENT\n" + "words\n" * 500),
        "house:7b": MockModelConfig(license_text="House Rules\nBe kind.", capabilities=["completion", "tools"]),
        "silent:7b": MockModelConfig(size_bytes=100, vram_bytes=40),
        "far:cloud": MockModelConfig(remote_host="https://ollama.com:443"),
    }
    with run_in_thread(MultiModelMockBackend(models)) as running:
        monkeypatch.setenv("OLLAMA_HOST", running.url)
        yield running


def configured(folder: Path, text: str) -> Path:
    file = folder / "modelway.toml"
    file.write_text(text)
    file.chmod(0o600)
    return file


DECLARED = '[[models]]\nid = "own"\nlicense = "GPL-3.0 OR Apache-2.0"\n'


def test_licences_of_all_models_the_freest_first(tmp_path: Path, server: ServerThread) -> None:
    configured(tmp_path, DECLARED)
    result = run("licenses")
    assert (result.exit_code, result.stderr) == (0, "")
    rows = [line.split(maxsplit=5) for line in result.stdout.replace("House Rules", "House_Rules").splitlines()[1:7]]
    assert rows == [
        ["own", "ollama", "apache-2.0", "permissive", "configuration", "allowed"],
        ["free:7b", "ollama", "mit", "permissive", "server", "allowed"],
        ["llama:7b", "ollama", "llama3.1", "restricted", "server", "allowed"],
        ["house:7b", "ollama", "House_Rules", "unknown", "server", "allowed"],
        ["silent:7b", "ollama", "unknown", "unknown", "unknown", "allowed"],
        ["far:cloud", "ollama", "unknown", "unknown", "unknown", "allowed"],
    ]
    assert result.stdout.splitlines()[-1] == "2 permissive, 1 restricted, 3 unknown; none forbidden"


@pytest.mark.parametrize(
    "forbid", ['["unknown"]', '["Llama 3.1", "permissive"]', '["MIT"]', '["copyleft"]', '["restricted", "unknown"]']
)
def test_what_is_shown_as_forbidden_is_what_the_router_forbids(
    tmp_path: Path, server: ServerThread, forbid: str
) -> None:
    file = configured(tmp_path, f"[licenses]\nforbid = {forbid}\n{DECLARED}")
    listed = json.loads(run("licenses", "--json").stdout)["models"]
    # The router is told what was found, so that it needs no server.
    found = [one for one in listed if one["according_to"] != "configuration"]
    told = "".join(f'[[models]]\nid = "{one["model"]}"\nlicense = "{one["license"] or "?"}"\n' for one in found)
    assert {one["model"] for one in listed if one["forbidden"]} == forbidden_by_the_router(file.read_text() + told)


def forbidden_by_the_router(toml: str) -> set[str]:
    router = ModelRouter(Config.from_toml(toml))
    try:
        rejected = router.select("hello").rejected
    except NoModelAvailable:
        return {model.id for model in router.settings.models}
    return {model for model, why in rejected if why == "license"}


def test_licences_as_json_and_csv(tmp_path: Path, server: ServerThread) -> None:
    configured(tmp_path, '[licenses]\nforbid = ["Restricted"]\n')
    document = json.loads(run("licenses", "--json").stdout)
    assert document["totals"] == {"permissive": 1, "copyleft": 0, "restricted": 1, "proprietary": 0, "unknown": 3}
    assert document["forbid"] == ["restricted"]
    rows = list(csv.DictReader(io.StringIO(run("licenses", "--csv").stdout)))
    assert [row["model"] for row in rows] == [one["model"] for one in document["models"]]
    assert rows[1] == {
        "model": "llama:7b", "backend": "ollama", "license": "llama3.1", "tier": "restricted", "according_to": "server",
        "forbidden": "yes",
    }  # fmt: skip
    both = run("licenses", "--csv", "--json")
    assert (both.exit_code, both.stdout) == (2, "")


def test_licences_without_a_server() -> None:
    result = run("licenses")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "No models" in result.stderr
    assert run("licenses", "--csv").stdout.splitlines() == ["model,backend,license,tier,according_to,forbidden"]


def checks(*arguments: str) -> tuple[int, dict[str, str]]:
    """The exit code, and each check that found something with its severity."""
    result = run("doctor", "--json", *arguments)
    document = json.loads(result.stdout)
    severities = [finding["severity"] for finding in document["findings"]]
    assert (document["problems"], document["notes"]) == (severities.count("problem"), severities.count("note"))
    return result.exit_code, {finding["check"]: finding["severity"] for finding in document["findings"]}


def test_the_doctor_without_a_server() -> None:
    result = run("doctor")
    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout.splitlines() == [
        "problem  it does not answer, so none of its models can",
        f"where    ollama ({NOWHERE})",
        "remedy   ollama serve, or correct its [[backends]] entry",
        "",
        "1 problem, no notes",
    ]


def test_the_doctor_with_nothing_to_say(tmp_path: Path, server: ServerThread) -> None:
    names = ("free:7b", "llama:7b", "house:7b", "silent:7b")
    configured(tmp_path, "".join(f'[[models]]\nid = "{name}"\nlicense = "mit"\nmax_context = 8192\n' for name in names))
    server.call(lambda: server.server.models.pop("far:cloud"))
    result = run("doctor")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "Nothing is wrong here.\n", "")


def test_notes_alone_are_no_failure(server: ServerThread) -> None:
    assert checks() == (0, {"cloud_models": "note", "unknown_licenses": "note", "unstable_context": "note"})
    assert not server.server.request_history


def test_all_that_can_be_wrong(tmp_path: Path, server: ServerThread) -> None:
    file = configured(
        tmp_path,
        '[defaults]\ngeneral = "gone"\ntool_use = "free:7b"\n'
        '[privacy]\nallow_external = true\nsecret_scan_before_external = false\n[state]\nfolder = "state"\n'
        '[[privacy.consents]]\ndestination = "old.example"\nsince = 2020-01-01\n',
    )
    file.chmod(0o646)
    state = tmp_path / "state"
    ConsentStore(state).grant("far.example", ["text"])
    receipt = EgressLedger(state).open(Sending("r", "far.example", "m", ("text",), 1, "c"))
    receipt.close(1, "answered")
    ledger = state / "egress.jsonl"
    ledger.write_text(ledger.read_text().replace('"far.example"', '"fat.example"'))
    assert run("ask", "--model", "silent:7b", "hello").exit_code == 0
    code, found = checks()
    assert code == 1
    assert found == {
        "missing_models": "problem", "missing_tools": "problem", "exposed_files": "problem", "ledger_chain": "problem",
        "cloud_models": "note", "old_consents": "note", "useless_consents": "note", "unsearched_text": "note",
        "unknown_licenses": "note", "cpu_offload": "note", "unstable_context": "note",
    }  # fmt: skip


def test_a_configuration_that_cannot_be_used_is_told_as_everywhere(tmp_path: Path) -> None:
    configured(tmp_path, '[licenses]\nforbid = ["restrcited"]\n')
    for command in ("doctor", "licenses"):
        result = run(command)
        assert (result.exit_code, result.stdout) == (2, "")
        assert 'did you mean "restricted"?' in result.stderr
