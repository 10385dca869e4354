"""``ask``: the answer on stdout, everything else on stderr."""

from __future__ import annotations

import base64
import json
import os
import pty
import signal

import pytest
from cli_helpers import CODE_PROMPT, models_served, read_until, run, start, write_config

from modelway.backends.mock import Fault, FaultKind, MockModelConfig

PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)


@pytest.fixture
def server():
    with models_served() as server:
        yield server


@pytest.fixture
def config(tmp_path, server):
    return write_config(tmp_path, server.url)


def test_answer_on_stdout_who_and_why_on_stderr(server, config) -> None:
    result = run("ask", "hello", "--config", config)
    assert (result.exit_code, result.stdout) == (0, "Hello there.\nHow are you?\n")
    assert result.stderr.startswith("tiny-general, on this device, answers: ")
    assert server.server.request_counts == {"tiny-general": 1}


@pytest.mark.parametrize(
    ("arguments", "model"),
    [
        ([CODE_PROMPT], "tiny-code"),
        (["hello", "--model", "coder"], "tiny-code"),
        (["hello", "--task", "code"], "tiny-code"),
        ([CODE_PROMPT, "--task", "general"], "tiny-general"),
    ],
)
def test_model_and_task_are_the_callers_word(server, config, arguments: list[str], model: str) -> None:
    assert run("ask", *arguments, "--config", config).exit_code == 0
    assert server.server.request_counts == {model: 1}


def test_system_message_and_piped_prompt_reach_the_model(server, config) -> None:
    run("ask", "--system", "Be brief.", "--config", config, text="hello from a pipe")
    messages = server.server.request_history[0].body["messages"]
    assert [(message["role"], message["content"]) for message in messages] == [
        ("system", "Be brief."),
        ("user", "hello from a pipe"),
    ]


def test_images_reach_a_model_that_reads_them(server, config, tmp_path) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(PNG)
    result = run("ask", CODE_PROMPT, "--image", picture, "--image", picture, "--config", config)
    assert result.exit_code == 0, result.stderr
    [request] = server.server.request_history
    assert request.model == "tiny-general"
    assert request.body["messages"][-1]["images"] == [base64.b64encode(PNG).decode()] * 2


def test_fallback_is_told_on_stderr(server, config) -> None:
    server.call(lambda: server.server.fail("tiny-code", Fault.http(503)))
    result = run("ask", CODE_PROMPT, "--config", config)
    assert (result.exit_code, result.stdout) == (0, "Hello there.\nHow are you?\n")
    assert "tiny-code could not answer" in result.stderr
    assert "asking tiny-general instead" in result.stderr


def test_answer_that_breaks_off_ends_its_line_and_fails(server, config) -> None:
    server.call(lambda: server.server.fail("tiny-code", Fault(FaultKind.RESET_MID_STREAM, after=2)))
    result = run("ask", CODE_PROMPT, "--config", config)
    assert (result.exit_code, result.stdout) == (1, "def parse():\n")
    assert result.stderr.splitlines()[-1].startswith("error: ")


def test_no_model_left_names_each_candidate_once(server, config) -> None:
    server.run(server.server.down())
    result = run("ask", CODE_PROMPT, "--config", config)
    assert (result.exit_code, result.stdout) == (1, "")
    [error] = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert "tiny-code" in error
    assert "tiny-general" in error


def test_unknown_model_names_the_nearest(config) -> None:
    result = run("ask", "hello", "--model", "tiny-genral", "--config", config)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "tiny-general" in result.stderr


def test_prompt_that_is_not_unicode_is_wrong_use(server, config) -> None:
    result = run("ask", "hello \udcff", "--config", config)
    assert result.exit_code == 2, result.stderr
    assert result.stderr.startswith("error: ")
    assert not server.server.request_history


def test_thinking_is_told_once_and_kept_out_of_the_answer(tmp_path) -> None:
    thinker = MockModelConfig(reply="42", thinking="let me see now")
    with models_served(tiny_general=thinker) as server:
        result = run("ask", "hello", "--config", write_config(tmp_path, server.url))
    assert result.stdout == "42\n"
    assert result.stderr.count("The model is thinking.") == 1
    assert "let me see" not in result.stderr


@pytest.mark.parametrize(
    ("fault", "code", "last"),
    [(None, 0, "finished"), (Fault(FaultKind.RESET_MID_STREAM, after=2), 1, "failed")],
)
def test_json_is_one_event_a_line(server, config, fault, code: int, last: str) -> None:
    if fault:
        server.call(lambda: server.server.fail("tiny-code", fault))
    result = run("ask", CODE_PROMPT, "--json", "--config", config)
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == code
    assert events[0]["event"] == "model_selected"
    assert events[0]["decision"]["model"] == events[0]["model"] == "tiny-code"
    assert events[-1]["event"] == last
    text = "".join(event["text"] for event in events if event["event"] == "text_delta")
    assert text == ("def parse(): pass" if code == 0 else events[-1]["partial"])


def test_interrupt_ends_with_130_and_closes_the_request(server, config) -> None:
    server.call(lambda: server.server.hold("tiny-code", after=2))
    process = start("ask", CODE_PROMPT, "--config", config)
    server.wait_for(lambda: any(request.held for request in server.server.request_history))
    assert process.stdout.read(len("def parse():")) == "def parse():"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=4)
    assert process.returncode == 130
    assert "Traceback" not in err
    server.wait_for(lambda: server.server.request_history[0].cancelled)


@pytest.mark.parametrize(("at_terminal", "shown"), [(True, "␛[2Jgone\r\n"), (False, "\x1b[2Jgone\n")])
def test_only_a_terminal_gets_marks_for_what_it_would_obey(tmp_path, at_terminal: bool, shown: str) -> None:
    with models_served(tiny_general=MockModelConfig(reply=["\x1b", "[2Jgone"])) as server:
        config = write_config(tmp_path, server.url)
        if not at_terminal:
            assert run("ask", "hello", "--config", config).stdout == shown
            return
        ours, theirs = pty.openpty()
        process = start("ask", "hello", "--config", config, stdout=theirs)
        process.communicate(timeout=4)
        assert read_until(ours, "\n") == shown
        os.close(ours)
        os.close(theirs)
