"""The shipped weights, made anew from the labelled prompts that they were made from, and measured out of fold.

    python tools/train_shipped.py [DATA] [--out WEIGHTS] [--json] [--kept]

Reads data/prompts, but for the batches that are kept aside, and in the folder DATA the files of ``INPUTS``; other bytes
than those are refused, since they would make other weights. Without DATA it learns from data/prompts alone, which makes
other weights than the shipped ones: they need a place of their own. ``--kept`` reads the batches kept aside as well,
with weights that learned nothing from them.

The same bytes come out on every x86-64 machine with the locked toolchain, whatever its number of cores, in a minute of
two. docs/classifier.md tells what the prompts are and why each file counts as it does.
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
from check_prompts import Prompt, is_kept, read_prompts

from modelway import Config
from modelway.cli.evaluate import report_lines
from modelway.learn.duplicates import FOLDS, assign_folds
from modelway.learn.evaluation import evaluate, time_classify
from modelway.learn.measures import Ints
from modelway.learn.reading import Reader, core_for, reader, reader_of_folds
from modelway.learn.rows import LABELS, Row, read_rows
from modelway.learn.training import Bools, Corpus, Trained, train

ROOT = Path(__file__).parents[1]
WEIGHTS = ROOT / "rust/modelway-core/src/classify/weights.bin"
BAGS = 5
# Chosen on rows and on sources held aside, not by the figures that are reported.
STEPS = 100


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
#: Other languages are in no file but data/prompts; of English there is enough.
OWN_WEIGHT = {"en": 1.0}
OWN_WEIGHT_ELSEWHERE = 2.0


@dataclass(frozen=True)
class Prompts:
    """Rows to learn from, and what is known of each."""

    rows: list[Row]
    fold: Ints
    weight: list[float]
    bag: list[int]
    typical: Bools
    grade: list[int]
    misled: Bools
    """A keyword of the wrong class stands in it."""
    own: Bools
    """It is of data/prompts."""


def main() -> int:
    """Returns the exit status."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("data", type=Path, nargs="?", metavar="DATA")
    options.add_argument("--out", type=Path, metavar="WEIGHTS")
    options.add_argument("--json", action="store_true", help="the report as JSON")
    options.add_argument("--kept", action="store_true", help="what the weights make of the batches kept aside, too")
    asked = options.parse_args()
    faults = [fault for name in INPUTS if asked.data and (fault := fault_of(asked.data / name))]
    if not asked.data and not asked.out:
        faults = ["without DATA other weights come out than the shipped ones; name a file for them with --out"]
    if faults:
        print(*faults, sep="\n", file=sys.stderr)
        return 1
    prompts = load(asked.data)
    trained = train(corpus_of(prompts), None, STEPS)
    report = measured(prompts, trained)
    kept = [row for rows in read_prompts().values() for row in rows if is_kept(row)]
    if asked.kept:
        report |= kept_report(kept, reader(Config(), trained.weights))
    print(json.dumps(report, indent=2) if asked.json else "\n\n".join(shown(report)))
    out = asked.out or WEIGHTS
    out.write_bytes(trained.weights)
    print(f"{out}: {len(trained.weights):,} bytes, {hashlib.sha256(trained.weights).hexdigest()}", file=sys.stderr)
    return 0


def fault_of(file: Path) -> str:
    """Why ``file`` can't be an input, or an empty string."""
    if not file.is_file():
        return f"{file}: not found; the shipped weights are made from it"
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    wanted = INPUTS[file.name].sha256
    return "" if found == wanted else f"{file}: SHA-256 is {found}, not {wanted}; these are other prompts"


