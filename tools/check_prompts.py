"""The prompts of ``data/prompts``: whether each row is sound, and whether they are as various as prompts must be.

    python tools/check_prompts.py [--yardstick NATURAL]

Prints a line for each language and exits with 1 at any fault: a row that is not as data/plan.md says, more than 1 % of
rows that share a run of five words (eight characters in scripts without spaces) with another row, an opening (three
words; six characters) that more than 0.5 % of a language's rows have, or English that has fewer different n-grams
than 80 % of the yardstick. ``--yardstick`` computes data/yardstick.json anew from a file of prompts that people typed.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from modelway.learn.rows import LABELS

ROOT = Path(__file__).parents[1]
DATA = ROOT / "data"
LANGUAGES = (
    "ar",
    "de",
    "en",
    "es",
    "fr",
    "hi",
    "id",
    "it",
    "ja",
    "ko",
    "mix",
    "nl",
    "pl",
    "pt",
    "ru",
    "tr",
    "vi",
    "zh",
)
DOMAINS = frozenset(
    [
        "home",
        "family",
        "school",
        "university",
        "science",
        "software",
        "data",
        "office",
        "business",
        "health",
        "money",
        "law",
        "travel",
        "food",
        "media",
        "games",
        "sport",
        "devices",
        "language",
        "society",
        "history",
        "culture",
        "hobby",
        "craft",
        "relationships",
        "local",
    ]
)
REGISTERS = frozenset(
    [
        "terse",
        "chatty",
        "formal",
        "slang",
        "typos",
        "dictation",
        "child",
        "expert",
        "nonnative",
        "pasted",
        "turn",
        "agent",
        "mixed",
        "plain",
    ]
)
KEYS = frozenset(["id", "text", "label", "also", "hard", "lang", "domain", "register", "batch", "grade"])
#: Whole batches that nothing is learned from, of the same numbers in each language.
KEPT = frozenset({"04", "07", "10", "13"})
#: English has more batches than the others, mixed languages have fewer.
KEPT_BESIDE = {"en": frozenset({"62", "69"}), "mix": frozenset({"11"})}

MOST_ALIKE = 0.01
MOST_OF_ONE_OPENING = 0.005
LEAST_OF_YARDSTICK = 0.8
#: Tokens that different n-grams are counted among: of more text a smaller share is new, so all samples have one size.
SAMPLE = 40_000
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
#: Signs of vowels are parts of words in Arabic and Devanagari, and no letters.
_WORD = re.compile(r"[\w\u0300-\u036f\u064b-\u0652\u0900-\u097f]+")

Prompt = dict[str, Any]


def is_kept(row: Prompt) -> bool:
    """Whether the row is of the project's own test set."""
    language, _, number = row["batch"].rpartition("-")
    return number in KEPT or number in KEPT_BESIDE.get(language, ())


def read_prompts(folder: Path = DATA / "prompts") -> dict[str, list[Prompt]]:
    """The rows of each language."""
    files = sorted(folder.glob("*.jsonl"))
    return {file.stem: [json.loads(line) for line in file.read_text("utf-8").splitlines()] for file in files}


def row_faults(language: str, rows: Sequence[Prompt]) -> Iterator[str]:
    """What is wrong with single rows."""
    seen: set[str] = set()
    for row in rows:
        place = f"{language}.jsonl: {row.get('id')}"
        if unknown := row.keys() - KEYS:
            yield f"{place}: unknown keys {sorted(unknown)}"
        if row["id"] in seen or row["id"].rpartition("-")[0] != row["batch"]:
            yield f'{place}: the id is there twice, or is not "{row["batch"]}-NN"'
        seen.add(row["id"])
        labels = [row["label"], *row.get("also", ())]
        if not set(labels) <= set(LABELS) or len(set(labels)) < len(labels):
            yield f"{place}: labels {labels}; each is one of {', '.join(LABELS)}, and there once"
        if row["lang"] != language or row["batch"].partition("-")[0] != language:
            yield f"{place}: language or batch is not of this file"
        if row["domain"] not in DOMAINS or row["register"] not in REGISTERS:
            yield f"{place}: domain {row['domain']!r} or register {row['register']!r} is not in data/plan.md"
        if row.get("hard", "silent") not in ("silent", "misled") or row.get("grade", 1) not in range(1, 6):
            yield f'{place}: "hard" is silent or misled, "grade" from 1 to 5'
        if not row["text"].strip():
            yield f"{place}: no text"


def words_of(text: str) -> list[str]:
    """Words in small letters; characters in a text of which a third or more is in scripts without spaces."""
    text = unicodedata.normalize("NFKC", text).lower()
    wide = len(_WIDE.findall(text)) * 3 >= len(text)
    return re.findall(r"\w", text) if wide else _WORD.findall(text)


