"""The programs in ``examples/`` run as they stand."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from cli_helpers import CODE_PROMPT, NOWHERE, run, write_config
from gateway_support import gateway_over

from modelway.backends.mock import MockModelConfig, MultiModelMockBackend
from modelway.conductor import Conductor
from modelway.config import load_config

EXAMPLES = Path(__file__).parents[2] / "examples"


def coder() -> MultiModelMockBackend:
    return MultiModelMockBackend({"tiny-code": MockModelConfig(reply="def parse(): pass")})


async def run_example(name: str, *arguments: str, **environment: str) -> tuple[int | None, str, str]:
    """Exit status, standard output and standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        EXAMPLES / name,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_route() -> None:
    status, out, err = await run_example("route.py", "Write a Rust function to parse JSON")
    assert (status, err) == (0, "")
    assert "deepseek-coder:6.7b: the words of the request say it is about code" in out
    assert "if it fails: llama3.1:8b" in out


async def test_stream(tmp_path: Path) -> None:
    async with coder() as server:
        config = write_config(tmp_path, server.url)
        status, out, err = await run_example("stream.py", CODE_PROMPT, MODELWAY_CONFIG=str(config))
    assert (status, out) == (0, "def parse(): pass\n")
    assert "tiny-code, on this device, answers: " in err


async def test_stream_says_in_one_line_what_is_wrong(tmp_path: Path) -> None:
    config = write_config(tmp_path, NOWHERE)
    status, _, err = await run_example("stream.py", CODE_PROMPT, MODELWAY_CONFIG=str(config))
    assert status == 1
    assert err.splitlines()[-1].startswith("error: no model can serve this request: tiny-code: ")


async def test_openai_client(tmp_path: Path) -> None:
    async with coder() as server:
        conductor = Conductor(load_config(write_config(tmp_path, server.url)))
        async with conductor, gateway_over(conductor) as url:
            status, out, err = await run_example("openai_client.py", CODE_PROMPT, MODELWAY_URL=url)
    assert (status, out) == (0, "def parse(): pass\n")
    assert "model: tiny-code" in err.splitlines()
    assert "location: device" in err.splitlines()


@pytest.mark.parametrize("name", [file.name for file in EXAMPLES.glob("*.toml")])
def test_configurations_pass_the_check(name: str) -> None:
    assert run("config", "check", "--config", EXAMPLES / name).exit_code == 0