def load(data: Path | None) -> Prompts:
    """All rows to learn from: those of the folder ``data``, if there is one, then our own."""
    parts = {name: read_rows([data / name]) for name in INPUTS} if data else {}
    assert all(len(part) == INPUTS[name].rows for name, part in parts.items())
    given = [row for part in parts.values() for row in part]
    files = [INPUTS[name] for name, part in parts.items() for _ in part]
    lines = [line for name in parts if data for line in (data / name).read_bytes().splitlines()]
    marks = [json.loads(line).get("hard") for line in lines]
    own = [row for rows in read_prompts().values() for row in rows if not is_kept(row)]
    is_own = np.array([False] * len(given) + [True] * len(own))
    folds = assign_folds(given) if given else np.zeros(0, np.intp)
    return Prompts(
        [*given, *map(row_of, own)],
        np.concatenate([folds, [fold_of(row) for row in own]]),
        [file.weight for file in files] + [OWN_WEIGHT.get(row["lang"], OWN_WEIGHT_ELSEWHERE) for row in own],
        [bag_of(row) if file.bagged else -1 for row, file in zip(given, files, strict=True)] + [-1] * len(own),
        # Our own are hard by design, and their classes come in other shares than in life.
        np.array([file.typical for file in files] + [not given] * len(own)),
        [0] * len(given) + [row.get("grade", 0) for row in own],
        np.array([mark == "misled" for mark in [*marks, *(row.get("hard") for row in own)]]),
        is_own,
    )


def corpus_of(prompts: Prompts) -> Corpus:
    """What training makes of the rows."""
    return Corpus.of(
        Config(),
        prompts.rows,
        prompts.fold,
        weight=prompts.weight,
        bag=prompts.bag,
        typical=prompts.typical.tolist(),
        grade=prompts.grade,
    )


def row_of(prompt: Prompt) -> Row:
    """A row of data/prompts."""
    also = tuple(LABELS.index(name) for name in prompt.get("also", ()))
    return Row(prompt["text"], LABELS.index(prompt["label"]), also, prompt["lang"], "own", prompt["id"])


def fold_of(prompt: Prompt) -> int:
    """A batch is a world of its own, and in one fold."""
    return int(prompt["batch"].rpartition("-")[2]) % FOLDS


def bag_of(row: Row) -> int:
    """The bag of a row, from its id alone."""
    digits = 13  # hexadecimal: as many as a float holds
    share = int(hashlib.sha256(f"share:{row.id}".encode()).hexdigest()[:digits], 16) / 16**digits
    return int(share * BAGS)


def measured(prompts: Prompts, trained: Trained) -> dict[str, Any]:
    """The report of ``modelway eval`` over each kind of rows, read by weights of folds that they are not in."""
    kinds = {
        "natural": prompts.typical & ~prompts.own,
        "natural, misled": prompts.misled & ~prompts.own,
        "own": prompts.own,
        "own, misled": prompts.misled & prompts.own,
    }
    core, report = core_for(Config(), trained.weights), {}
    for kind, chosen in kinds.items():
        rows = [row for row, taken in zip(prompts.rows, chosen, strict=True) if taken]
        if rows:
            found = evaluate(rows, reader_of_folds(Config(), trained.by_fold, prompts.fold[chosen]))
            report[kind] = found | time_classify(core, [row.text for row in rows])
    return report


def kept_report(kept: list[Prompt], read: Reader) -> dict[str, Any]:
    """The same over the batches kept aside, with the answers counted by class and language, and what was answered."""
    kinds = {"kept": kept, "kept, misled": [row for row in kept if row.get("hard") == "misled"]}
    report: dict[str, Any] = {kind: evaluate([*map(row_of, rows)], read) for kind, rows in kinds.items()}
    readings = read([row["text"] for row in kept], None)
    report["kept"]["answers"] = {
        row["id"]: LABELS[answer] for row, answer in zip(kept, readings.answers.tolist(), strict=True)
    }
    return report


def shown(report: dict[str, Any]) -> list[str]:
    """For people."""
    return [f"== {kind} ==\n{report_lines({'us_p50': 0.0, 'us_p99': 0.0} | part)}" for kind, part in report.items()]


if __name__ == "__main__":
    sys.exit(main())
