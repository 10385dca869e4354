"""How far two readers of data/prompts agree, by language.

    python tools/second_reading.py

Compares the first labels of data/second_reading.jsonl with those of the same rows in data/prompts: the share that is
equal, and Cohen's kappa, the part of what chance does not explain (Educ. Psychol. Meas. 20, 1960).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from check_prompts import DATA, read_prompts

Pair = tuple[str, str]


def agreement(pairs: Sequence[Pair]) -> float:
    """The share of pairs whose labels are equal."""
    return sum(one == other for one, other in pairs) / len(pairs)


def kappa(pairs: Sequence[Pair]) -> float:
    """Cohen's kappa; 1 where only one label is used, as chance explains everything then."""
    firsts, seconds = Counter(one for one, _ in pairs), Counter(other for _, other in pairs)
    by_chance = sum(count * seconds[label] for label, count in firsts.items()) / len(pairs) ** 2
    return 1.0 if by_chance == 1 else (agreement(pairs) - by_chance) / (1 - by_chance)


def pairs_by_language() -> dict[str, list[Pair]]:
    """The first label of both readers, of each row that both have read."""
    lines = (DATA / "second_reading.jsonl").read_text("utf-8").splitlines()
    second = {row["id"]: row["label"] for row in map(json.loads, lines)}
    prompts = read_prompts()
    pairs = {
        language: [(row["label"], second.pop(row["id"])) for row in rows if row["id"] in second]
        for language, rows in prompts.items()
    }
    assert not second, f"no such prompts: {sorted(second)}"
    return pairs


def main() -> None:
    by_language = pairs_by_language()
    print("| language | prompts | equal | kappa |\n| --- | --- | --- | --- |")
    everything = [pair for pairs in by_language.values() for pair in pairs]
    for language, pairs in {"all": everything, **by_language}.items():
        print(f"| {language} | {len(pairs)} | {agreement(pairs):.2f} | {kappa(pairs):.2f} |")


if __name__ == "__main__":
    main()
