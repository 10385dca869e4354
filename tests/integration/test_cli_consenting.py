"""``ask`` at a terminal, where consent is missing: a question, whose answer is no unless it is yes."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cli_helpers import read_until, run

from modelway.backends.mock import MockModelConfig, MultiModelMockBackend, ServerThread, run_in_thread

#: The terminal is that of the process, so that the keys which end things are signals, as they are for people.
AT_ITS_TERMINAL = (
    "import fcntl, runpy, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "runpy.run_module('modelway', run_name='__main__', alter_sys=True)"
)
QUESTION = "until you revoke it? [y/N]: "
CTRL_C, CTRL_D = "\x03", "\x04"


@dataclass(frozen=True)
class Elsewhere:
    server: ServerThread
    config: Path

    @property
    def destination(self) -> str:
        return self.server.url.removeprefix("http://")

    @property
    def consents(self) -> list[dict[str, object]]:
        file = self.config.parent / "state" / "consents.json"
        return json.loads(file.read_text())["consents"] if file.exists() else []


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Elsewhere]:
    with run_in_thread(MultiModelMockBackend({"far": MockModelConfig(reply="from afar")})) as server:
        config = tmp_path / "models.toml"
        config.write_text(
            "[privacy]\nallow_external = true\nsecret_scan_before_external = false\n[state]\nfolder = 'state'\n"
            f"[[backends]]\nname = 'there'\nkind = 'openai'\nurl = '{server.url}'\nlocation = 'external'\n"
            "[[models]]\nid = 'far'\nbackend = 'there'\n"
        )
        yield Elsewhere(server, config)


def answered(config: Path, keys: str) -> tuple[int, str, str]:
    """Ask, and type ``keys`` at the question: the exit code, what came to stdout, what stood on the terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", AT_ITS_TERMINAL, "ask", "hello", "--model", "far", "--config", str(config)]
    with subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, text=True, start_new_session=True
    ) as process:
        try:
            os.close(theirs)
            shown = read_until(ours, QUESTION)
            os.write(ours, keys.encode())
            output, _ = process.communicate(timeout=4)
            return process.returncode, output, shown + rest_of(ours)
        finally:
            process.kill()
            os.close(ours)


def rest_of(descriptor: int) -> str:
    """What is left on a terminal at whose other end nobody is any more."""
    seen = b""
    try:
        while read := os.read(descriptor, 4096):
            seen += read
    except OSError:  # so Linux says that it is over
        pass
    return seen.decode()


@pytest.mark.parametrize(
    "keys",
    ["n\n", "\n", "no\n", CTRL_D, CTRL_C],
    ids=["n", "enter", "no", "ctrl-d", "ctrl-c"],
)
def test_no_is_no(elsewhere: Elsewhere, keys: str) -> None:
    code, output, shown = answered(elsewhere.config, keys)
    assert f"far runs at {elsewhere.destination}. May text be sent there" in shown
    assert (code, output) == (1, "")
    assert elsewhere.consents == []
    server = elsewhere.server.server
    assert (server.connections, server.path_counts.total()) == (0, 0)
    assert "Traceback" not in shown


def test_what_is_no_answer_is_asked_again(elsewhere: Elsewhere) -> None:
    code, _, shown = answered(elsewhere.config, "perhaps\nn\n")
    assert (code, shown.count(QUESTION)) == (1, 2)
    assert elsewhere.server.server.connections == 0


def test_yes_sends_with_a_label_and_is_kept(elsewhere: Elsewhere) -> None:
    code, output, shown = answered(elsewhere.config, "y\n")
    assert (code, output) == (0, "from afar\n")
    answer = shown.partition(QUESTION)[2]
    assert f"Your data will be sent to {elsewhere.destination}." in answer
    (consent,) = elsewhere.consents
    assert (consent["destination"], consent["kinds"], consent["until"]) == (elsewhere.destination, ["text"], None)
    (request,) = elsewhere.server.server.request_history
    assert request.body["messages"] == [{"role": "user", "content": "hello"}]
    again = run("ask", "hello", "--model", "far", "--config", elsewhere.config)
    assert (again.exit_code, again.stdout) == (0, "from afar\n")


def test_who_sits_at_no_terminal_is_not_asked(elsewhere: Elsewhere) -> None:
    result = run("ask", "hello", "--model", "far", "--config", elsewhere.config, text="y\n")
    assert result.exit_code == 1
    assert f"modelway consent grant {elsewhere.destination} --kinds text" in result.stderr
    assert elsewhere.server.server.connections == 0
