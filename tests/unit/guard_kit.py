"""Runs small suites under the suite's own conftest, to see that its guards bite."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]


def reports(tmp_path: Path, suite: str) -> set[tuple[str, str]]:
    """What pytest says of each test of ``suite`` under the guards: ``("PASSED", "test_x")``; an ERROR is a guard's."""
    (tmp_path / "test_suite.py").write_text(suite)
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", "-rA", "-q", "--tb=no"]
    configuration = ["-c", os.devnull, "-o", "markers=e2e", "--rootdir", str(tmp_path), str(tmp_path)]
    path = os.pathsep.join([str(TESTS), str(TESTS.parent / "python")])
    ran = subprocess.run(
        [*command, *configuration],
        env={**os.environ, "PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line.split() for line in ran.stdout.splitlines() if "test_suite.py::" in line]
    return {(words[0], words[1].split("::")[1]) for words in lines}
