"""That a test of the first stage which starts the engine fails, however it does so."""

from __future__ import annotations

from pathlib import Path

import pytest
from guard_kit import reports

SUITE = """
import subprocess, sys

import pytest

IMPORT = "import xllamacpp"
IN_A_CHILD = [sys.executable, "-c", IMPORT]
IN_ITS_CHILD = [sys.executable, "-c", f"import subprocess; subprocess.run({IN_A_CHILD!r}, stderr=-3)"]

def test_here():
    import xllamacpp

def test_here_and_swallowed():
    try:
        import xllamacpp
    except Exception:
        pass

def test_child():
    subprocess.run(IN_A_CHILD, stderr=subprocess.DEVNULL)

def test_child_of_a_child():
    subprocess.run(IN_ITS_CHILD)

def test_worker(tmp_path):
    from modelway.backends.llama_cpp import worker as llama_worker
    order = b'{"path": "x", "parent": %d}' % __import__("os").getpid()
    subprocess.run([sys.executable, "-P", llama_worker.__file__], input=order, stderr=subprocess.DEVNULL)

def test_none():
    subprocess.run([sys.executable, "-c", "import json"], check=True)
"""

MARKED = """
import os, sys

import pytest

@pytest.mark.e2e
def test_engine_allowed():
    assert "no_engine" not in os.environ["PYTHONPATH"] + "".join(sys.path)
"""


def test_whoever_imports_the_engine_fails(tmp_path: Path) -> None:
    told_off = {test for outcome, test in reports(tmp_path, SUITE) if outcome == "ERROR"}
    assert told_off == {
        "test_here",
        "test_here_and_swallowed",
        "test_child",
        "test_child_of_a_child",
        "test_worker",
    }


def test_a_run_of_the_second_stage_may_start_it(tmp_path: Path) -> None:
    assert reports(tmp_path, MARKED) == {("PASSED", "test_engine_allowed")}


def test_the_guard_is_on_in_this_very_run(engine_imports: Path | None, request: pytest.FixtureRequest) -> None:
    marked = any(item.get_closest_marker("e2e") for item in request.session.items)
    assert (engine_imports is None) == marked
