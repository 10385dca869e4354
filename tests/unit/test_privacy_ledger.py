"""The egress ledger: each sending twice, in a chain that shows what was done to it."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelway.errors import StateError
from modelway.privacy import ledger as module
from modelway.privacy.ledger import EgressLedger, Sending


def sending(number: int = 1) -> Sending:
    return Sending(f"r{number}", "api.example.com", "big", ("text", "code"), 100 + number, "a1")


def filled(folder: Path, count: int = 3) -> EgressLedger:
    ledger = EgressLedger(folder)
    for number in range(1, count + 1):
        ledger.open(sending(number)).close(100 + number, "answered")
    return ledger


def test_empty(tmp_path: Path) -> None:
    ledger = EgressLedger(tmp_path / "state")
    assert (ledger.entries(), ledger.verify(), ledger.head().seq) == ([], None, 0)
    assert not (tmp_path / "state").exists()


def test_a_sending_stands_there_before_it_has_ended(tmp_path: Path) -> None:
    ledger = EgressLedger(tmp_path)
    receipt = ledger.open(sending())
    (entry,) = EgressLedger(tmp_path).entries()
    assert (entry.sending, entry.sent_bytes, entry.outcome) == (sending(), None, None)
    receipt.close(101, "answered")
    (entry,) = ledger.entries()
    assert (entry.sent_bytes, entry.outcome) == (101, "answered")
    assert ledger.verify() is None
    assert stat.S_IMODE(ledger.file.stat().st_mode) == 0o600


def test_it_goes_on_in_the_next_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROTATE_BYTES", 700)
    ledger = filled(tmp_path, 20)
    assert len(list(tmp_path.glob("egress-*.jsonl"))) > 5
    assert [entry.sending for entry in ledger.entries()] == [sending(number) for number in range(1, 21)]
    assert ledger.verify() is None
    assert ledger.head().seq == 40
    for file in tmp_path.glob("egress*.jsonl"):
        assert file.stat().st_size < 1_400


def lines(ledger: EgressLedger) -> list[str]:
    return ledger.file.read_text().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (lambda rows: [rows[0].replace("api.example.com", "api.example.org"), *rows[1:]], "record 1 was changed"),
        (lambda rows: rows[:2] + rows[3:], "record 4 follows record 2"),
        (lambda rows: [rows[1], rows[0], *rows[2:]], "record 2 follows record 0"),
        (lambda rows: rows[1:], "record 2 follows record 0"),
        (lambda rows: [*rows[:3], rows[2], *rows[3:]], "record 3 follows record 3"),
        (lambda rows: [*rows[:2], "rubbish\n", *rows[3:]], "record 4 follows record 2"),
        (lambda rows: [*rows[:3], rows[3].replace('"prev":"', '"prev":"0', 1), *rows[4:]], "does not follow"),
    ],
)
def test_what_was_done_to_it_shows(tmp_path: Path, tamper, said) -> None:
    ledger = filled(tmp_path)
    ledger.file.write_text("".join(tamper(lines(ledger))))
    assert said in (ledger.verify() or "")
    ledger.entries()


def test_one_hash_made_anew_breaks_the_next(tmp_path: Path) -> None:
    ledger = filled(tmp_path)
    rows = lines(ledger)
    record = json.loads(rows[1]) | {"sent_bytes": 1}
    record["hash"] = module._hash_of(record)
    ledger.file.write_text("".join([rows[0], json.dumps(record) + "\n", *rows[2:]]))
    assert ledger.verify() == "egress.jsonl, line 3: record 3 does not follow from the one before; that one was changed"


def test_lines_taken_from_its_end_show_only_in_the_head(tmp_path: Path) -> None:
    ledger = filled(tmp_path)
    head = ledger.head()
    ledger.file.write_text("".join(lines(ledger)[:-1]))
    assert ledger.verify() is None
    assert ledger.head() != head


@pytest.mark.parametrize("cut", [1, 2, 100])
def test_a_line_cut_off_by_a_crash_is_no_fault(tmp_path: Path, cut: int) -> None:
    ledger = filled(tmp_path)
    whole = ledger.file.read_bytes()
    ledger.file.write_bytes(whole[:-cut])
    ledger.open(sending(4)).close(104, "answered")
    assert ledger.verify() is None
    assert ledger.entries()[-1].sending == sending(4)


def test_many_that_write_at_once_make_one_chain(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: EgressLedger(tmp_path).open(sending(number)).close(1, "reset"), range(30)))
    ledger = EgressLedger(tmp_path)
    assert ledger.verify() is None
    assert sorted(entry.sending.request_id for entry in ledger.entries()) == sorted(f"r{n}" for n in range(30))
    assert {entry.outcome for entry in ledger.entries()} == {"reset"}


@pytest.mark.parametrize("what", ["fsync", "write"])
def test_a_disk_that_takes_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    ledger = filled(tmp_path, 1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, what, full)
    with pytest.raises(StateError, match=r"egress.jsonl: can't be written \(No space left on device\)"):
        ledger.open(sending())


def test_a_folder_that_can_not_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(StateError, match=r"\[state\] folder"):
        EgressLedger(tmp_path / "state").open(sending())
