"""Every command and every snippet in the papers, run as it stands there.

All run in one folder that holds the README's own configuration as ``modelway.toml``, and labelled prompts as
``prompts.jsonl``. What would be an Ollama server is a mock server, by way of ``$OLLAMA_HOST``. A comment
``<!-- fails: MODEL -->`` before a block makes that model fail.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

import modelway as mw
from modelway.testing import MockModelConfig, MultiModelMockBackend, ServerThread, run_in_thread

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAPERS = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^(?:<!-- fails: (?P<fails>\S+) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
#: Where the papers say that the gateway is.
GATEWAY = "http://127.0.0.1:11633"
REPLIES = {
    "qwen2.5-coder:7b": "fn parse(text: &str) {}",
    "llama3.1:8b": "Use serde_json: let value: Value = serde_json::from_str(text)?;",
    "phi3:mini": "Monday.",
}


class Block(NamedTuple):
    """A fenced block of a paper."""

    paper: str
    language: str
    text: str
    fails: str | None

    def lines(self) -> list[str]:
        return [line for line in self.text.splitlines() if line.strip()]


BLOCKS = [
    Block(paper.name, found["language"], found["text"], found["fails"])
    for paper in PAPERS
    for found in FENCE.finditer(paper.read_text(encoding="utf-8"))
]
COMMANDS = sorted({line for block in BLOCKS if block.language == "sh" for line in block.lines()})
README_BLOCKS = [block for block in BLOCKS if block.paper == README.name]


def blocks(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


def commands(*starts: str) -> list[str]:
    return [line for line in COMMANDS if line.startswith(starts)]


MAKE = commands("make ")
PIP = commands("pip install ")
CURL = commands("curl ")
MODELWAY = [line for line in commands("modelway ", "python ") if line != "modelway serve"]


@dataclass(frozen=True)
class Place:
    """Where everything runs: a folder, its environment, and the server behind it."""

    folder: Path
    environment: dict[str, str]
    server: ServerThread

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Both streams together, as a terminal shows them; nothing to read."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            check=False,
        )

    def shell(self, line: str) -> subprocess.CompletedProcess[str]:
        return self.run("sh", "-c", line)

    @contextmanager
    def serving(self) -> Iterator[tuple[subprocess.Popen[str], str]]:
        """``modelway serve``, and its ready line."""
        process = subprocess.Popen(
            [self.folder / "bin" / "modelway", "serve"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        with process:
            try:
                yield process, process.stdout.readline().strip()
            finally:
                process.send_signal(signal.SIGTERM)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, engine_imports: Path | None) -> Iterator[Place]:
    """``engine_imports`` first: it puts the engine's stand-in on the path that programs inherit."""
    folder = tmp_path_factory.mktemp("papers")
    (config,) = [block.text for block in README_BLOCKS if block.language == "toml"]
    (folder / "modelway.toml").write_text(config)
    shutil.copy(ROOT / "tests/data/own_prompts.jsonl", folder / "prompts.jsonl")
    programs = folder / "bin"
    programs.mkdir()
    for name, what in {"python": "", "modelway": "-m modelway "}.items():
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {what}"$@"\n')
        program.chmod(0o755)
    able = ["completion", "tools"]
    models = {name: MockModelConfig(reply=text, capabilities=able) for name, text in REPLIES.items()}
    with run_in_thread(MultiModelMockBackend(models)) as server:
        ours = {"OLLAMA_HOST": server.url, "MODELWAY_HOST": "127.0.0.1:0", "XDG_CONFIG_HOME": str(folder / "config")}
        ours["XDG_STATE_HOME"] = str(folder / "state")
        environment = {
            key: value for key, value in os.environ.items() if not key.lower().endswith(("_proxy", "_config"))
        }
        environment |= ours | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
        yield Place(folder, environment, server)


@pytest.fixture(scope="module")
def gateway(place: Place) -> Iterator[str]:
    with place.serving() as (_, ready):
        yield ready.split()[-1]


