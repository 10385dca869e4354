"""A server's no: status, text and headers to the kind of error and its facts."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from modelway.backends.wire.refusals import clean, refusal, reported, retry_after_s
from modelway.origin import Origin

ORIGIN = Origin("ollama", "coder")
NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def ollama(text: str) -> bytes:
    return json.dumps({"error": text}).encode()


def openai(message: str, **fields: object) -> bytes:
    return json.dumps({"error": {"message": message, **fields}}).encode()


TOO_LONG = "request (6031 tokens) exceeds the available context size (4096 tokens)"
NO_IMAGES = "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"

REFUSALS = [
    (400, ollama("registry.ollama.ai/library/m:latest does not support tools"), "rejected", "tools"),
    (400, openai("tools param requires --jinja flag"), "rejected", "tools"),
    (400, openai("tools are not supported by this model"), "rejected", "tools"),
    (400, ollama('"m" does not support vision'), "rejected", "vision"),
    (500, openai(NO_IMAGES), "rejected", "vision"),
    (500, ollama(json.dumps({"error": {"code": 500, "message": NO_IMAGES}})), "rejected", "vision"),
    (400, ollama('"m" does not support thinking'), "rejected", None),
    (400, ollama(json.dumps({"error": {"message": TOO_LONG, "n_ctx": 4096}})), "rejected", None),
    (413, b"too large", "rejected", None),
    (422, b'{"detail":[{"msg":"wrong"}]}', "rejected", None),
    (500, ollama('option "temperature" must be of type float32'), "rejected", None),
    (500, ollama("model runner has unexpectedly stopped"), "server_error", None),
    (404, ollama("model 'm' not found"), "missing", None),
    (404, b"404 page not found", "missing", None),
    (401, ollama("unauthorized"), "unauthorized", None),
    (402, openai("no credit"), "unauthorized", None),
    (403, b"", "unauthorized", None),
    (408, b"", "timeout", None),
    (429, openai("slow down"), "rate_limited", None),
    (503, ollama("server busy, please try again."), "busy", None),
    (503, openai("Loading model"), "busy", None),
    (529, openai("overloaded"), "busy", None),
    (500, b"", "server_error", None),
    (501, openai("not implemented"), "server_error", None),
    (502, b"<html><body>Bad Gateway</body></html>", "server_error", None),
    (504, b"", "server_error", None),
    (301, b"", "server_error", None),
    (405, b"405 method not allowed", "server_error", None),
]


@pytest.mark.parametrize(("status", "body", "kind", "lacks"), REFUSALS)
def test_a_refusal_has_a_kind_and_keeps_its_facts(status, body, kind, lacks):
    error = refusal(ORIGIN, status, body, {})
    assert (error.kind, error.lacks, error.status) == (kind, lacks, status)
    assert (error.model, error.backend) == ("coder", "ollama")
    assert str(error).startswith("coder on ollama: ")


@pytest.mark.parametrize(
    ("error", "kind", "lacks", "status"),
    [
        ("it died", "server_error", None, None),
        ({"message": "it died"}, "server_error", None, None),
        ({"message": "slow down", "code": 429}, "rate_limited", None, 429),
        ({"message": TOO_LONG, "code": 400}, "rejected", None, 400),
        ({"message": "no", "code": "invalid"}, "server_error", None, None),
        ({"message": "no", "code": 200}, "server_error", None, None),
        ({"message": "no", "code": True}, "server_error", None, None),
        ("m does not support tools", "rejected", "tools", None),
        (["odd"], "server_error", None, None),
    ],
)
def test_an_error_reported_inside_an_answer(error, kind, lacks, status):
    found = reported(ORIGIN, error)
    assert (found.kind, found.lacks, found.status) == (kind, lacks, status)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (ollama("model 'm' not found"), "model 'm' not found"),
        (openai("no such model", code=404), "no such model"),
        (b'{"detail":"not here"}', "not here"),
        (b'{"object":"error","message":"not here"}', "not here"),
        (ollama(json.dumps({"error": {"message": "inner"}})), "inner"),
        (ollama("{not json"), "{not json"),
        (b"plain\r\n\x1b[31mtext\x00", "plain [31mtext"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (ollama("\u202eevil\u200b"), "evil"),
        (b"[1,2]", "[1, 2]"),
        (b"{}", ""),
        (b"null", ""),
    ],
)
def test_the_detail_is_the_servers_sentence_cleaned(body, detail):
    assert refusal(ORIGIN, 404, body, {}).detail == detail


def test_the_detail_is_at_most_200_characters():
    assert len(clean("x" * 10_000)) == 200
    assert clean("x" * 200) == "x" * 200
    assert len(refusal(ORIGIN, 500, b"y " * 40_000, {}).detail) <= 200


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("7", 7.0),
        (" 1.5 ", 1.5),
        ("1000000000", 300.0),
        ("99999999999999999999", None),
        ("-5", None),
        ("1e9", None),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("Mon, 23 Nov 2026 12:00:30 GMT", 30.0),
        ("Mon, 23 Nov 2026 12:00:30 -0000", 30.0),
        ("Mon, 23 Nov 2026 13:00:30 +0100", 30.0),
        ("Tue, 24 Nov 2026 12:00:00 GMT", 300.0),
        ("Mon, 23 Nov 2026 11:59:00 GMT", None),
        ("Mon, 99 Nov 2026 11:59:00 GMT", None),
    ],
)
def test_retry_after(value, seconds):
    assert retry_after_s(value, NOW) == seconds
    headers = {} if value is None else {"Retry-After": value}
    assert refusal(ORIGIN, 429, b"", headers, NOW).retry_after_s == seconds


@pytest.mark.parametrize("wraps", [1, 8, 9, 900, 1_000, 5_000])
def test_an_error_wrapped_in_errors_is_looked_into_so_far_and_no_further(wraps):
    body = b'{"error":' * wraps + b'"the sentence"' + b"}" * wraps
    error = refusal(ORIGIN, 500, body, {})
    assert error.kind == "server_error"
    assert ("the sentence" in error.detail) == (wraps <= 8)
