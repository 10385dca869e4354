"""``modelway eval``: how well the classifier in force reads labelled prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modelway.cli.clean import clean
from modelway.cli.learning import require_learning, rows_argument, seed_option
from modelway.cli.options import Common, common_options, pass_common
from modelway.cli.output import columns, print_json

_SHARES = ("strict", "lenient", "macro_f1")


@click.command("eval")
@rows_argument()
@click.option(
    "--leave-one-family-out",
    is_flag=True,
    help="Measure the recipe instead: train on all sources but one family, read that family, for each in turn.",
)
@seed_option
@common_options
@pass_common
def evaluate(common: Common, *, files: tuple[Path, ...], leave_one_family_out: bool, seed: int) -> None:
    """Measure the classifier on labelled prompts.

    FILE has JSON lines {"text", "label", "also"?, "lang"?, "source"?}; labels: quick, deep, code, math, creative,
    tool_use, general. Any label in "also" counts as right in lenient figures.
    """
    require_learning()
    from modelway.learn.rows import read_rows

    config = common.load_config()
    rows = read_rows(files)
    if leave_one_family_out:
        from modelway.learn import comparison
        from modelway.learn.families import families, family_names

        names = [name for file in files for name in family_names(file)]
        report = comparison.leave_one_family_out(config, rows, families(rows, names))
        shown = family_lines(report)
    else:
        from modelway.learn.evaluation import evaluate as measure
        from modelway.learn.evaluation import time_classify
        from modelway.learn.reading import core_for, reader

        times = time_classify(core_for(config), [row.text for row in rows])
        report = measure(rows, reader(config), seed) | times
        shown = report_lines(report)
    if common.json:
        print_json(report)
    else:
        click.echo(clean(shown))


def report_lines(report: dict[str, Any]) -> str:
    """The report for people: the figures, then the classes, the languages and the thresholds."""
    auc = report["complexity_auc"]
    figures = [
        ("prompts", str(report["n"])),
        *((name.replace("_f1", "-F1"), _number(report[name])) for name in _SHARES),
        ("calibration error", _number(report["ece"])),
        ("flip rate", _number(report["flip_rate"])),
        ("unsure", _number(report["unsure"])),
        ("complexity, deep above general", _number(auc["general_deep"])),
        ("complexity, deep above quick", _number(auc["quick_deep"])),
        ("time", f"{report['us_p50']:.1f} µs, 1 in 100 above {report['us_p99']:.1f} µs"),
    ]
    return "\n".join(
        [
            columns(figures),
            "\nby class\n" + _table(report["per_class"], ("n", "precision", "recall", "f1")),
            "\nby language\n" + _table(report["per_language"], ("n", *_SHARES)),
            "\nby threshold\n"
            + _table({f"{row['threshold']:.2f}": row for row in report["by_threshold"]}, (*_SHARES, "unsure")),
        ]
    )


def family_lines(report: dict[str, Any]) -> str:
    """The accuracy on families that were left out, for people."""
    return _table(report["by_family"] | {"all": report}, ("n", *_SHARES))


def _table(rows: dict[str, dict[str, Any]], keys: tuple[str, ...]) -> str:
    return columns([("", *keys), *((name, *(_number(row[key]) for key in keys)) for name, row in rows.items())], "  ")


def _number(value: float | int | None) -> str:
    if value is None:
        return "no such prompts"
    return str(value) if isinstance(value, int) else f"{value:.3f}"
