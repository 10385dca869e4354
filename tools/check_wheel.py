"""Whether a wheel is fit for users: what it holds, and that it routes where there is no Rust.

    python tools/check_wheel.py dist/modelway-*.whl

Installed in a new environment with nothing but that environment's programs on PATH. Exit status 0 if all is well.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROMPT = "Write a Rust function to parse JSON"


def main(wheel: Path) -> int:
    """Returns the exit status."""
    found = faults(zipfile.ZipFile(wheel).namelist())
    if not found:
        with tempfile.TemporaryDirectory() as folder:
            found = installed_faults(wheel, Path(folder))
    for fault in found:
        print(f"{wheel.name}: {fault}", file=sys.stderr)
    if not found:
        print(f"{wheel.name}: installs without Rust and routes")
    return 1 if found else 0


def faults(names: list[str]) -> list[str]:
    """What is wrong with the list of a wheel's files."""
    found = [f"{name} runs code at every start of Python" for name in names if name.endswith(".pth")]
    found += [
        f"{name} belongs to no package of modelway"
        for name in names
        if not name.startswith("modelway/") and ".dist-info/" not in name
    ]
    found += [f"{name} is no part of the product" for name in names if "__pycache__" in name or "test_" in name]
    wanted = ("modelway/py.typed", "modelway/__init__.pyi", "modelway/_core.pyi", "modelway/testing/__init__.py")
    found += [f"{name} is missing" for name in wanted if name not in names]
    if not any(name.endswith("/LICENSE") for name in names):
        found.append("LICENSE is missing")
    extensions = [name for name in names if name.startswith("modelway/_core.") and name.endswith((".so", ".pyd"))]
    if len(extensions) != 1:
        found.append(f"one extension module is wanted, and there is {extensions}")
    return found


def installed_faults(wheel: Path, folder: Path) -> list[str]:
    """What is wrong with the wheel once it is installed in a new environment in ``folder``."""
    home = folder / "environment"
    venv.create(home, with_pip=True)
    programs = home / ("Scripts" if os.name == "nt" else "bin")
    environment = {"PATH": str(programs), "HOME": str(folder), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

    def run(*command: str | Path) -> str:
        return subprocess.run(command, env=environment, cwd=folder, check=True, capture_output=True, text=True).stdout

    constraints = ROOT / "constraints.txt"
    run(programs / "python", "-m", "pip", "install", "--only-binary", ":all:", "--constraint", constraints, wheel)
    route = ("route", "--json", "--config", ROOT / "examples" / "models.toml", PROMPT)
    decision = json.loads(run(programs / "modelway", *route))
    if decision["task"] != "code" or decision["model"] != "deepseek-coder:6.7b":
        return [f"{PROMPT!r} is routed to {decision['model']} as {decision['task']}"]
    return []


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/check_wheel.py WHEEL")
    sys.exit(main(Path(sys.argv[1]).resolve()))
