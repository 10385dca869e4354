"""What the classifier reads rightly after learning from a part of its prompts: by class and by language.

    python tools/learning_curves.py DATA [--plot FILE]

Learns from an eighth, a quarter, a half and all of data/prompts (whole batches, drawn by the hash of their names)
beside all of the files in DATA, then from such parts of DATA's typed prompts beside all of data/prompts, and reads each
row by weights that did not learn from its fold. Prints the tables of docs/classifier.md; ``--plot`` draws them, with
matplotlib, which nothing else needs: ``pip install matplotlib``. Takes ten minutes of two cores.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from train_shipped import STEPS, Prompts, corpus_of, load

from modelway import Config
from modelway.learn.duplicates import FOLDS
from modelway.learn.measures import Ints, Truth, accuracy, per_class
from modelway.learn.reading import reader_of_folds
from modelway.learn.rows import LABELS
from modelway.learn.training import Bools, Corpus

SHARES = (0.0, 0.125, 0.25, 0.5, 1.0)
Curve = dict[str, list[float]]
"""By name the figure after each share of ``SHARES``."""


def drawn(name: str) -> float:
    """Where a name stands among all, from 0 to 1: those below a share are the same with every larger one."""
    return int.from_bytes(hashlib.sha256(f"curve:{name}".encode()).digest()[:4]) / 2**32


def answers_of(prompts: Prompts, corpus: Corpus, chosen: Bools) -> Ints:
    """What each row is read as by weights from the rows ``chosen`` of the other folds."""
    models = []
    for fold in range(FOLDS):
        held = prompts.fold == fold
        model = corpus.train(chosen & ~held, None, STEPS)
        # Temperature and threshold are a handful of numbers: whose rows set them matters little to a curve.
        models.append(corpus.calibrated(model, held, all_scores(corpus, model, held)))
    return reader_of_folds(Config(), models, prompts.fold)([row.text for row in prompts.rows], None).answers


def all_scores(corpus: Corpus, model: bytes, held: Bools) -> Any:
    scores = np.zeros((len(held), len(LABELS) + 1), np.float32)
    scores[held] = corpus.scores(model, held)
    return scores


def curves(prompts: Prompts, runs: list[Ints], measured: Bools) -> Curve:
    """Strict accuracy of all, F1 of each class and strict accuracy of each language, over the rows ``measured``."""
    truth = Truth.of(prompts.rows)
    lang = np.array([row.lang for row in prompts.rows])
    found: Curve = {}
    for answers in runs:
        part = truth.part(measured)
        found.setdefault("all", []).append(accuracy(answers[measured], part)["strict"])
        for name, of_class in per_class(answers[measured], part).items():
            found.setdefault(name, []).append(of_class["f1"])
        for one in np.unique(lang[measured]):
            rows = measured & (lang == one)
            if rows.sum() >= 300:
                found.setdefault(str(one), []).append(accuracy(answers[rows], truth.part(rows))["strict"])
    return found


def table(title: str, shares: list[str], curve: Curve) -> str:
    """Markdown, the names down and the shares across."""
    lines = [f"| {title} | {' | '.join(shares)} |", "| --- |" + " --- |" * len(shares)]
    return "\n".join(lines + [f"| {name} | {' | '.join(f'{v:.2f}' for v in row)} |" for name, row in curve.items()])


def plot(file: Path, panels: list[tuple[str, list[int], Curve]]) -> None:
    """A picture with a panel for each of (title, numbers of prompts, curves)."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "modelway"  # else the ids in the file would be others each time
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(panels), figsize=(5.2 * len(panels), 5.2), layout="constrained")
    for axis, (title, numbers, curve) in zip(axes, panels, strict=True):
        for place, (name, values) in enumerate(curve.items()):
            style = ("-", "--", ":")[place // 10]
            axis.plot(numbers, values, style, color=f"C{place % 10}", marker="o", markersize=3, label=name)
        axis.set(title=title, xlabel="prompts", ylim=(0, 1))
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7, ncols=3, loc="lower right")
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("data", type=Path, metavar="DATA")
    options.add_argument("--plot", type=Path, metavar="FILE")
    asked = options.parse_args()
    prompts = load(asked.data)
    corpus = corpus_of(prompts)
    own, natural = prompts.own, prompts.typical & ~prompts.own
    place = np.array([drawn(row.id.rpartition("-")[0] if row.source == "own" else row.id) for row in prompts.rows])
    whole = answers_of(prompts, corpus, np.ones(len(own), np.bool_))
    with_own = [*(answers_of(prompts, corpus, ~own | (place < share)) for share in SHARES[:-1]), whole]
    with_natural = [*(answers_of(prompts, corpus, ~natural | (place < share)) for share in SHARES[:-1]), whole]
    by_own, by_natural = curves(prompts, with_own, own), curves(prompts, with_natural, natural)
    del by_natural["en"]  # all of them are
    classes = {"all", *LABELS}
    panels = [
        ("own prompts, by class", own, {name: row for name, row in by_own.items() if name in classes}),
        ("own prompts, by language", own, {name: row for name, row in by_own.items() if name not in classes}),
        ("typed prompts, by class", natural, by_natural),
    ]
    numbers = [[round(share * rows.sum() * (FOLDS - 1) / FOLDS) for share in SHARES] for _, rows, _ in panels]
    for (title, _, curve), learned in zip(panels, numbers, strict=True):
        print(table(title, [f"{number:,}" for number in learned], curve), end="\n\n")
    if asked.plot:
        plot(asked.plot, [(title, learned, curve) for (title, _, curve), learned in zip(panels, numbers, strict=True)])


if __name__ == "__main__":
    main()
