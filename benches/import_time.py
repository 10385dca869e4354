"""``import modelway`` beside ``import asyncio``, each in fresh interpreters, taken in turn.

Prints medians and quartiles in milliseconds, less those of a bare interpreter, and their ratio.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

ROUNDS = 30
STATEMENTS = {"bare": "pass", "asyncio": "import asyncio", "modelway": "import modelway"}


def start(statement: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return (time.perf_counter() - began) * 1000


def main() -> None:
    times: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for _ in range(ROUNDS):
        for name, statement in STATEMENTS.items():
            times[name].append(start(statement))
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    for name, taken in times.items():
        low, _, high = statistics.quantiles(taken, n=4)
        print(f"{name:10} median {medians[name]:6.1f} ms (quartiles {low:.1f} to {high:.1f})")
    cost = {name: medians[name] - medians["bare"] for name in ("asyncio", "modelway")}
    print(
        f"import modelway {cost['modelway']:.1f} ms, import asyncio {cost['asyncio']:.1f} ms, "
        f"ratio {cost['modelway'] / cost['asyncio']:.2f} (promised <= 1)"
    )


if __name__ == "__main__":
    main()
