"""The shipped weights, made anew from the labelled prompts that they were made from, and measured out of fold.

    python tools/train_shipped.py DATA [--out WEIGHTS] [--json]

DATA is a folder with the files of ``INPUTS``; other bytes than those are refused, since they would make other weights.
The same bytes come out on every x86-64 machine with the locked toolchain, whatever its number of cores, in half a
minute of two. docs/classifier.md tells what the prompts are and why each file counts as it does.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelway import Config
from modelway.cli.evaluate import report_lines
from modelway.learn.duplicates import assign_folds
from modelway.learn.evaluation import evaluate, time_classify
from modelway.learn.measures import Ints, Truth, accuracy
from modelway.learn.reading import core_for, reader_of_folds
from modelway.learn.rows import Row, read_rows
from modelway.learn.training import MAX_STEPS, Bools, Corpus, Trained, train

ROOT = Path(__file__).parents[1]
WEIGHTS = ROOT / "rust/modelway-core/src/classify/weights.bin"
BAGS = 5
# Chosen on rows and on sources held aside (``MAX_STEPS`` tells how), not by the figures that are reported.
STEPS = MAX_STEPS


@dataclass(frozen=True)
class Input:
    """A file of labelled prompts, and its part in the training."""

    sha256: str
    rows: int
    weight: float = 1.0
    bagged: bool = False
    """Cut in ``BAGS`` parts, each of which trains one of the models that are averaged."""
    typical: bool = False
    """Prompts as people type them: they calibrate."""


INPUTS = {
    "train.jsonl": Input("a09611e2423210a92ac325ae24c9f5d274769a043ad6cfc85b8070734f67b106", 21816, bagged=True),
    "nat.jsonl": Input("a08c18734c7a479e875a9b1eda9a5218666785f214f05f4fb9f33e4560b2eff8", 921, weight=2.0),
    "natural.jsonl": Input(
        "515b149ffaed1de61c59a2ef1e98d7263ad1c9f2c370fce5d21983ed6e087ef7", 8562, weight=2.0, typical=True
    ),
}


def main() -> int:
    """Returns the exit status."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("data", type=Path, metavar="DATA")
    options.add_argument("--out", type=Path, default=WEIGHTS, metavar="WEIGHTS")
    options.add_argument("--json", action="store_true", help="the report as JSON")
    asked = options.parse_args()
    faults = [fault for name in INPUTS if (fault := fault_of(asked.data / name))]
    if faults:
        print(*faults, sep="\n", file=sys.stderr)
        return 1
    rows, corpus, typical = load(asked.data)
    trained = train(corpus, None, STEPS)
    report = measured(rows, corpus.fold, typical, trained, misled_ids(asked.data))
    if asked.json:
        print(json.dumps(report, indent=2))
    else:
        print(report_lines(report))
        print(f"\nprompts on which a keyword misleads: {report['misled']:.3f} right, of {report['misled_n']}")
    asked.out.write_bytes(trained.weights)
    print(
        f"{asked.out}: {len(trained.weights):,} bytes, {hashlib.sha256(trained.weights).hexdigest()}", file=sys.stderr
    )
    return 0


def fault_of(file: Path) -> str:
    """Why ``file`` can't be an input, or an empty string."""
    if not file.is_file():
        return f"{file}: not found; the shipped weights are made from it"
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    wanted = INPUTS[file.name].sha256
    return "" if found == wanted else f"{file}: SHA-256 is {found}, not {wanted}; these are other prompts"


def load(data: Path) -> tuple[list[Row], Corpus, Bools]:
    """All rows, what training makes of them, and which are typical."""
    parts = {name: read_rows([data / name]) for name in INPUTS}
    assert {name: len(part) for name, part in parts.items()} == {name: given.rows for name, given in INPUTS.items()}
    rows = [row for part in parts.values() for row in part]
    given = [INPUTS[name] for name, part in parts.items() for _ in part]
    typical = [file.typical for file in given]
    corpus = Corpus.of(
        Config(),
        rows,
        assign_folds(rows),
        weight=[file.weight for file in given],
        bag=[bag_of(row) if file.bagged else -1 for row, file in zip(rows, given, strict=True)],
        typical=typical,
    )
    return rows, corpus, np.array(typical)


def bag_of(row: Row) -> int:
    """The bag of a row, from its id alone."""
    digits = 13  # hexadecimal: as many as a float holds
    share = int(hashlib.sha256(f"share:{row.id}".encode()).hexdigest()[:digits], 16) / 16**digits
    return int(share * BAGS)


def misled_ids(data: Path) -> set[str]:
    """The rows marked as those on which a keyword fires for the wrong label."""
    lines = [line for name in INPUTS for line in (data / name).read_bytes().splitlines()]
    return {row["id"] for row in map(json.loads, lines) if row.get("hard") == "misled"}


def measured(rows: list[Row], fold: Ints, typical: Bools, trained: Trained, misled: set[str]) -> dict[str, Any]:
    """The report of ``modelway eval`` over the typical rows, and accuracy on the misled ones, all out of fold."""

    def part(chosen: Bools) -> tuple[list[Row], Any]:
        reader = reader_of_folds(Config(), trained.by_fold, fold[chosen])
        return [row for row, taken in zip(rows, chosen, strict=True) if taken], reader

    natural, read = part(typical)
    report = evaluate(natural, read) | time_classify(core_for(Config(), trained.weights), [row.text for row in natural])
    misleading, read = part(np.array([row.id in misled for row in rows]))
    answers = read([row.text for row in misleading], None).answers
    right = accuracy(answers, Truth.of(misleading))["strict"]
    return report | {"misled": right, "misled_n": len(misleading)}


if __name__ == "__main__":
    sys.exit(main())