def test_the_readme_begins_with_the_two_commands_and_shows_every_other() -> None:
    assert README_BLOCKS[0].lines() == ["make demo", "make test"]
    shown = {line.split()[1] for block in README_BLOCKS for line in block.lines() if line.startswith("modelway ")}
    assert shown == {"route", "ask", "chat", "serve", "models", "licenses", "doctor", "config", "eval", "train"}


def test_the_first_listings_of_the_readme_have_ten_lines() -> None:
    for language in ("toml", "python"):
        (block,) = [block for block in README_BLOCKS if block.language == language]
        assert len(block.lines()) == 10, language


def test_no_command_or_listing_is_left_out() -> None:
    ways = [MAKE, MODELWAY, PIP, CURL, ["modelway serve"]]
    assert sorted(line for way in ways for line in way) == COMMANDS
    assert {block.language for block in BLOCKS} == {"sh", "console", "python", "toml", "text"}


@pytest.mark.parametrize("line", MAKE)
def test_make(line: str) -> None:
    """The Makefile has the target and can say what it would run; running it would run this test."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    tried = subprocess.run(
        [*shlex.split(line), "--dry-run"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (tried.returncode, tried.stderr) == (0, "")
    assert tried.stdout.strip()


@pytest.mark.parametrize("line", MODELWAY)
def test_command(place: Place, line: str) -> None:
    done = place.shell(line)
    shutil.rmtree(place.folder / "config", ignore_errors=True)  # no command finds what another has set for its user
    assert done.returncode == 0, done.stdout
    assert done.stdout


def test_serve(place: Place) -> None:
    with place.serving() as (process, ready):
        assert re.fullmatch(r"modelway is listening on http://127\.0\.0\.1:\d+", ready)
    assert process.returncode == 0


@pytest.mark.skipif(shutil.which("curl") is None, reason="this machine has no curl")
@pytest.mark.parametrize("line", CURL)
def test_curl(place: Place, gateway: str, line: str) -> None:
    assert GATEWAY in line
    done = place.shell(line.replace(GATEWAY, gateway))
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("HTTP/1.1 200 OK")
    assert "x-modelway-model: phi3:mini" in done.stdout
    assert '"done":true' in done.stdout


@pytest.mark.parametrize("line", PIP)
def test_pip_names_extras_that_there_are(line: str) -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    (package,) = shlex.split(line)[2:]
    found = re.fullmatch(r"modelway\[([a-z,]+)\]", package)
    assert found
    assert set(found[1].split(",")) <= set(extras)


@pytest.mark.parametrize("block", blocks("console"), ids=lambda block: f"{block.paper}: {block.lines()[0]}")
def test_console(place: Place, block: Block) -> None:
    first, *shown = block.lines()
    model = block.fails
    if model:
        place.server.call(lambda: place.server.server.unavailable_models.add(model))
    try:
        if model:
            place.shell(first.removeprefix("$ "))  # the model that follows has to be loaded, and says so
        done = place.shell(first.removeprefix("$ "))
    finally:
        if model:
            place.server.call(lambda: place.server.server.heal(model))
    assert done.returncode == 0
    assert done.stdout.splitlines() == shown


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: f"{block.paper}: {block.lines()[-1]}")
def test_python(place: Place, block: Block, request: pytest.FixtureRequest) -> None:
    text = block.text
    if GATEWAY in text:
        text = text.replace(GATEWAY, request.getfixturevalue("gateway"))
    done = place.run(sys.executable, "-c", text)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("block", blocks("toml"), ids=lambda block: block.paper)
def test_toml(block: Block, tmp_path: Path) -> None:
    """A folder of model files has those that the listing names."""
    told = tomllib.loads(block.text)
    names = [*told.get("defaults", {}).values(), *(model.get("name", "") for model in told.get("models", []))]
    for folder in [tmp_path / backend["folder"] for backend in told.get("backends", []) if "folder" in backend]:
        folder.mkdir()
        for name in names:
            (folder / f"{name}.gguf").touch()
    config = mw.Config.from_toml(block.text, tmp_path)
    assert mw.ModelRouter(config).profiles
