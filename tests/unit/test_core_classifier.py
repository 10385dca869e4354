"""What holds for the reading of any text."""

from __future__ import annotations

import json
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import modelway as mw

SHIPPED = Path(__file__).parents[2] / "rust/modelway-core/src/classify/weights.bin"
EVERY_RUN = settings(derandomize=True, deadline=None, max_examples=300, database=None)

# Lone surrogates, controls and unassigned code points included.
any_text = st.text(st.characters(codec=None, exclude_categories=()), max_size=80)
pieces = st.one_of(
    any_text,
    st.sampled_from(
        [
            *(
                "write",
                "a function",
                "Python",
                "poem",
                "x^2 + 1 = 0",
                "```",
                "def f():",
                "函数",
                "코드",
                "код",
                "função",
            ),
            *("weather in", "\u202e", "\x00", "\ud800", "e\u0301", "\u1112\u1161\u11ab", "ﬁx", "ＣＯＤＥ", "🦀", "\n"),
        ]
    ),
)
texts = st.lists(pieces, max_size=8).map(" ".join)

#: What the lexicon's entries below weigh, in units of the logit; trained weights are no such round numbers.
LEXICON_WEIGHTS = (0.9, 1.08, 3.6)

LABELS = ("quick", "deep", "code", "math", "creative", "tool_use", "general")

KEYWORDS = {"unicorn": "code", "höhe": "math", "vals": "creative"}


@pytest.fixture(scope="module")
def router() -> mw.ModelRouter:
    routing = {f"{task}_keywords": [word] for word, task in KEYWORDS.items()}
    return mw.ModelRouter(mw.Config.model_validate({"models": [{"id": "only"}], "routing": routing}))


def normal(text: str) -> str:
    """The form in which words are compared, in Python's own terms."""
    visible = "".join(c for c in text if c in "\n\r\t" or unicodedata.category(c) not in ("Cc", "Cf"))
    folded = unicodedata.normalize("NFKC", visible).lower()
    return "".join(c for c in unicodedata.normalize("NFD", folded) if not "\u0300" <= c <= "\u036f")


@EVERY_RUN
@given(text=texts)
def test_m04_m05_m07_any_text_has_a_reading(router: mw.ModelRouter, text: str) -> None:
    reading = router.classify(text)
    assert sum(reading.scores.values()) == pytest.approx(1.0, abs=1e-5)
    assert set(reading.scores) == {str(task) for task in mw.TaskClass.all()} - {"embedding"}
    assert all(0 <= score <= 1 for score in reading.scores.values())
    assert reading.confidence == reading.scores[str(reading.task)]
    first, second = sorted(reading.scores.values(), reverse=True)[:2]
    assert reading.margin == pytest.approx(first - second, abs=1e-5)
    assert 0 <= reading.complexity <= 1
    assert json.loads(json.dumps(reading.to_dict()))["task"] == reading.task
    decision = router.select(text)
    assert (decision.task, decision.confidence, decision.scores) == (reading.task, reading.confidence, reading.scores)


@EVERY_RUN
@given(text=texts)
def test_m04_evidence_stands_where_it_says(router: mw.ModelRouter, text: str) -> None:
    evidence = router.classify(text).evidence
    for start, end, task, weight in evidence:
        assert 0 <= start < end <= len(text)
        assert task in {str(known) for known in mw.TaskClass.all()}
        assert weight != 0
    assert [found[0] for found in evidence] == sorted(found[0] for found in evidence)


@EVERY_RUN
@given(before=any_text, word=st.sampled_from([*KEYWORDS]), form=st.sampled_from(["as is", "NFD", "upper", "NFKD"]))
def test_m04_a_word_is_found_at_its_characters(router: mw.ModelRouter, before: str, word: str, form: str) -> None:
    written = word.upper() if form == "upper" else word if form == "as is" else unicodedata.normalize(form, word)
    text = f"{before}. {written} ."
    found = [(start, end) for start, end, task, _ in router.classify(text).evidence if task == KEYWORDS[word]]
    place = (len(before) + 2, len(before) + 2 + len(written))
    assert place in found
    assert normal(text[slice(*place)]) == normal(word)


