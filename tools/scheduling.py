"""Writes the results of docs/scheduling.md, and its picture, from the simulator.

python tools/scheduling.py           # rewrites both
python tools/scheduling.py --check   # 1 where they are not what the simulator says now
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from modelway.testing.simulator import OrderOfArrival, Policy, Result, Routed, StaticGroups, percentile
from modelway.testing.simulator.scenarios import OWN_LISTS, SCENARIOS, Scenario

DOCS = Path(__file__).parents[1] / "docs"
PAGE, PICTURE = DOCS / "scheduling.md", DOCS / "scheduling.svg"
BEGIN, END = "<!-- results: written by tools/scheduling.py -->", "<!-- end of results -->"

COLORS = {"A": "#3465a4", "B": "#e07b39"}
LOADING = "#cfcfcf"
WIDTH, LANE, LEFT = 760, 26, 130


def policies(scenario: Scenario) -> dict[str, Policy]:
    found: dict[str, Policy] = {
        "order of arrival": OrderOfArrival(),
        "the same, least recently used goes": OrderOfArrival(least_recent=True),
        "static groups": StaticGroups(scenario.groups),
        "modelway": Routed(),
    }
    if any(model.makes_embeddings for model in scenario.models):
        found["modelway without a part for embeddings"] = Routed(backend={"embedding_bytes": 0})
    return found


def table(scenario: Scenario) -> str:
    """What each policy makes of one scenario; waits are 95th percentile and longest."""
    waits = [f"wait of {name}" if name != "all" else "wait" for name, _, _ in scenario.watched]
    rows = [["policy", "loads", "seconds", *waits]]
    for name, policy in policies(scenario).items():
        result = scenario.run(policy)
        cells = [waited(result, model, user) for _, model, user in scenario.watched]
        rows.append([name, str(result.loads), f"{result.span_s:.1f}", *cells])
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    rule = "| --- |" + " ---: |" * (len(rows[0]) - 1)
    return "\n".join([f"### {scenario.title}", "", head, rule, *body])


def waited(result: Result, model: str | None, user: str | None) -> str:
    waits = result.waits_s(model, user)
    return f"{percentile(waits, 95):.2f} / {waits[-1]:.2f}"


def tables() -> str:
    return "\n\n".join(map(table, SCENARIOS))


def picture() -> str:
    """What is in memory when, by order of arrival and by modelway, for clients that alternate between two models."""
    runs = [("order of arrival", OWN_LISTS.run(OrderOfArrival())), ("modelway", OWN_LISTS.run(Routed()))]
    scale = (WIDTH - LEFT - 20) / max(result.span_s for _, result in runs)
    parts = []
    for lane, (name, result) in enumerate(runs):
        top = 40 + lane * (LANE + 34)
        parts.append(text(10, top + 17, name))
        parts.append(
            text(LEFT, top - 6, f"{result.loads} loads, {result.span_s:.1f} s for {len(result.requests)} requests")
        )
        parts += bars(result, top, scale)
    bottom = 40 + len(runs) * (LANE + 34) - 14
    parts += axis(bottom, scale, max(result.span_s for _, result in runs))
    legend = {"A answers": COLORS["A"], "B answers": COLORS["B"], "a load": LOADING}
    for place, (name, color) in enumerate(legend.items()):
        parts.append(box(LEFT + 130 * place, bottom + 34, 14, color, 14))
        parts.append(text(LEFT + 20 + 130 * place, bottom + 46, name))
    height = bottom + 60
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        'font-size="13">'
        "<title>What is in memory when: two models of which one fits, eight clients that alternate between them</title>"
    )
    return "\n".join([head, box(0, 0, WIDTH, "#ffffff", height), *parts, "</svg>"]) + "\n"


def bars(result: Result, top: int, scale: float) -> list[str]:
    found = []
    for stay in sorted(result.stays, key=lambda stay: stay.began_s):
        gone_s = min(stay.gone_s or result.span_s, result.span_s)
        load, use = stay.ready_s - stay.began_s, gone_s - stay.ready_s
        found.append(box(LEFT + stay.began_s * scale, top, load * scale, LOADING))
        found.append(box(LEFT + stay.ready_s * scale, top, use * scale, COLORS[stay.model]))
    return found


def axis(top: int, scale: float, span_s: float) -> list[str]:
    ticks: Sequence[int] = range(0, int(span_s) + 1, 5)
    lines = [f'<path d="M{LEFT} {top}H{LEFT + span_s * scale:.1f}" stroke="#555555" fill="none"/>']
    return lines + [text(LEFT + tick * scale - 4, top + 18, f"{tick} s" if tick else "0") for tick in ticks]


def box(x: float, y: float, width: float, color: str, height: int = LANE) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}" fill="{color}"/>'


def text(x: float, y: float, words: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="#222222">{words}</text>'


def page() -> str:
    """The page with the present results."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{rest.partition(END)[2]}"


def main() -> int:
    written = {PAGE: page(), PICTURE: picture()}
    if "--check" in sys.argv[1:]:
        stale = [file.name for file, content in written.items() if file.read_text(encoding="utf-8") != content]
        if stale:
            print(f"docs/{', docs/'.join(stale)}: not what the simulator says; run python tools/scheduling.py")
        return int(bool(stale))
    for file, content in written.items():
        file.write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
