"""The egress ledger: what was sent to other places, written down before it goes.

A line a record, each with the hash of the one before: whoever edits, removes or adds a line in the middle breaks the
chain. Against the removal of the last lines, and against a rewrite of the whole, only the head helps (the hash of the
last record), kept elsewhere. Never holds anything of what was sent.

A sending has two records: ``sending`` before its first byte, ``sent`` after its last. One without the other was cut off
by the end of the process.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from modelway.privacy.private_file import append, locked, unusable

#: A file of this size is put aside and the next begun; the chain goes on.
ROTATE_BYTES = 8 * 1024 * 1024
#: What the first record has in the place of the hash before.
_BEGINNING = "0" * 64
_ASIDE = re.compile(r"egress-(\d{6})\.jsonl")
#: No record is longer: names have at most 200 characters.
_MAX_RECORD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Sending:
    """What is about to be sent. ``consent`` is the id of what allows it, ``redacted`` what was taken out before."""

    request_id: str
    destination: str
    model: str
    kinds: tuple[str, ...]
    body_bytes: int
    consent: str
    redacted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """A sending that stands in the ledger as record ``seq``."""

    ledger: EgressLedger
    seq: int

    def close(self, sent_bytes: int, outcome: str) -> None:
        """Write down how it ended: how much of the body went out, and ``answered`` or a kind of failure.

        Raises :class:`StateError`.
        """
        self.ledger._add({"kind": "sent", "of": self.seq, "sent_bytes": sent_bytes, "outcome": outcome})


@dataclass(frozen=True, slots=True)
class Entry:
    """One sending as it stands in the ledger; ``sent_bytes`` and ``outcome`` None: it never ended."""

    seq: int
    time: datetime
    sending: Sending
    sent_bytes: int | None
    outcome: str | None


class Head(NamedTuple):
    """The end of the chain; ``seq`` 0: nothing was ever sent."""

    seq: int
    hash: str


class EgressLedger:
    """The ledger in ``folder``. Every call reads or writes files, and blocks for that long."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "egress.jsonl"

    def open(self, sending: Sending) -> Receipt:
        """Write down what is about to be sent; when this returns it is on the disk.

        Raises :class:`StateError`; then nothing may be sent.
        """
        record = {"kind": "sending"} | {field: getattr(sending, field) for field in _OF_SENDING}
        return Receipt(self, self._add(record))

    def head(self) -> Head:
        """The last record's number and hash. Raises :class:`StateError`."""
        last = next(iter(_last_records(self._files())), None)
        return Head(0, _BEGINNING) if last is None else Head(last["seq"], last["hash"])

    def entries(self) -> list[Entry]:
        """All sendings, the oldest first. Raises :class:`StateError` where a file can't be read."""
        found: dict[int, Entry] = {}
        for line in self._lines():
            record = _parsed(line)
            if record is None:
                continue
            if record["kind"] == "sending":
                found[record["seq"]] = _entry(record)
            elif (began := found.get(record["of"])) is not None:
                found[began.seq] = Entry(began.seq, began.time, began.sending, record["sent_bytes"], record["outcome"])
        return list(found.values())

    def verify(self) -> str | None:
        """The first thing that is wrong with the chain, in words; None: it is whole.

        A line that was cut off by a crash is no fault: the chain goes on behind it.
        """
        hash_before, seq = _BEGINNING, 0
        for file in self._files():
            for number, line in enumerate(_lines_of(file), 1):
                record = _parsed(line)
                if record is None:
                    continue
                where = f"{file.name}, line {number}"
                if record["seq"] != seq + 1:
                    return f"{where}: record {record['seq']} follows record {seq}; records are missing"
                if record["prev"] != hash_before:
                    return f"{where}: record {record['seq']} does not follow from the one before; that one was changed"
                if record["hash"] != _hash_of(record):
                    return f"{where}: record {record['seq']} was changed"
                hash_before, seq = record["hash"], record["seq"]
        return None

    def _add(self, record: Mapping[str, Any]) -> int:
        with locked(self.file):
            before = self.head()
            whole = {
                **record,
                "seq": before.seq + 1,
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "prev": before.hash,
            }
            whole["hash"] = _hash_of(whole)
            self._make_room()
            # A line that a crash has cut off must not swallow this one.
            torn = b"" if _ends_whole(self.file) else b"\n"
            append(self.file, torn + orjson.dumps(whole) + b"\n")
            return before.seq + 1

    def _make_room(self) -> None:
        try:
            if self.file.exists() and self.file.stat().st_size >= ROTATE_BYTES:
                aside = [int(match[1]) for file in self._files() if (match := _ASIDE.fullmatch(file.name))]
                self.file.rename(self.file.with_name(f"egress-{max(aside, default=0) + 1:06}.jsonl"))
        except OSError as error:
            raise unusable(self.file, "put aside", error) from error

    def _files(self) -> list[Path]:
        """In the order in which they were written."""
        aside = sorted(file for file in self.file.parent.glob("egress-*.jsonl") if _ASIDE.fullmatch(file.name))
        return [*aside, self.file]

    def _lines(self) -> Iterator[bytes]:
        for file in self._files():
            yield from _lines_of(file)


_OF_ALL = {"seq": int, "prev": str, "hash": str, "kind": str, "time": str}
_OF_SENDING = {
    "request_id": str, "destination": str, "model": str, "kinds": list, "body_bytes": int, "consent": str,
    "redacted": list,
}  # fmt: skip
_OF = {"sending": _OF_SENDING, "sent": {"of": int, "sent_bytes": int, "outcome": str}}


def _hash_of(record: Mapping[str, Any]) -> str:
    """Of everything but the hash itself, in one spelling; the hash before is a part."""
    content = {key: value for key, value in record.items() if key != "hash"}
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The record; None: the line is none, as it was cut off."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(record, dict) or record.get("kind") not in _OF:
        return None
    fields = _OF_ALL | _OF[record["kind"]]
    return record if all(type(record.get(key)) is kind for key, kind in fields.items()) else None


def _entry(record: Mapping[str, Any]) -> Entry:
    values = {field: tuple(record[field]) if kind is list else record[field] for field, kind in _OF_SENDING.items()}
    return Entry(record["seq"], datetime.fromisoformat(record["time"]), Sending(**values), None, None)  # type: ignore[arg-type]


def _last_records(files: list[Path]) -> Iterator[dict[str, Any]]:
    """From the last one backwards, as far as the ends of the files hold them."""
    for file in reversed(files):
        for line in reversed(_end_of(file).split(b"\n")):
            if (record := _parsed(line)) is not None:
                yield record


def _end_of(file: Path) -> bytes:
    """More than a record."""
    try:
        with file.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - 2 * _MAX_RECORD_BYTES))
            return stream.read()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise unusable(file, "read", error) from error


def _ends_whole(file: Path) -> bool:
    return _end_of(file)[-1:] in (b"", b"\n")


def _lines_of(file: Path) -> list[bytes]:
    try:
        return file.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unusable(file, "read", error) from error
