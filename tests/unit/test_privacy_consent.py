"""Consents: given, ended, shared by processes, and nothing at all where the file is not to be trusted."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import modelway as mw
from modelway.errors import StateError
from modelway.privacy.consent import ConsentStore, consents_of


def test_nothing_is_consented_to_at_first(tmp_path: Path) -> None:
    assert ConsentStore(tmp_path / "state").all() == ()
    assert not (tmp_path / "state").exists()


def test_a_consent_is_kept_and_ended(tmp_path: Path) -> None:
    store = ConsentStore(tmp_path)
    granted = store.grant("https://API.example.com:443/v1", ["code", "text"], origin="cli")
    assert (granted.destination, granted.kinds, granted.model) == ("api.example.com", ("text", "code"), None)
    assert store.all() == ConsentStore(tmp_path).all() == (granted,)
    assert stat.S_IMODE(store.file.stat().st_mode) == 0o600
    assert store.revoke("api.example.com") == (granted,)
    assert store.all() == ConsentStore(tmp_path).all() == ()
    with pytest.raises(LookupError, match="consent list"):
        store.revoke("api.example.com")


def test_a_newer_consent_replaces_one_to_the_same_place(tmp_path: Path) -> None:
    store = ConsentStore(tmp_path)
    first = store.grant("a.example", ["text"])
    of_model = store.grant("a.example", ["text"], model="m")
    second = store.grant("a.example", ["text", "code"])
    assert store.all() == (of_model, second)
    assert first.id != second.id
    assert store.revoke(of_model.id) == (of_model,)


@pytest.mark.parametrize(
    ("destination", "kinds", "hours", "message"),
    [
        ("a.example/path", ["text"], None, "write the host alone"),
        ("user@a.example", ["text"], None, "write the host alone"),
        ("a.example", ["everything"], None, '"everything" is no kind of data'),
        ("a.example", [], None, "no consent can be like this"),
        ("a.example", ["text"], -1, "is over"),
    ],
)
def test_what_is_no_consent(tmp_path: Path, destination, kinds, hours, message) -> None:
    store = ConsentStore(tmp_path)
    until = None if hours is None else datetime.now(UTC) + timedelta(hours=hours)
    with pytest.raises(ValueError, match=message):
        store.grant(destination, kinds, until=until)
    assert ConsentStore(tmp_path).all() == ()


def test_another_process_is_seen(tmp_path: Path) -> None:
    one, other = ConsentStore(tmp_path), ConsentStore(tmp_path)
    granted = one.grant("a.example", ["text"])
    assert other.all() == ()
    assert other.refresh()
    assert other.all() == (granted,)
    assert not other.refresh()
    one.revoke(granted.id)
    assert other.refresh()
    assert other.all() == ()


def test_many_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    def grant(number: int) -> None:
        ConsentStore(tmp_path).grant(f"h{number}.example", ["text"])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(grant, range(40)))
    assert len(ConsentStore(tmp_path).all()) == 40


def test_a_consent_has_a_beginning_and_an_end(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    consent = ConsentStore(tmp_path).grant("a.example", ["text"], until=now + timedelta(hours=1))
    assert not consent.is_in_force(consent.since - timedelta(seconds=1))
    assert consent.is_in_force(consent.since)
    assert not consent.is_in_force(now + timedelta(hours=1))


WHOLE = '{"format": 1, "consents": [%s]}'
ONE = (
    '{"id": "a1", "destination": "a.example", "kinds": ["text"], "model": null, '
    '"since": "2026-01-01T00:00:00Z", "until": null, "origin": "cli"}'
)


def test_the_written_form_is_read(tmp_path: Path) -> None:
    (tmp_path / "consents.json").write_text(WHOLE % ONE)
    (tmp_path / "consents.json").chmod(0o600)
    (consent,) = ConsentStore(tmp_path).all()
    assert consent.for_core() == {
        "id": "a1",
        "destination": "a.example",
        "kinds": ["text"],
        "model": None,
        "since_s": datetime(2026, 1, 1, tzinfo=UTC).timestamp(),
        "until_s": None,
    }


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ((WHOLE % ONE)[:-5], 0o600, "not whole"),
        ("", 0o600, "not whole"),
        ("[]", 0o600, "not whole"),
        (WHOLE % ONE.replace('"text"', '"all"'), 0o600, "not whole"),
        (WHOLE % ONE.replace("2026-01-01T00:00:00Z", "2026-01-01T00:00:00"), 0o600, "not whole"),
        (WHOLE % ONE.replace('"a.example"', '"a.example/b"'), 0o600, "not whole"),
        ('{"format": 2, "consents": []}', 0o600, "not whole"),
        (WHOLE % ONE, 0o620, "others may write to it"),
        (WHOLE % ONE, 0o602, "others may write to it"),
    ],
)
def test_a_file_that_is_not_to_be_trusted_is_no_consent(tmp_path: Path, caplog, text, mode, said) -> None:
    file = tmp_path / "consents.json"
    file.write_text(text)
    file.chmod(mode)
    store = ConsentStore(tmp_path)
    store.refresh()
    assert store.all() == ()
    assert [said in record.getMessage() for record in caplog.records] == [True]
    granted = store.grant("b.example", ["text"])
    assert ConsentStore(tmp_path).all() == (granted,)
    (aside,) = tmp_path.glob("consents.json.broken-*")
    assert aside.read_text() == text


def test_a_disk_that_takes_nothing_grants_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ConsentStore(tmp_path)
    kept = store.grant("a.example", ["text"])

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StateError, match=r"consents.json: can't be written \(No space left on device\)"):
        store.grant("b.example", ["text"])
    assert store.all() == ConsentStore(tmp_path).all() == (kept,)
    assert {file.name for file in tmp_path.iterdir()} <= {"consents.json", "consents.json.lock"}


def test_those_of_the_configuration_stand_beside_them(tmp_path: Path) -> None:
    config = mw.Config.from_toml(
        '[[privacy.consents]]\ndestination = "API.example.com"\nkinds = ["text", "code"]\nuntil = 2027-01-01\n'
        '[[privacy.consents]]\ndestination = "10.0.0.5:8000"\nmodel = "m"\n'
    )
    store = ConsentStore(tmp_path, config.privacy.consents)
    one, other = store.all()
    assert (one.id, one.destination, one.kinds, one.until) == (
        "config-1", "api.example.com", ("text", "code"), datetime(2027, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    assert (other.destination, other.kinds, other.model, other.until) == ("10.0.0.5:8000", ("text",), "m", None)
    with pytest.raises(LookupError, match="remove it there"):
        store.revoke("api.example.com")
    assert store.for_core() == []
    assert consents_of(config.privacy.consents, (one, other)) == (one, other)
