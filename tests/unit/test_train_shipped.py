"""``make model`` without the prompts that the shipped weights were made from: a sentence, and nothing is written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
INPUTS = ("train.jsonl", "nat.jsonl", "natural.jsonl")


def recipe(data: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "tools/train_shipped.py", data, "--out", out]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_without_data_make_says_what_it_needs() -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(["make", "model"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "make model DATA=FOLDER: name the folder" in done.stderr


def test_files_that_are_missing_or_others_are_named(tmp_path: Path) -> None:
    out = tmp_path / "weights.bin"
    missing = recipe(tmp_path, out)
    assert missing.returncode == 1
    assert [line.partition(":")[0] for line in missing.stderr.splitlines()] == [str(tmp_path / name) for name in INPUTS]
    assert "not found" in missing.stderr
    for name in INPUTS:
        (tmp_path / name).write_bytes(b'{"text": "hello", "label": "quick"}\n')
    others = recipe(tmp_path, out)
    assert others.returncode == 1
    assert others.stderr.count("these are other prompts") == 3
    assert not out.exists()
