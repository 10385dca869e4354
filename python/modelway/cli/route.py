"""``modelway route``: the decision for a prompt, and why, without asking any model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from modelway.cli.clean import clean
from modelway.cli.options import Common, common_options, pass_common, prompt_argument, task_option
from modelway.cli.output import columns, print_json
from modelway.events import PLACES
from modelway.explain import rejection_sentence

if TYPE_CHECKING:
    from modelway.types import RoutingDecision, TaskClass

    Evidence = tuple[tuple[int, int, str, float], ...]  # as in Classification.evidence
    Rows = list[tuple[str, ...]]

_BAR = 24  # characters for a score of 1
_QUOTE = 60  # characters of the prompt in one line of evidence


@click.command()
@prompt_argument
@click.option("--explain", is_flag=True, help="Add scores, evidence and rejected candidates.")
@task_option
@click.option("--model", metavar="NAME", help="Ask for this model, by id or alias.")
@click.option("--tools", is_flag=True, help="The request carries tool definitions.")
@click.option("--images", type=click.IntRange(0), default=0, metavar="N", help="The request carries N images.")
@common_options
@pass_common
def route(
    common: Common, *, prompt: str, explain: bool, task: TaskClass | None, model: str | None, tools: bool, images: int
) -> None:
    """Decide which model serves PROMPT (or standard input), and say why."""
    from modelway.cli.routing import open_router
    from modelway.types import RoutingRequest

    _, router = open_router(common.load_config())
    request = RoutingRequest(prompt=prompt, task=task, model=model, tools=tools, images=images)
    decision = router.select(request)
    # Nothing was read where the caller's word or the tools decided.
    evidence = router.classify(prompt).evidence if decision.scores else ()
    if common.json:
        print_json(decision.to_dict() | ({"evidence": _places(evidence)} if explain else {}))
        return
    click.echo(clean(summary(decision)))
    if explain:
        click.echo(clean(details(decision, evidence, prompt)))


def _places(evidence: Evidence) -> list[dict[str, Any]]:
    return [dict(zip(("start", "end", "task", "weight"), found, strict=True)) for found in evidence]


def summary(decision: RoutingDecision) -> str:
    """The decision in a few aligned lines."""
    return columns(
        [
            ("model", decision.model),
            ("where", f"{PLACES[str(decision.location)]} ({decision.backend})"),
            ("task", str(decision.task)),
            ("confidence", f"{decision.confidence:.2f}"),
            ("why", decision.explanation),
            ("then", ", ".join(decision.chain) or "no other model"),
        ]
    )


def details(decision: RoutingDecision, evidence: Evidence, prompt: str) -> str:
    """Scores, evidence and rejected candidates, each under its heading."""
    rejected: Rows = [(model, rejection_sentence(reason)) for model, reason in decision.rejected]
    sections = {
        "scores": _score_rows(decision.scores)
        or [("the prompt was not read: the caller's word or the tools decided",)],
        "evidence": _evidence_rows(evidence, prompt) or [("no word of the prompt speaks for a task",)],
        "rejected": rejected or [("no model",)],
    }
    complexity = f"complexity  {decision.complexity:.2f} (0: a quick answer will do, 1: deep thinking)"
    return "\n".join([complexity, *(f"{heading}\n{columns(rows, '  ')}" for heading, rows in sections.items())])


def _score_rows(scores: dict[str, float]) -> Rows:
    best_first = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    return [(task, f"{score:.3f}", "#" * round(score * _BAR)) for task, score in best_first]


def _evidence_rows(evidence: Evidence, prompt: str) -> Rows:
    rows: Rows = []
    for start, end, task, weight in evidence:
        words = " ".join(prompt[start:end].split())
        quote = words if len(words) <= _QUOTE else words[: _QUOTE - 1] + "…"
        rows.append((task, f"{weight:+.2f}", f"“{quote}”", f"characters {start} to {end}"))
    return rows