def is_wide(words: Sequence[str]) -> bool:
    """Whether they are characters."""
    return any(_WIDE.match(word) for word in words) and all(len(word) == 1 for word in words)


def runs_of(text: str) -> set[tuple[str, ...]]:
    """All runs of five words or eight characters; the whole text where it has fewer."""
    words = words_of(text)
    length = min(8 if is_wide(words) else 5, len(words))
    return {tuple(words[at : at + length]) for at in range(len(words) - length + 1)}


def alike(rows: Iterable[Prompt]) -> list[tuple[str, str]]:
    """The ids of rows that share a third of their runs, or three, with one before, and of that one."""
    first: dict[tuple[str, ...], str] = {}
    found = []
    for row in rows:
        runs = runs_of(row["text"])
        shared = Counter(first[run] for run in runs if run in first)
        found += [(row["id"], other) for other, count in shared.most_common(1) if count >= min(3, len(runs) / 3)]
        for run in runs:
            first.setdefault(run, row["id"])
    return found


def opening_of(text: str) -> tuple[str, ...] | None:
    """The first three words or six characters; ``None`` of a text that has no more than these."""
    words = words_of(text)
    length = 6 if is_wide(words) else 3
    return tuple(words[:length]) if len(words) > length else None


def different(texts: Iterable[str], sample: int = SAMPLE) -> dict[str, float]:
    """The share of different ones among words, pairs and triples, of the first ``sample`` tokens of the texts in a
    shuffled order that is always the same."""
    shuffled = sorted(texts)
    random.Random(0).shuffle(shuffled)
    words: list[str] = []
    for text in shuffled:
        words += words_of(text)
        if len(words) >= sample:
            break
    words = words[:sample]
    runs = {name: [tuple(words[at : at + n]) for at in range(len(words) - n + 1)] for n, name in enumerate(NGRAMS, 1)}
    return {name: round(len(set(found)) / max(1, len(found)), 3) for name, found in runs.items()}


NGRAMS = ("words", "pairs", "triples")


def main() -> int:
    """Returns the exit status."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--yardstick", type=Path, metavar="NATURAL")
    asked = options.parse_args()
    yardstick = DATA / "yardstick.json"
    if asked.yardstick:
        typed = [json.loads(line)["text"] for line in asked.yardstick.read_text("utf-8").splitlines()]
        figures = {"tokens": SAMPLE, "texts": len(typed)} | different(typed)
        yardstick.write_text(json.dumps(figures, indent=2) + "\n")
    prompts = read_prompts()
    faults = [] if tuple(prompts) == LANGUAGES else [f"files of {', '.join(prompts)}, not of {', '.join(LANGUAGES)}"]
    faults += set_faults(prompts, json.loads(yardstick.read_text()))
    print(*faults, sep="\n", file=sys.stderr)
    return 1 if faults else 0


def set_faults(prompts: dict[str, list[Prompt]], yardstick: dict[str, float]) -> list[str]:
    """Everything wrong with the prompts; prints what they are as it goes."""
    faults: list[str] = []
    for language, rows in prompts.items():
        faults += row_faults(language, rows)
        pairs = alike(rows)
        openings = Counter(opening for row in rows if (opening := opening_of(row["text"])))
        opening, times = openings.most_common(1)[0]
        found = different(row["text"] for row in rows)
        kept = [row for row in rows if is_kept(row)]
        print(
            f"{language:4} {len(rows):5} rows, {len(kept):4} kept aside; {len(pairs)} alike; most frequent opening "
            f"{times} times; different words {found['words']:.2f}, pairs {found['pairs']:.2f}, "
            f"triples {found['triples']:.2f}"
        )
        if len(pairs) > MOST_ALIKE * len(rows):
            faults.append(
                f"{language}: {len(pairs)} of {len(rows)} rows are near-duplicates: {pairs[:10]}; rewrite them"
            )
        # Two alike are an accident, however few rows there are.
        if times > max(2, MOST_OF_ONE_OPENING * len(rows)):
            faults.append(f"{language}: {times} rows open with {' '.join(opening)!r}; rewrite some")
        if len(kept) < 150 or {row["label"] for row in kept} < set(LABELS):
            faults.append(f"{language}: {len(kept)} rows kept aside; 150 of all classes are needed")
        poor = [name for name in NGRAMS if found[name] < LEAST_OF_YARDSTICK * yardstick[name]]
        if language == "en" and poor:
            faults.append(f"en: fewer different {' and '.join(poor)} than prompts that people typed: {found}")
    return faults


if __name__ == "__main__":
    sys.exit(main())
