"""Running the command line in tests: in this process where that shows enough, else as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from click.testing import CliRunner, Result

from modelway.backends.mock import MockModelConfig, MultiModelMockBackend, ServerThread, run_in_thread
from modelway.cli.main import cli

#: Where nobody listens: for commands that must not ask any server.
NOWHERE = "http://127.0.0.1:9"

CODE_PROMPT = "Implement a function that parses JSON and debug the code"


def write_config(folder: Path, url: str) -> Path:
    """A configuration of three models on one Ollama server."""
    file = folder / "models.toml"
    file.write_text(f"""
        [memory]  # a server that is held is to hold the answer, not the load before it
        manage = false

        [[backends]]
        name = "ollama"
        kind = "ollama"
        url = "{url}"

        [[models]]
        id = "tiny-general"
        strengths = ["General", "QuickResponse"]
        capabilities = ["TextGeneration", "VisionInput"]
        license = "apache-2.0"
        max_context = 8192

        [[models]]
        id = "tiny-code"
        aliases = ["coder"]
        strengths = ["CodeGeneration"]
        memory_bytes = 4_100_000_000

        [[models]]
        id = "far-away"
        location = "external"
        strengths = ["CodeGeneration"]

        [timeouts]  # no model of a busy machine is told to be slow
        quick_ms = 60_000
        standard_ms = 60_000

        [defaults]
        general = "tiny-general"
        code = "tiny-code"

        [fallbacks]
        code = ["general"]
    """)
    return file


@contextmanager
def models_served(**changes: MockModelConfig) -> Iterator[ServerThread]:
    """The mock server with the configured models; ``changes`` replaces some (``_`` for ``-``)."""
    models = {
        "tiny-general": MockModelConfig(reply="Hello there.\nHow are you?", capabilities=("completion", "vision")),
        "tiny-code": MockModelConfig(reply="def parse(): pass"),
    }
    models |= {name.replace("_", "-"): model for name, model in changes.items()}
    with run_in_thread(MultiModelMockBackend(models)) as server:
        yield server


def run(*arguments: str | Path, text: str | bytes | None = "") -> Result:
    """Run a command in this process, with ``text`` piped in."""
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], input=text)


def start(*arguments: str | Path, stdin: int = subprocess.PIPE, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
    """Start ``python -m modelway`` with its streams as pipes, or as the descriptors given."""
    return subprocess.Popen(
        [sys.executable, "-m", "modelway", *map(str, arguments)],
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def read_until(descriptor: int, text: str) -> str:
    """What comes from a terminal's other end, up to and including ``text``."""
    seen = ""
    while text not in seen:
        seen += os.read(descriptor, 4096).decode()
    return seen
