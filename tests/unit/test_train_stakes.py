"""The shipped weights of high stakes are those that the rows of the repository make."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "rust/modelway-core/src/classify/stakes/weights.bin"
NUMBERS = 3 * 16


def test_the_rows_make_the_shipped_weights(tmp_path: Path) -> None:
    out = tmp_path / "weights.bin"
    subprocess.run([sys.executable, ROOT / "tools/train_stakes.py", "--out", out], check=True, timeout=60)
    made, shipped = out.read_bytes(), WEIGHTS.read_bytes()
    assert len(made) == len(shipped)
    numbers = [np.frombuffer(file[: 4 * NUMBERS], "<f4") for file in (made, shipped)]
    assert numbers[0] == pytest.approx(numbers[1], rel=0.05, abs=0.02)
    # Machines differ in the last bits of exp, and so may a byte that lies between two.
    made_bytes, shipped_bytes = (np.frombuffer(file[4 * NUMBERS :], np.int8).astype(int) for file in (made, shipped))
    assert np.abs(made_bytes - shipped_bytes).max() <= 1
