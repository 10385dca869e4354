"""Each check of the doctor, as a table: what it is shown, and what it finds."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from modelway.backends.base import RunningModel, ServedModel
from modelway.config import Config
from modelway.discovery import complete
from modelway.doctor import model_checks as models
from modelway.doctor import privacy_checks as privacy
from modelway.doctor.diagnosis import CHECKS, findings_of
from modelway.doctor.examined import Examined, Machine
from modelway.doctor.finding import Finding
from modelway.doctor.machine import Kept, kept_files, open_ports, ports_for_all
from modelway.monitor.checks import Seen
from modelway.privacy.consent import Consent

FAR = '[[backends]]\nname = "far"\nkind = "openai"\nurl = "https://far.example"\n'
NOW = datetime(2026, 6, 1, tzinfo=UTC)
CHAT = frozenset({"completion"})
#: A model about which nothing is to be said.
SOUND = '[[models]]\nid = "m"\nlicense = "mit"\nmax_context = 4096\n'
SERVED = ServedModel("m", CHAT)


def shown(
    toml: str = SOUND,
    served: Sequence[ServedModel] | None = (SERVED,),
    *,
    running: Mapping[str, Sequence[RunningModel]] | None = None,
    **machine: Any,
) -> Examined:
    """``served``: what the backend ``ollama`` says that it has; None: it does not answer."""
    config = Config.from_toml(toml)
    seen = {}
    if any(backend.name == "ollama" for backend in config.backends):
        seen = {"ollama": Seen(served is not None, served)}
        config = complete(config, {"ollama": served or ()})
    return Examined(config, seen, running or {}, Machine(**machine), NOW)


def consent(destination: str, *, days: float = 1, origin: Any = "cli", until: datetime | None = None) -> Consent:
    since = NOW - timedelta(days=days)
    return Consent(id="c1", destination=destination, kinds=("text",), since=since, until=until, origin=origin)


def facts(findings: Sequence[Finding]) -> list[tuple[str, tuple[str, ...]]]:
    return [(finding.severity, finding.where) for finding in findings]


@pytest.fixture(autouse=True)
def _own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OLLAMA_HOST", raising=False)


def test_nothing_is_said_of_what_is_sound() -> None:
    assert findings_of(shown()) == []


def test_problems_come_first_and_each_finding_has_a_remedy() -> None:
    found = findings_of(
        shown(
            '[defaults]\ngeneral = "gone"\n' + SOUND.replace("mit", "?"),
            (SERVED, ServedModel("x:cloud")),
            ledger_problem="record 2 was changed",
        )
    )
    assert [finding.check for finding in found] == [
        "missing_models", "ledger_chain", "cloud_models", "unknown_licenses", "unstable_context",
    ]  # fmt: skip
    assert [finding.severity for finding in found] == ["problem"] * 2 + ["note"] * 3
    assert all(finding.what and finding.where and finding.remedy for finding in found)
    assert {finding.check for finding in found} <= {check.__name__ for check in CHECKS}


def test_a_server_that_does_not_answer() -> None:
    (found,) = models.silent_servers(shown(served=None))
    assert facts([found]) == [("problem", ("ollama (http://127.0.0.1:11434)",))]
    assert found.remedy.startswith("ollama serve")
    assert list(models.missing_models(shown(served=None))) == []


@pytest.mark.parametrize(
    ("toml", "found"),
    [
        (SOUND, []),
        ('[[models]]\nid = "gone"\n', [("note", ("gone",))]),
        ('[defaults]\ncode = "gone"\n', [("problem", ("gone",))]),
        ('[defaults]\ncode = "short"\n[[models]]\nid = "gone"\naliases = ["short"]\n', [("problem", ("gone",))]),
        ('[defaults]\ncode = "M"\n[[models]]\nid = "M"\n', []),
        ('[[models]]\nid = "x:cloud"\n', []),
    ],
)
def test_models_that_are_missing(toml: str, found: list[Any]) -> None:
    assert facts(list(models.missing_models(shown(toml)))) == found


def test_how_a_missing_model_is_got() -> None:
    (found,) = models.missing_models(shown('[[models]]\nid = "mine"\nname = "qwen 3:8b"\n'))
    assert found.remedy == "ollama pull 'qwen 3:8b'"
    toml = '[[backends]]\nname = "ollama"\nkind = "llama_cpp"\n'
    toml += '[[models]]\nid = "f"\nbackend = "ollama"\npath = "/x/f.gguf"\n'
    (found,) = models.missing_models(shown(toml, ()))
    assert "/x/f.gguf" in found.remedy


@pytest.mark.parametrize(
    ("toml", "served", "found", "remedy"),
    [
        ('[defaults]\ntool_use = "m"\n', [ServedModel("m", CHAT)], [("problem", ("m",))], "take another"),
        (
            '[defaults]\ntool_use = "m"\n',
            [ServedModel("m", CHAT), ServedModel("n", CHAT | {"tools"})],
            [("problem", ("m",))],
            '[defaults] tool_use = "n"',
        ),
        ('[defaults]\ntool_use = "m"\n', [ServedModel("m", CHAT | {"tools"})], [], ""),
        (
            '[[models]]\nid = "m"\nstrengths = ["tool_use"]\n',
            [ServedModel("m", CHAT)],
            [("problem", ("m",))],
            "take another",
        ),
        ('[[models]]\nid = "m"\nstrengths = ["tool_use"]\nsupports_tools = true\n', [ServedModel("m", CHAT)], [], ""),
        ("", [ServedModel("tool-caller:7b", CHAT)], [], ""),  # a strength that is only guessed
    ],
)
def test_models_for_tools_that_take_none(toml: str, served: Any, found: list[Any], remedy: str) -> None:
    findings = list(models.missing_tools(shown(toml, served)))
    assert facts(findings) == found
    assert all(finding.remedy.startswith(remedy) for finding in findings)


def test_models_of_unknown_licence_are_one_note() -> None:
    toml = '[[models]]\nid = "a"\nlicense = "House Rules"\n[[models]]\nid = "b"\n' + SOUND
    assert facts(list(models.unknown_licenses(shown(toml)))) == [("note", ("a", "b"))]


@pytest.mark.parametrize(
    ("running", "has_gpu", "share"),
    [
        (RunningModel("m", 100, 100), True, None),
        (RunningModel("m", 100, 60), True, "40 %"),
        (RunningModel("m", 100, 60), False, "40 %"),
        (RunningModel("m", 10_000, 9_999), True, "1 %"),
        (RunningModel("m", 100, 0), True, "100 %"),
        (RunningModel("m", 100, 0), False, None),
        (RunningModel("m", 100, None), True, None),
        (RunningModel("m", None, 7), True, None),
        (RunningModel("m", 100, 200), True, None),
    ],
)
def test_models_partly_on_the_processor(running: RunningModel, has_gpu: bool, share: str | None) -> None:
    found = list(models.cpu_offload(shown(running={"ollama": [running]}, has_gpu=has_gpu)))
    assert facts(found) == ([] if share is None else [("note", ("m (ollama)",))])
    assert all(finding.what.startswith(f"{share} ") for finding in found)


@pytest.mark.parametrize(
    ("toml", "served", "running", "found", "context"),
    [
        (SOUND, [SERVED], [], [], ""),
        ("", [ServedModel("m", CHAT, 131_072), ServedModel("n")], [], [("note", ("m", "n"))], "8192"),
        ("", [ServedModel("m", CHAT, 2_048)], [], [("note", ("m",))], "2048"),
        (
            "",
            [ServedModel("m", CHAT, 131_072)],
            [RunningModel("m:latest", context=32_768)],
            [("note", ("m",))],
            "32768",
        ),
        ("", [ServedModel("x:cloud")], [], [], ""),
        ('[[backends]]\nname = "o"\nkind = "openai"\nurl = "http://127.0.0.1:1"\n', None, [], [], ""),
    ],
)
def test_contexts_left_to_the_server(toml: str, served: Any, running: Any, found: list[Any], context: str) -> None:
    findings = list(models.unstable_context(shown(toml, served, running={"ollama": running})))
    assert facts(findings) == found
    assert all(f"max_context = {context} " in finding.remedy for finding in findings)


def test_models_that_a_server_here_hands_on() -> None:
    served = [ServedModel("a:cloud"), ServedModel("b", remote_host="https://far.example"), SERVED]
    found = list(privacy.cloud_models(shown(served=served)))
    assert sorted(facts(found)) == [("note", ("a:cloud",)), ("note", ("b",))]
    assert {"ollama.com" in found[0].what, "far.example" in found[1].what} == {True}
    own = FAR + '[[models]]\nid = "f"\nbackend = "far"\n'
    assert list(privacy.cloud_models(shown(own))) == []


AT_9 = '[[backends]]\nname = "ollama"\nkind = "{kind}"\nurl = "http://127.0.0.1:9999"\n'


@pytest.mark.parametrize(
    ("toml", "host", "ports", "is_found"),
    [
        (SOUND, "", (), False),
        (SOUND, "", (11434,), True),
        (SOUND, "", (11435,), False),
        (SOUND, "0.0.0.0", (), True),
        (SOUND, " http://0.0.0.0:11434", (), True),
        (SOUND, '"0.0.0.0:11434"', (), True),
        (SOUND, "[::]:11434", (), True),
        (SOUND, "::", (), True),
        (SOUND, ":11434", (), True),
        (SOUND, "::1", (), False),
        (SOUND, "[::1]:11434", (), False),
        (SOUND, "0.0.0.0.example", (), False),
        (SOUND, "127.0.0.1:11434", (), False),
        (AT_9.format(kind="ollama"), "0.0.0.0", (), False),  # another server is meant
        (AT_9.format(kind="openai"), "", (9999,), True),
        (AT_9.format(kind="openai") + 'api_key_env = "KEY"\n', "", (9999,), False),
        (AT_9.format(kind="openai") + 'location = "external"\n', "", (9999,), False),
        ('[[backends]]\nname = "ollama"\nkind = "llama_cpp"\n', "0.0.0.0", (9999,), False),
    ],
)
def test_servers_open_to_the_network(toml: str, host: str, ports: tuple[int, ...], is_found: bool) -> None:
    found = list(privacy.open_servers(shown(toml, (), ollama_host=host, open_ports=frozenset(ports))))
    assert [finding.severity for finding in found] == ["problem"] * is_found


def test_ports_that_are_open_to_all() -> None:
    """Lines as Linux writes them: loopback, all of IPv4, all of IPv6, and a connection that is no listener."""
    assert ports_for_all(
        "  sl  local_address rem_address   st tx_queue rx_queue\n"
        "   0: 0100007F:2CAA 00000000:0000 0A 00000000:00000000 00:00000000\n"
        "   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000\n"
        "   2: 00000000:2CAB 0100007F:1234 01 00000000:00000000 00:00000000\n"
        "   0: 00000000000000000000000000000000:2D6D 00000000000000000000000000000000:0000 0A 0\n"
        "   1: 00000000000000000000000001000000:2D6E 00000000000000000000000000000000:0000 0A 0\n"
    ) == {0x16, 0x2D6D}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists its sockets in files")
@pytest.mark.parametrize(("address", "is_open"), [("0.0.0.0", True), ("127.0.0.1", False)])
def test_a_port_of_this_machine(address: str, is_open: bool) -> None:
    with socket.create_server((address, 0)) as listening:
        assert (listening.getsockname()[1] in open_ports()) is is_open


@pytest.mark.parametrize(
    ("role", "writers", "others_read", "severity", "remedy"),
    [
        ("configuration", None, True, None, ""),
        ("configuration", "others may write to it", True, "problem", "chmod go-w /f"),
        ("keys", None, False, None, ""),
        ("keys", None, True, "problem", "chmod 600 /f"),
        ("consents", None, True, "note", "chmod 600 /f"),
        ("consents", "others may write to it", True, "problem", "chmod 600 /f"),
        ("consents", "it belongs to another user", False, "problem", "chmod 600 /f, and chown it to yourself"),
        ("ledger", None, True, "note", "chmod 600 /f"),
        ("ledger", "others may write to it", False, "problem", "chmod 600 /f"),
        ("state", None, True, None, ""),
        ("state", "others may write to it", True, "problem", "chmod 700 /f"),
    ],
)
def test_files_open_to_others(role: Any, writers: str | None, others_read: bool, severity: Any, remedy: str) -> None:
    found = list(privacy.exposed_files(shown(kept=[Kept(Path("/f"), role, writers, others_read)])))
    assert [(finding.severity, finding.remedy) for finding in found] == ([(severity, remedy)] if severity else [])


def test_the_files_that_are_looked_at(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    modes = {
        tmp_path / "modelway.toml": 0o646, tmp_path / ".env": 0o644, state / "consents.json": 0o600,
        state / "egress.jsonl": 0o640, state / "egress-000001.jsonl": 0o602, state / "other": 0o666,
    }  # fmt: skip
    for file, mode in modes.items():
        file.write_text("# a comment\nexport MY_KEY = x\n")
        file.chmod(mode)

    def looked_at(*keys: str) -> list[tuple[str, bool, bool]]:
        kept = kept_files(tmp_path / "modelway.toml", tmp_path, state, keys)
        return [(one.role, one.writers is not None, one.others_read) for one in kept]

    told = [("state", False, False), ("consents", False, False), ("ledger", True, False), ("ledger", False, True)]
    assert looked_at("MY_KEY") == [("configuration", True, True), ("keys", False, True), *told]
    assert looked_at("OTHER_KEY") == [("configuration", True, True), *told]
    assert kept_files(None, tmp_path / "none", tmp_path / "none", ["MY_KEY"]) == []


def test_a_group_of_one_is_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "modelway.toml"
    file.touch()
    file.chmod(0o664)
    own = file.stat()
    for group, is_told in ((own.st_uid, False), (own.st_uid + 1, True)):
        changed = os.stat_result((*own[:5], group, *own[6:]))
        monkeypatch.setattr(Path, "stat", lambda _, changed=changed: changed)
        ((configuration, *_),) = [kept_files(file, tmp_path / "none", tmp_path / "none", [])]
        assert (configuration.writers is not None) is is_told


def test_a_broken_ledger() -> None:
    assert [finding.severity for finding in privacy.ledger_chain(shown(ledger_problem="changed"))] == ["problem"]
    assert list(privacy.ledger_chain(shown())) == []


@pytest.mark.parametrize(
    ("given", "is_found"),
    [
        (consent("far.example", days=364), False),
        (consent("far.example", days=366), True),
        (consent("far.example", days=366, until=NOW - timedelta(days=1)), False),
        (consent("far.example", days=366, until=NOW + timedelta(days=1)), True),
    ],
)
def test_consents_older_than_a_year(given: Consent, is_found: bool) -> None:
    assert facts(list(privacy.old_consents(shown(consents=[given])))) == [("note", ("c1",))] * is_found


@pytest.mark.parametrize(
    ("toml", "served", "given", "is_found"),
    [
        (SOUND, [SERVED], consent("far.example"), True),
        (SOUND, None, consent("far.example"), False),
        (SOUND, [ServedModel("a:cloud")], consent("ollama.com"), False),
        (FAR, None, consent("far.example"), False),
        (FAR, None, consent("far.example:8443"), True),
        (SOUND, [SERVED], consent("far.example", until=NOW), False),
    ],
)
def test_consents_to_places_where_no_model_is(toml: str, served: Any, given: Consent, is_found: bool) -> None:
    assert (
        facts(list(privacy.useless_consents(shown(toml, served, consents=[given])))) == [("note", ("c1",))] * is_found
    )


def test_a_consent_is_ended_where_it_stands() -> None:
    (by_command,) = privacy.useless_consents(shown(consents=[consent("far.example")]))
    (by_file,) = privacy.useless_consents(shown(consents=[consent("far.example", origin="config")]))
    assert by_command.remedy.startswith("modelway consent revoke c1")
    assert "[[privacy.consents]]" in by_file.remedy


@pytest.mark.parametrize(
    ("allow", "scan", "is_found"),
    [(False, False, False), (False, True, False), (True, True, False), (True, False, True)],
)
def test_text_that_leaves_unsearched(allow: bool, scan: bool, is_found: bool) -> None:
    toml = f"[privacy]\nallow_external = {allow}\nsecret_scan_before_external = {scan}\n".replace("T", "t")
    found = list(privacy.unsearched_text(shown(toml.replace("F", "f"))))
    assert [finding.severity for finding in found] == ["note"] * is_found