@pytest.mark.parametrize(
    ("text", "matched"),
    [
        ("please debug it", ["debug"]),
        ("\ud800\udfff debug", ["debug"]),
        ("🦀 debug 🦀", ["debug"]),
        ("de\u200bbug", ["de\u200bbug"]),
        ("\x00debug\x00", ["debug"]),
        ("ｄｅｂｕｇ", ["ｄｅｂｕｇ"]),
        ("unicorn", ["unicorn"]),
        ("UNICORN", ["UNICORN"]),
        ("unicorns", []),
        ("höhe ho\u0308he HÖHE Höher", ["höhe", "ho\u0308he", "HÖHE"]),
        ("\u1112\u1161\u11b7\u1109\u116e", ["\u1112\u1161\u11b7\u1109\u116e"]),
        ("함수", ["함수"]),
    ],
)
def test_m04_what_was_matched(router: mw.ModelRouter, text: str, matched: list[str]) -> None:
    evidence = router.classify(text).evidence
    assert [text[start:end] for start, end, _, weight in evidence if weight in LEXICON_WEIGHTS] == matched


@pytest.mark.parametrize("filler", ["word ", "語", "🦀", "\ud800", "\u202e", "\x00"])
def test_m02_a_long_text_is_read_at_both_ends_and_positions_stay_right(router: mw.ModelRouter, filler: str) -> None:
    text = f"Write a Python function. {filler * (1_000_000 // len(filler))}\nRefactor this Python script"
    reading = router.classify(text)
    assert reading.task == "code"
    matched = {text[start:end].lower() for start, end, _, _ in reading.evidence}
    assert {"python", "function", "refactor", "python script"} <= matched


@pytest.mark.parametrize("where", ["head", "tail"])
def test_m02_the_task_of_a_long_prompt_stands_at_either_end(router: mw.ModelRouter, where: str) -> None:
    prose = "It rained on the hills and nobody came. " * 5_000
    asked = "Write a Rust function to parse JSON. "
    decision = router.select(asked + prose if where == "head" else prose + asked)
    assert decision.task == "code"
    assert decision.context_tokens > 40_000, "the whole length counts, not that of the sample"


def test_the_same_text_reads_the_same_from_many_threads(router: mw.ModelRouter) -> None:
    some = [f"write a Python function number {n} or a poem" for n in range(50)]
    alone = [router.classify(text).to_dict() for text in some]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda _: [router.classify(text).to_dict() for text in some], range(16)))
    assert together == [alone] * 16


def test_configured_keywords_add_to_what_is_known() -> None:
    routing = {"math_keywords": ["sudoku"], "code_keywords": ["unicorn"]}
    config = mw.Config.model_validate({"models": [{"id": "only"}], "routing": routing})
    router = mw.ModelRouter(config)
    without = mw.ModelRouter(mw.Config())
    assert router.classify("my unicorn").scores["code"] > without.classify("my unicorn").scores["code"]
    plural = "unicorns of unicornia"
    assert router.classify(plural).scores == without.classify(plural).scores, "whole words only"
    leads = router.classify("sudoku and unicorn")
    assert leads.task not in ("math", "code"), "two leads to different classes decide nothing"


def test_many_texts_read_as_each_alone(router: mw.ModelRouter) -> None:
    texts = [f"write a Python function number {n}, a poem, or 写一个函数 \ud800" for n in range(700)] + ["", "hi"]
    texts.append("calculate")
    batch = router.classify_many(texts)
    alone = [router.classify(text) for text in texts]
    assert len(batch) == len(texts)
    assert [batch.task_names[task] for task in batch.tasks] == [str(reading.task) for reading in alone]
    assert batch.scores.shape == (len(texts), 7)
    assert batch.scores.dtype == batch.confidence.dtype == batch.complexity.dtype == np.float32
    assert batch.confidence.tolist() == pytest.approx([reading.confidence for reading in alone], abs=1e-6)
    assert batch.unsure.dtype == np.bool_
    assert batch.unsure.tolist() == [router.select(text).reason == "unsure" for text in texts]
    assert batch.complexity.tolist() == pytest.approx([reading.complexity for reading in alone], abs=1e-6)
    for row, reading in zip(batch.scores[::50], alone[::50], strict=True):
        assert dict(zip(batch.task_names, row.tolist(), strict=True)) == pytest.approx(reading.scores, abs=1e-6)


