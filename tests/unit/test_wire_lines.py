"""Framing: the same records come out however the bytes are cut."""

from __future__ import annotations

import pytest

from modelway.backends.wire.lines import LineFramer, RecordTooLong, SseFramer

LINES = [
    (b"", []),
    (b"\n", []),
    (b'{"a":1}\n', [b'{"a":1}']),
    (b'{"a":1}\r\n{"b":2}\r\n', [b'{"a":1}', b'{"b":2}']),
    (b'\n\n{"a":1}\n\n\n{"b":2}\n', [b'{"a":1}', b'{"b":2}']),
    ('{"a":"é😀"}\n'.encode(), ['{"a":"é😀"}'.encode()]),
    (b'{"a":"\xff\xc3"}\n', [b'{"a":"\xff\xc3"}']),
    # The last line end is missing: a whole record counts, a torn one does not.
    (b'{"a":1}\n{"done":true}', [b'{"a":1}', b'{"done":true}']),
    (b'{"a":1}\n{"done":tr', [b'{"a":1}']),
]

EVENTS = [
    (b"", []),
    (b": ping\n\n", []),
    (b"data: x\n\n", [b"x"]),
    (b"data:x\n\n", [b"x"]),
    (b"data:  x\n\n", [b" x"]),
    (b"data: x\r\n\r\ndata: y\r\n\r\n", [b"x", b"y"]),
    (b"event: error\nid: 7\nretry: 3\ndata: x\n\n", [b"x"]),
    (b"event: nothing\n\n", []),
    (b"data: one\ndata: two\n\n", [b"one\ntwo"]),
    (b"\n\n\ndata: x\n\n\n\n", [b"x"]),
    ("data: é😀\n\n".encode(), ["é😀".encode()]),
    (b"data: {}\n\ndata: [DONE]\n\n", [b"{}", b"[DONE]"]),
    # The end of the stream ends the last event, too, unless it is torn.
    (b"data: {}\n\ndata: [DONE]", [b"{}", b"[DONE]"]),
    (b"data: {}\n\ndata: [DONE]\n", [b"{}", b"[DONE]"]),
    (b'data: {}\n\ndata: {"a', [b"{}"]),
]


def framed(framer: LineFramer | SseFramer, *bursts: bytes) -> list[bytes]:
    return [record for burst in bursts for record in framer.feed(burst)] + framer.end()


@pytest.mark.parametrize(
    ("framer", "stream", "records"),
    [(LineFramer, *row) for row in LINES] + [(SseFramer, *row) for row in EVENTS],
)
def test_records_are_the_same_wherever_the_bytes_are_cut(framer, stream, records):
    for cut in range(len(stream) + 1):
        assert framed(framer(), stream[:cut], stream[cut:]) == records, cut
    assert framed(framer(), *(bytes([byte]) for byte in stream)) == records


def test_a_record_comes_out_with_the_burst_that_ends_it():
    lines = LineFramer()
    assert lines.feed(b'{"a":') == []
    assert lines.feed(b'1}\n{"b"') == [b'{"a":1}']
    events = SseFramer()
    assert events.feed(b"data: x\n") == []
    assert events.feed(b"\n") == [b"x"]


@pytest.mark.parametrize(
    ("framer", "bursts"),
    [
        (LineFramer, [b"x" * 11]),
        (LineFramer, [b"x" * 6, b"x" * 6]),
        (LineFramer, [b"x" * 11 + b"\n"]),
        (LineFramer, [b"ok\n" + b"x" * 11]),
        (SseFramer, [b"data: xxxxxxxxx"]),
        (SseFramer, [b"data: xxx\ndata: xxx\n", b"data: xxxxx\n"]),
    ],
)
def test_a_record_over_the_limit_ends_the_reading(framer, bursts):
    framer = framer(limit=10)
    *before, last = bursts
    for burst in before:
        assert framer.feed(burst) == []
    with pytest.raises(RecordTooLong):
        framer.feed(last)


def test_the_limit_is_of_one_record_not_of_the_stream():
    framer = LineFramer(limit=10)
    assert len([line for _ in range(100) for line in framer.feed(b"123456789\n")]) == 100


def test_a_record_that_comes_byte_by_byte_takes_linear_time():
    framer = LineFramer()
    size = 200_000
    for _ in range(size):
        assert framer.feed(b"x") == []
    assert framer.feed(b"\n") == [b"x" * size]
