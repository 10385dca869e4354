"""``chat``: a record of lines with role words, whatever happens in a turn."""

from __future__ import annotations

import json
import os
import pty
import signal

import pytest
from cli_helpers import CODE_PROMPT, models_served, read_until, run, start, write_config

from modelway.backends.mock import Fault, FaultKind, MockModelConfig


@pytest.fixture
def server():
    with models_served() as server:
        yield server


@pytest.fixture
def config(tmp_path, server):
    return write_config(tmp_path, server.url)


def told(result, role: str) -> list[str]:
    """What was said by ``role``."""
    return [line.removeprefix(f"{role}: ") for line in result.stdout.splitlines() if line.startswith(f"{role}: ")]


@pytest.mark.parametrize("plain", [(), ("--plain",)])
def test_turns_are_lines_with_role_words(config, plain) -> None:
    result = run("chat", *plain, "--config", config, text=f"hello\n{CODE_PROMPT}\n")
    assert (result.exit_code, result.stderr) == (0, "")
    assert told(result, "you") == ["hello", CODE_PROMPT]
    assert "tiny-general: Hello there.\n  How are you?\n" in result.stdout
    assert told(result, "tiny-code") == ["def parse(): pass"]
    assert all(
        line.split(":")[0] in {"you", "notice", "tiny-general", "tiny-code", "  How are you?"}
        for line in result.stdout.splitlines()
    )
    notices = told(result, "notice")
    assert any("tiny-code, on this device, answers: " in notice for notice in notices)
    assert "\x1b" not in result.stdout
    assert "\r" not in result.stdout


def test_history_is_kept_over_turns_and_forgotten_by_new(server, config) -> None:
    run("chat", "--config", config, text="hello\nand again\n/new\nafresh\n/quit\nnever read\n")
    sent = [[message["content"] for message in request.body["messages"]] for request in server.server.request_history]
    assert sent == [["hello"], ["hello", "Hello there.\nHow are you?", "and again"], ["afresh"]]


def test_model_and_task_are_locked_and_given_back(server, config) -> None:
    lines = ["/model coder", "hello", "/auto", "hello", "/task code", "hello", "/auto", "hello"]
    result = run("chat", "--config", config, text="\n".join(lines))
    asked = [request.model for request in server.server.request_history]
    assert asked == ["tiny-code", "tiny-general", "tiny-code", "tiny-general"]
    assert not told(result, "error")


@pytest.mark.parametrize(
    ("line", "fact"),
    [
        ("/model tiny-cod", "tiny-code"),
        ("/model", "/model NAME"),
        ("/task coed", "code"),
        ("/auto now", "/auto"),
        ("/etc/passwd is what?", "/help"),
    ],
)
def test_wrong_command_is_an_error_and_the_chat_goes_on(server, config, line: str, fact: str) -> None:
    result = run("chat", "--config", config, text=f"{line}\nhello\n")
    assert result.exit_code == 0
    [error] = told(result, "error")
    assert fact in error
    assert server.server.request_counts == {"tiny-general": 1}


def test_slash_after_a_space_and_empty_lines(server, config) -> None:
    run("chat", "--config", config, text="\n   \n /etc/passwd is what?\n")
    [request] = server.server.request_history
    assert request.body["messages"][-1]["content"] == " /etc/passwd is what?"


def test_help_lists_every_command(config) -> None:
    out = run("chat", "--config", config, text="/help\n").stdout
    for command in ("/model NAME", "/task NAME", "/auto", "/new", "/help", "/quit"):
        assert command in out


@pytest.mark.parametrize(
    ("fault", "said"),
    [(Fault.http(500), []), (Fault(FaultKind.RESET_MID_STREAM, after=2), ["def parse():"])],
    ids=["before the first token", "in mid-stream"],
)
def test_failed_turn_is_told_once_and_not_kept(server, config, fault, said: list[str]) -> None:
    failing = ["tiny-code"] if said else ["tiny-code", "tiny-general"]  # after a first token nobody else is asked
    for model in failing:  # where no other is left, the first is asked again
        times = 1 if model == "tiny-general" else 2
        server.call(lambda model=model, times=times: server.server.fail(model, fault, times=times))
    result = run("chat", "--config", config, text=f"{CODE_PROMPT}\nhello\n")
    assert result.exit_code == 0
    assert len(told(result, "error")) == 1
    assert told(result, "tiny-code") == said
    assert told(result, "tiny-general") == ["Hello there."]
    kept = server.server.request_history[-1].body["messages"]
    assert [message["content"] for message in kept] == ["hello"]


def test_line_that_is_not_text_is_an_error_and_the_chat_goes_on(server, config) -> None:
    result = run("chat", "--config", config, text=b"caf\xe9\nhello\n")
    assert len(told(result, "error")) == 1
    assert server.server.request_counts == {"tiny-general": 1}


def test_what_a_terminal_would_obey_is_shown_as_marks(tmp_path) -> None:
    hostile = MockModelConfig(reply=["\x1b", "[2Jgone", "\nerror: ", "fooled\u202e"])
    with models_served(tiny_general=hostile) as server:
        result = run("chat", "--config", write_config(tmp_path, server.url), text="hello\n")
    assert "tiny-general: ␛[2Jgone\n  error: fooled<U+202E>\n" in result.stdout
    assert not told(result, "error")


def test_json_is_one_event_a_line_and_words_go_to_stderr(config) -> None:
    result = run("chat", "--json", "--config", config, text="hello\n/model nobody\n/auto\n")
    events = [json.loads(line)["event"] for line in result.stdout.splitlines()]
    assert (events[0], events[-1]) == ("model_selected", "finished")
    assert "error: " in result.stderr
    assert "notice: " in result.stderr


def test_interrupt_stops_the_answer_and_then_the_chat(server, config) -> None:
    gate = server.call(lambda: server.server.hold("tiny-code", after=2))
    process = start("chat", "--config", config)
    process.stdin.write(f"{CODE_PROMPT}\n")
    process.stdin.flush()
    server.wait_for(lambda: gate.waiting == 1)
    process.send_signal(signal.SIGINT)
    server.wait_for(lambda: server.server.request_history[0].cancelled)
    said = next(line for line in process.stdout if "Stopped" in line)
    assert said == "notice: Stopped; this turn is not kept.\n"
    process.stdin.write("hello\n")
    process.stdin.flush()
    server.wait_for(lambda: server.server.request_counts["tiny-general"] == 1)
    assert len(server.server.request_history[1].body["messages"]) == 1
    process.stdin.write("/auto\n")
    process.stdin.flush()
    assert any("chosen by each prompt" in line for line in process.stdout)  # now it waits for a line
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=4)
    assert (process.returncode, out, err.strip()) == (130, "", "")


def test_at_a_terminal_the_user_is_invited_and_ctrl_d_ends(server, config) -> None:
    ours, theirs = pty.openpty()
    process = start("chat", "--config", config, stdin=theirs, stdout=theirs)
    seen = read_until(ours, "you: ")
    os.write(ours, b"hello\n")
    seen += read_until(ours, "you: ")
    assert "finished" in seen
    os.write(ours, b"\x04")
    _, err = process.communicate(timeout=4)
    assert (process.returncode, err.strip()) == (0, "")
    assert seen.count("hello") == 1  # typed, and not said once more
    assert "\x1b" not in seen
    os.close(ours)
    os.close(theirs)
