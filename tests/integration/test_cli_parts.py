"""Pieces of the command line that need no process: marks for a terminal, pictures, addresses, lines, events."""

from __future__ import annotations

import base64
import json

import click
import pytest

from modelway.cli import images
from modelway.cli.ask import TextPrinter
from modelway.cli.clean import clean
from modelway.cli.events_json import event_document
from modelway.cli.output import columns, print_json
from modelway.cli.screens import JsonScreen, PlainScreen, Speech
from modelway.cli.serve import split_address
from modelway.errors import Attempt, NoModelAvailable
from modelway.events import Failed, FallingBack, Finished, Queued, TextDelta, ThinkingDelta, Usage

PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text\n\twith a tab", "plain text\n\twith a tab"),
        ("Grüße 你好 👩‍💻", "Grüße 你好 👩‍💻"),
        ("\x1b[31mred\x1b[0m", "␛[31mred␛[0m"),
        ("\x1b]0;title\x07", "␛]0;title␇"),
        ("over\rwritten\x08", "over␍written␈"),
        ("nul\x00 del\x7f", "nul␀ del␡"),
        ("\x9b2J\x90", "<U+009B>2J<U+0090>"),
        ("a\u202egnp.exe\u202c", "a<U+202E>gnp.exe<U+202C>"),
        ("\u2066x\u2069\u061c\u200f", "<U+2066>x<U+2069><U+061C><U+200F>"),
        ("one\u2028two", "one<U+2028>two"),
        ("\U000e0041\U000e007f", "<U+E0041><U+E007F>"),
    ],
)
def test_clean_marks_what_a_terminal_would_obey(text: str, shown: str) -> None:
    assert clean(text) == shown
    assert "".join(clean(character) for character in text) == shown  # wherever the pieces are cut


@pytest.mark.parametrize(
    ("data", "mime"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0rest", "image/jpeg"),
        (b"GIF87arest", "image/gif"),
        (b"GIF89arest", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
    ],
)
def test_picture_becomes_a_data_url_by_its_bytes(tmp_path, data: bytes, mime: str) -> None:
    file = tmp_path / "picture.txt"
    file.write_bytes(data)
    head, _, body = images.data_url(file).partition(",")
    assert head == f"data:{mime};base64"
    assert base64.b64decode(body) == data


@pytest.mark.parametrize("data", [b"", b"<svg/>", b"RIFF\x00\x00\x00\x00WAVEfmt ", b"%PDF-1.7", PNG[1:]])
def test_other_files_are_no_pictures(tmp_path, data: bytes) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(data)
    with pytest.raises(ValueError, match="not a PNG, JPEG, WebP or GIF"):
        images.data_url(file)


def test_picture_over_the_limit_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(images, "MAX_IMAGE_BYTES", len(PNG))
    file = tmp_path / "picture.png"
    file.write_bytes(PNG)
    assert images.data_url(file).startswith("data:image/png")
    file.write_bytes(PNG + b"x")
    with pytest.raises(ValueError, match="larger than"):
        images.data_url(file)


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("", (None, None)),
        ("127.0.0.1", ("127.0.0.1", None)),
        ("localhost:9000", ("localhost", 9000)),
        (":9000", (None, 9000)),
        ("localhost:", ("localhost", None)),
        ("::1", ("::1", None)),
        ("[::1]", ("::1", None)),
        ("[::1]:9000", ("::1", 9000)),
    ],
)
def test_address_is_taken_apart(written: str, parts: tuple[str | None, int | None]) -> None:
    assert split_address(written) == parts


@pytest.mark.parametrize(
    "written", ["localhost:http", "localhost:65536", "[::1]:x", "host:-1", "host:²", "host:" + "9" * 5000]
)
def test_address_with_a_wrong_port_names_the_variable(written: str) -> None:
    with pytest.raises(click.UsageError, match="MODELWAY_HOST"):
        split_address(written)


def test_columns_are_aligned_without_trailing_blanks() -> None:
    assert columns([("a", "long one", ""), ("bbb", "x", "y")], "  ") == "  a    long one\n  bbb  x         y"


def test_json_is_utf8_and_keeps_a_lone_surrogate_as_an_escape(capfdbinary) -> None:
    print_json({"text": "Grüße \ud800"}, pretty=False)
    written = capfdbinary.readouterr().out
    assert written == b'{"text": "Gr\xc3\xbc\xc3\x9fe \\ud800"}\n'
    assert json.loads(written) == {"text": "Grüße \ud800"}


@pytest.mark.parametrize(
    ("event", "document"),
    [
        (TextDelta("hi"), {"event": "text_delta", "text": "hi"}),
        (
            FallingBack("a", "b", "it is busy"),
            {
                "event": "falling_back",
                "from_model": "a",
                "to_model": "b",
                "why": "it is busy",
                "continues_after": None,
            },
        ),
        (
            Finished("a", "ollama", "stop", Usage(1, 2), 3.0, 4.0, 0.0),
            {
                "event": "finished",
                "model": "a",
                "backend": "ollama",
                "finish_reason": "stop",
                "usage": {"prompt_tokens": 1, "completion_tokens": 2},
                "ttft_ms": 3.0,
                "duration_ms": 4.0,
                "load_ms": 0.0,
            },
        ),
        (
            Failed(NoModelAvailable("none", (Attempt("a", "busy", 2.0),)), "none", ""),
            {
                "event": "failed",
                "error": "NoModelAvailable",
                "message": "none",
                "partial": "",
                "attempts": [{"model": "a", "why": "busy", "next_try_s": 2.0}],
            },
        ),
    ],
)
def test_event_becomes_a_document(event, document) -> None:
    assert event_document(event) == document
    assert json.loads(json.dumps(document)) == document


@pytest.mark.parametrize("cut", range(1, 12))
def test_speech_prints_a_line_when_it_is_complete(capsys, cut: int) -> None:
    text = "one\ntwo\r\n\nx"
    speech = Speech("tiny")
    for start in range(0, len(text), cut):
        speech.add(text[start : start + cut])
    assert capsys.readouterr().out == "tiny: one\n  two\n\n"
    speech.end()
    speech.end()
    assert capsys.readouterr().out == "  x\n"


def test_screen_says_once_that_a_model_thinks_and_ends_the_answer_before_a_notice(capsys) -> None:
    screen = PlainScreen()
    for event in (
        FallingBack("a", "b", "it is busy"),
        ThinkingDelta("hm"),
        ThinkingDelta("so"),
        TextDelta("error: no"),
    ):
        screen.show(event)
    screen.say("notice", "Stopped.")
    assert capsys.readouterr().out.splitlines() == [
        "notice: a could not answer (it is busy); asking b instead.",
        "notice: The model is thinking.",
        "b: error: no",
        "notice: Stopped.",
    ]


def test_a_wait_is_told_in_a_line_wherever_it_is_shown(capsys) -> None:
    wait = (Queued("a", "b", 2, 12.4), Queued("a", "b", 0, 0.0))
    line = "The request waits for a: number 2 in line, about 12 seconds."
    for show, told in (
        (PlainScreen().show, (f"notice: {line}\n", "")),
        (TextPrinter().show, ("", f"{line}\n")),
    ):
        for event in wait:
            show(event)
        assert capsys.readouterr() == told
    for event in wait:
        JsonScreen().show(event)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        {"event": "queued", "model": "a", "backend": "b", "position": 2, "eta_s": 12.4},
        {"event": "queued", "model": "a", "backend": "b", "position": 0, "eta_s": 0.0},
    ]
