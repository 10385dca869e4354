"""What an alert says, and the user's program that is run for it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modelway.config import Config
from modelway.config.settings import resolve
from modelway.events import AvailabilityChanged
from modelway.monitor.command import AlertCommand
from modelway.monitor.sentences import over_sentence, span, trouble_sentence
from modelway.monitor.watchers import MOST_WAITING, Watchers

SETTINGS = resolve(
    Config.from_toml("""
        [defaults]
        general = "coder"
        code = "helper"
        math = "far"
        quick = "file"
        [[backends]]
        name = "ollama"
        kind = "ollama"
        [[backends]]
        name = "vllm"
        kind = "openai"
        url = "http://127.0.0.1:9"
        api_key_env = "VLLM_KEY"
        [[backends]]
        name = "open"
        kind = "openai"
        url = "http://127.0.0.1:9"
        [[backends]]
        name = "files"
        kind = "llama_cpp"
        [[models]]
        id = "coder"
        name = "coder's:7b"
        aliases = ["helper"]
        [[models]]
        id = "far"
        backend = "vllm"
        [[models]]
        id = "file"
        backend = "files"
        path = "x.gguf"
    """)
)


@pytest.mark.parametrize(
    ("what", "backend", "model", "sentence"),
    [
        ("unreachable", "ollama", None, "ollama has not answered for 60 seconds; is its server running?"),
        ("circuit", "ollama", None, "No connection to ollama has worked for 60 seconds; is its server running?"),
        ("circuit", "vllm", "far", "far on vllm has failed for 60 seconds; other models answer instead."),
        (
            "missing",
            "ollama",
            "coder",
            "coder, the default for general and code, is not on ollama; get it with: ollama pull 'coder'\"'\"'s:7b'.",
        ),
        (
            "missing",
            "files",
            "file",
            "file, the default for quick, is not on files; its file is not there: correct its path.",
        ),
        (
            "missing",
            "vllm",
            "far",
            "far, the default for math, is not on vllm; correct its name, or choose another default.",
        ),
        ("unauthorized", "vllm", "far", "vllm refuses the key for far; correct the environment variable VLLM_KEY."),
        (
            "unauthorized",
            "open",
            "far",
            "open refuses the key for far; name the environment variable that holds it in api_key_env.",
        ),
    ],
)  # fmt: skip
def test_an_alert_says_what_is_the_matter_and_what_mends_it(what, backend, model, sentence) -> None:
    assert trouble_sentence(what, backend, model, 60.0, SETTINGS) == sentence


@pytest.mark.parametrize(
    ("what", "model", "is_gone", "sentence"),
    [
        ("unreachable", None, False, "ollama answers again, after 3 minutes."),
        ("circuit", "coder", False, "coder answers again, after 3 minutes."),
        ("missing", "coder", False, "coder is on ollama again, after 3 minutes."),
        ("unauthorized", "coder", False, "ollama takes the key for coder again, after 3 minutes."),
        ("missing", "coder", True, "coder is not configured any more, after 3 minutes of trouble."),
        ("circuit", None, True, "ollama is not configured any more, after 3 minutes of trouble."),
    ],
)
def test_its_end_says_how_long_it_lasted(what, model, is_gone, sentence) -> None:
    assert over_sentence(what, "ollama", model, 180.0, is_gone=is_gone) == sentence


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "0 seconds"), (0.6, "1 second"), (60.0, "60 seconds"), (119.4, "119 seconds"), (120.0, "2 minutes"),
        (7_199.0, "120 minutes"), (7_200.0, "2 hours"), (86_400.0, "24 hours"), (200_000.0, "2 days"),
    ],
)  # fmt: skip
def test_a_span_of_time_is_said_in_a_unit_of_which_there_are_some(seconds, said) -> None:
    assert span(seconds) == said


async def test_a_watcher_that_does_not_read_keeps_the_newest() -> None:
    watchers = Watchers()
    reading = watchers.watch(list)
    first = asyncio.create_task(anext(reading))
    await asyncio.sleep(0)
    for number in range(MOST_WAITING + 3):
        watchers.publish(alert(str(number)))
    watchers.close()
    said = [(await first).message, *[event.message async for event in reading]]
    assert len(said) <= MOST_WAITING
    assert said[-1] == str(MOST_WAITING + 2)


# What the user's program is: it writes its arguments and its input to a file.
NOTE_DOWN = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text(repr((sys.argv[2:], sys.stdin.read())))"


def alert(message: str = "ollama has not answered; $(touch owned)") -> AvailabilityChanged:
    return AvailabilityChanged(None, "ollama", "unreachable", False, 60.0, message)


@pytest.fixture
async def command() -> AsyncIterator[AlertCommand]:
    command = AlertCommand(limit_s=3.0)
    yield command
    await command.aclose()


async def ended(command: AlertCommand) -> None:
    assert command._running is not None
    await asyncio.wait({command._running})


async def test_the_command_gets_the_sentence_and_the_alert_and_no_shell_reads_them(command, tmp_path: Path) -> None:
    noted = tmp_path / "noted"
    command.run([sys.executable, "-S", "-c", NOTE_DOWN, str(noted), "; exit 1"], alert())
    await ended(command)
    arguments, text = eval(noted.read_text())
    assert arguments == ["; exit 1", "ollama has not answered; $(touch owned)"]
    assert json.loads(text) == {
        "model": None, "backend": "ollama", "what": "unreachable", "is_over": False, "lasted_s": 60.0,
        "message": "ollama has not answered; $(touch owned)",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (["/nowhere/notify"], "could not be started: No such file or directory"),
        (["nul\0"], "could not be started"),
        (["false"], "ended with 1"),
        (["sleep", "60"], "did not end within 0.1 s and was ended"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_command_that_fails_is_logged_once(program, said, caplog: pytest.LogCaptureFixture) -> None:
    command = AlertCommand(limit_s=0.1)
    if program == ["sleep", "60"]:
        program = ["sh", "-c", "sleep 60 & wait"]
    for _ in range(3):
        command.run(program, alert())
    await ended(command)
    assert [said in record.getMessage() for record in caplog.records] == [True]
    assert caplog.records[0].levelno == logging.WARNING
    await command.aclose()


async def test_a_command_that_works_again_and_fails_again_is_logged_again(command, caplog) -> None:
    for program in (["false"], ["true"], ["false"]):
        command.run(program, alert())
    await ended(command)
    assert len(caplog.records) == 2


async def test_one_command_runs_at_a_time_and_nothing_waits_for_it(command, tmp_path: Path) -> None:
    line = f"echo begin >> {tmp_path}/log; read input; echo end >> {tmp_path}/log"
    for _ in range(3):
        command.run(["sh", "-c", line], alert())
    assert not (tmp_path / "log").exists(), "nothing has run yet: to tell is not to wait"
    await ended(command)
    assert (tmp_path / "log").read_text().split() == ["begin", "end"] * 3


async def test_closing_ends_the_command_and_what_it_has_started(command, tmp_path: Path) -> None:
    fifo = tmp_path / "output"
    os.mkfifo(fifo)
    command.run(["sh", "-c", f"exec > {fifo}; echo up; sleep 60 & wait"], alert())
    output = await asyncio.to_thread(fifo.open, "rb")
    assert await asyncio.to_thread(output.readline) == b"up\n"
    command.run(["true"], alert())
    await command.aclose()
    assert command._running is not None
    assert command._running.cancelled()
    with output:
        assert await asyncio.to_thread(output.read) == b"", "nobody is left who could write"


async def test_closing_while_the_command_starts_ends_what_it_has_started(
    command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo = tmp_path / "output"
    os.mkfifo(fifo)
    is_up = asyncio.Event()
    start = asyncio.create_subprocess_exec

    async def started_late(*arguments, **options):
        process = await start(*arguments, **options)
        await is_up.wait()
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", started_late)
    command.run(["sh", "-c", f"exec > {fifo}; echo up; sleep 60 & wait"], alert())
    output = await asyncio.to_thread(fifo.open, "rb")
    assert await asyncio.to_thread(output.readline) == b"up\n"
    closing = asyncio.create_task(command.aclose())
    await asyncio.sleep(0)
    is_up.set()
    await closing
    with output:
        assert await asyncio.to_thread(output.read) == b"", "nobody is left who could write"
