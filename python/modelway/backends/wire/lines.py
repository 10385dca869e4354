"""Bytes in bursts of any size in, complete records out: lines (NDJSON) and server-sent events.

Pure and linear in the bytes: a record that comes byte by byte is joined once, not copied each time.
Nothing is decoded here, so a character cut between two bursts is whole again in its record.
"""

from __future__ import annotations

from typing import Protocol

#: The bound that Ollama's own client puts on a line.
MAX_RECORD_BYTES = 8 * 1024 * 1024


class RecordTooLong(ValueError):
    """A record passed the bound before it ended; the stream can't be read further."""


class Framer(Protocol):
    """Cuts a stream into records."""

    def feed(self, burst: bytes) -> list[bytes]:
        """The records that this burst completes. Raises :class:`RecordTooLong`."""
        ...

    def end(self) -> list[bytes]:
        """The records that the end of the stream completes."""
        ...


class LineFramer:
    """Lines ended by LF or CRLF; empty lines are left out."""

    def __init__(self, limit: int = MAX_RECORD_BYTES):
        self._limit = limit
        self._open: list[bytes] = []
        self._open_bytes = 0

    def feed(self, burst: bytes) -> list[bytes]:
        return [line for line in self.lines(burst) if line]

    def lines(self, burst: bytes) -> list[bytes]:
        """The lines that this burst completes, empty ones too, without their ends."""
        head, *rest = burst.split(b"\n")
        self._add(head)
        if not rest:
            return []
        lines = [b"".join(self._open), *rest]
        tail = lines.pop()
        self._open = []
        self._open_bytes = 0
        self._add(tail)
        if any(len(line) > self._limit for line in lines):
            raise RecordTooLong
        return [line.removesuffix(b"\r") for line in lines]

    def end(self) -> list[bytes]:
        """The last line, if only its line end is missing: a record ends with a bracket."""
        rest = b"".join(self._open).strip()
        self._open = []
        self._open_bytes = 0
        return [rest] if rest.endswith((b"}", b"]")) else []

    def _add(self, piece: bytes) -> None:
        self._open_bytes += len(piece)
        if self._open_bytes > self._limit:
            raise RecordTooLong
        if piece:
            self._open.append(piece)


class SseFramer:
    """The data of server-sent events; comments, names, ids and events without data are left out."""

    def __init__(self, limit: int = MAX_RECORD_BYTES):
        self._limit = limit
        self._lines = LineFramer(limit)
        self._data: list[bytes] = []
        self._data_bytes = 0

    def feed(self, burst: bytes) -> list[bytes]:
        events: list[bytes] = []
        for line in self._lines.lines(burst):
            self._take(line, events)
        return events

    def end(self) -> list[bytes]:
        events: list[bytes] = []
        for line in self._lines.end():
            self._take(line, events)
        self._take(b"", events)
        return events

    def _take(self, line: bytes, events: list[bytes]) -> None:
        if not line:
            if self._data:
                events.append(b"\n".join(self._data))
                self._data = []
                self._data_bytes = 0
        elif line.startswith(b"data:"):
            value = line[5:].removeprefix(b" ")
            self._data_bytes += len(value)
            if self._data_bytes > self._limit:
                raise RecordTooLong
            self._data.append(value)