def test_no_text_is_a_batch_and_one_str_is_none(router: mw.ModelRouter) -> None:
    nothing = router.classify_many([])
    assert (len(nothing), nothing.scores.shape, nothing.unsure.shape) == (0, (0, 7), (0,))
    with pytest.raises(TypeError, match="a list of str, not one str"):
        router.classify_many("hi")
    with pytest.raises(TypeError):
        router.classify_many(["hi", 5])  # type: ignore[list-item]


def test_own_weights_and_threshold_are_in_force(tmp_path: Path) -> None:
    (tmp_path / "own.bin").write_bytes(SHIPPED.read_bytes())
    toml = '[[models]]\nid = "only"\n[classifier]\nweights = "own.bin"\nthreshold = 1.0'
    router = mw.ModelRouter(mw.Config.from_toml(toml, tmp_path))
    text = "what is the capital of Peru?"
    assert router.classify(text).scores == mw.ModelRouter(mw.Config()).classify(text).scores
    assert router.select(text).reason == "unsure", "no probability is that high"


def with_priors(priors: str) -> mw.ModelRouter:
    return mw.ModelRouter(mw.Config.from_toml(f'[[models]]\nid = "only"\n[classifier]\npriors = {priors}'))


def test_priors_move_logits_by_the_ratio_of_the_shares() -> None:
    text = "what is the capital of Peru, and who wrote about it?"
    odds = {}
    for quick, code in ((0.1, 0.2), (0.2, 0.1)):
        scores = with_priors(f"{{ QuickResponse = {quick}, code = {code} }}").classify(text).scores
        odds[quick] = scores["quick"] / scores["code"], scores["math"] / scores["general"]
    assert odds[0.2][0] / odds[0.1][0] == pytest.approx(4, rel=1e-2), "scores are shown rounded"
    own = mw.ModelRouter(mw.Config()).classify(text).scores
    assert [odds[0.1][1], odds[0.2][1]] == pytest.approx([own["math"] / own["general"]] * 2, rel=1e-2)
    shipped = dict(zip(LABELS, np.frombuffer(SHIPPED.read_bytes()[60:88], "<f4").tolist(), strict=True))
    same = with_priors(f"{{ code = {shipped['code']}, deep = {shipped['deep']} }}").classify(text).scores
    assert same == pytest.approx(own, abs=1e-4)


@pytest.mark.parametrize(
    ("priors", "path", "says"),
    [
        ("{ code = 0.7, quick = 0.4 }", "classifier.priors", "add up to 1.1"),
        ("{ code = 0.7, quick = 0.3 }", "classifier.priors", "less where a task is not named"),
        ("{ code = 0 }", "classifier.priors.code", "greater than 0"),
        ("{ code = 1.5 }", "classifier.priors.code", "less than or equal to 1"),
        ("{ cod = 0.5 }", "classifier.priors.cod", "code"),
        ("{ code = 0.2, CodeGeneration = 0.2 }", "classifier.priors", "the same task"),
        ("{}", "classifier.priors", "at least 1"),
    ],
)
def test_priors_that_can_not_be_are_refused(priors: str, path: str, says: str) -> None:
    with pytest.raises(mw.ConfigError, match=says) as caught:
        with_priors(priors)
    assert [problem.path for problem in caught.value.problems] == [path]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "can't be read"),
        (b"", "damaged"),
        (b"GGUF" + bytes(2_000), "no file of weights"),
        (SHIPPED.read_bytes()[:-1], "damaged"),
    ],
)
def test_weights_that_are_none_are_refused_by_name(tmp_path: Path, content: bytes | None, says: str) -> None:
    if content is not None:
        (tmp_path / "own.bin").write_bytes(content)
    config = mw.Config.from_toml('[classifier]\nweights = "own.bin"', tmp_path)
    with pytest.raises(mw.ConfigError, match=says) as caught:
        mw.ModelRouter(config)
    assert [problem.path for problem in caught.value.problems] == ["classifier.weights"]
