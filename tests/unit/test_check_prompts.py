"""The prompts of ``data/`` are sound and various, and the check that says so finds what it is to find."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_prompts", ROOT / "tools/check_prompts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(number: int, text: str, **other: object) -> dict[str, object]:
    fixed = {"lang": "de", "domain": "home", "register": "terse", "batch": "de-01"}
    return {"id": f"de-01-{number:02}", "text": text, "label": "quick", **fixed, **other}


def test_the_prompts_hold(check: ModuleType) -> None:
    yardstick = json.loads((ROOT / "data/yardstick.json").read_text())
    prompts = check.read_prompts()
    assert tuple(prompts) == check.LANGUAGES
    assert sum(map(len, prompts.values())) >= 12_000
    assert check.set_faults(prompts, yardstick) == []


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"label": "fun"}, "labels"),
        ({"also": ["quick"]}, "labels"),
        ({"lang": "fr"}, "language or batch"),
        ({"batch": "de-02"}, "the id"),
        ({"domain": "moon"}, "domain"),
        ({"register": "loud"}, "register"),
        ({"hard": "very"}, '"hard"'),
        ({"grade": 6}, '"grade"'),
        ({"text": " \n"}, "no text"),
        ({"weight": 2}, "unknown keys"),
    ],
)
def test_a_row_that_is_wrong_is_named(check: ModuleType, other: dict[str, object], said: str) -> None:
    assert list(check.row_faults("de", [row(1, "licht aus", also=["tool_use"], hard="silent", grade=2)])) == []
    (fault,) = check.row_faults("de", [row(1, "licht aus") | other])
    assert said in fault
    assert "de-01-01" in fault


def test_an_id_that_is_there_twice_is_a_fault(check: ModuleType) -> None:
    assert len(list(check.row_faults("de", [row(1, "licht aus"), row(1, "licht an")]))) == 1


@pytest.mark.parametrize(
    ("one", "other", "is_alike"),
    [
        ("Licht aus", "licht  AUS!", True),
        ("licht aus", "licht an", False),
        ("how do i get the red stain out of the wool", "please: how do I get the red stain out", True),
        ("a b c d e f g h i j k l m n o p q r s t u v", "x y z a b c d e z y x w v u t s r q p", False),
        ("帮我写一首关于秋天的短诗吧", "请帮我写一首关于秋天的短诗", True),
        ("帮我写一首诗", "帮我写一首歌", False),
        ("पानी कितना पीना चाहिए रोज", "पानी कितना पीना चाहिए रोज?", True),
    ],
)
def test_rows_that_say_the_same_are_found(check: ModuleType, one: str, other: str, is_alike: bool) -> None:
    assert bool(check.alike([row(1, one), row(2, other)])) == is_alike


@pytest.mark.parametrize(
    ("text", "opening"),
    [
        ("Was ist das?", None),
        ("Was ist das hier?", ("was", "ist", "das")),
        ("पानी कितना पीना है", ("पानी", "कितना", "पीना")),
        ("今天天气怎么样呢", ("今", "天", "天", "气", "怎", "么")),
    ],
)
def test_openings(check: ModuleType, text: str, opening: tuple[str, ...] | None) -> None:
    assert check.opening_of(text) == opening


def test_different_ngrams_are_counted_whatever_the_order_of_the_texts(check: ModuleType) -> None:
    texts = ["a b a", "c d", "a b"]
    assert check.different(texts) == check.different(texts[::-1])
    assert check.different(["a a a a"]) == {"words": 0.25, "pairs": 0.333, "triples": 0.5}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda rows: rows.extend(row(n, "wie geht es dir heute denn so") for n in range(90, 99)), "near-duplicates"),
        (lambda rows: rows.extend(row(n, f"mach mir bitte w{n}") for n in range(90, 99)), "open with"),
        (lambda rows: rows.clear() or rows.append(row(1, "eins zwei drei vier")), "kept aside"),
    ],
)
def test_sets_that_are_poor_are_faults(
    check: ModuleType, spoil: Callable[[list[dict[str, object]]], None], said: str
) -> None:
    labels = ("quick", "deep", "code", "math", "creative", "tool_use", "general") * 6
    rows = [
        row(number, " ".join(f"{batch[3:]}w{number}x{word}" for word in range(8)), label=label, batch=batch)
        | {"id": f"{batch}-{number:02}"}
        for batch in ("de-04", "de-07", "de-10", "de-13", "de-01")
        for number, label in enumerate(labels)
    ]
    yardstick = dict.fromkeys(check.NGRAMS, 0.9)
    assert check.set_faults({"de": rows}, yardstick) == []
    spoil(rows)
    assert any(said in fault for fault in check.set_faults({"de": rows}, yardstick))


def test_english_poorer_than_what_people_type_is_a_fault(check: ModuleType) -> None:
    rows = {"en": [row(1, "one two three four") | {"lang": "en", "batch": "en-01", "id": "en-01-01"}]}
    faults = check.set_faults(rows, dict.fromkeys(check.NGRAMS, 2.0))
    assert any("fewer different words and pairs and triples" in fault for fault in faults)
