"""Whether a wheel is fit for users: what it holds, and that it routes, learns and explains where there is no Rust.

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
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "examples" / "models.toml"
PROMPT = "Write a Rust function to parse JSON"
#: Positions in bytes would lie outside this text, most of whose characters take several.
EMOJI_PROMPT = "🦀🦀🦀🦀 debug 🦀 Rust"
#: Labelled prompts, 25 of each class.
ROWS = ROOT / "tests" / "data" / "classes.jsonl"
REPORTED = {
    *("n", "strict", "lenient", "macro_f1", "ece", "flip_rate", "unsure", "per_class", "per_language"),
    *("by_threshold", "complexity_auc", "us_p50", "us_p99"),
}

#: Runs ``modelway`` with these arguments and ``--json``; returns what it printed.
Ask = Callable[..., Any]


def main(wheel: Path) -> int:
    """Returns the exit status."""
    found = faults(zipfile.ZipFile(wheel).namelist())
    if not found:
        with tempfile.TemporaryDirectory() as folder:
            try:
                found = installed_faults(wheel, Path(folder))
            except subprocess.CalledProcessError as error:
                found = [f"{' '.join(map(str, error.cmd))} ended with status {error.returncode}:\n{error.stderr}"]
    for fault in found:
        print(f"{wheel.name}: {fault}", file=sys.stderr)
    if not found:
        print(f"{wheel.name}: installs without Rust, routes, learns and explains")
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

    def ask(*arguments: str | Path) -> Any:
        return json.loads(run(programs / "modelway", *arguments, "--json"))

    constraints = ROOT / "constraints.txt"
    pip = (programs / "python", "-m", "pip", "install", "--only-binary", ":all:", "--constraint", constraints)
    run(*pip, f"{wheel}[learn]")
    return routing_faults(ask) + learning_faults(ask, folder)


def routing_faults(ask: Ask) -> list[str]:
    """What is wrong with a decision by the shipped weights."""
    decision = ask("route", PROMPT, "--config", CONFIG)
    if decision["task"] != "code" or decision["model"] != "deepseek-coder:6.7b":
        return [f"{PROMPT!r} is routed to {decision['model']} as {decision['task']}"]
    return []


def learning_faults(ask: Ask, folder: Path) -> list[str]:
    """What is wrong with the way from own prompts to own weights, to their figures and reasons, and back."""
    weights, config = folder / "own.bin", folder / "own.toml"
    config.write_text(f"[classifier]\nweights = '{weights}'\n[defaults]\ngeneral = 'any'\n", encoding="utf-8")
    found = []

    ask("train", ROWS, "--out", weights, "--force")
    shipped, own = ask("eval", ROWS), ask("eval", ROWS, "--config", config)
    if missing := REPORTED - own.keys():
        found.append(f"the report of eval lacks {', '.join(sorted(missing))}")
    if own["strict"] <= shipped["strict"]:
        found.append(f"trained weights read the prompts they were trained on no better: {own['strict']:.3f}")

    evidence = ask("route", EMOJI_PROMPT, "--explain", "--config", config)["evidence"]
    if not evidence:
        found.append("a decision has no evidence")
    found += [
        f"evidence stands outside of its text: {place}"
        for place in evidence
        if not 0 <= place["start"] < place["end"] <= len(EMOJI_PROMPT)
    ]

    in_force = Path(ask("train", ROWS, "--force")["written"])
    if ask("train", "--reset") != {"removed": str(in_force)} or in_force.exists():
        found.append(f"train --reset leaves {in_force} in force")
    elif ask("eval", ROWS)["strict"] != shipped["strict"]:
        found.append("after train --reset the shipped weights are not in force")
    return found


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/check_wheel.py WHEEL")
    sys.exit(main(Path(sys.argv[1]).resolve()))
