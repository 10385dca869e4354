"""The words that people are shown: whole in every language, overridable, and never in a hurry."""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from modelway.errors import ConfigError
from modelway.terminology import LANGUAGES, load_words


def catalogue(language: str) -> dict[str, dict[str, str]]:
    return tomllib.loads(files("modelway.terminology").joinpath(f"{language}.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_is_whole(language: str) -> None:
    known, own = catalogue("en"), catalogue(language)
    assert {table: list(own[table]) for table in own} == {table: list(known[table]) for table in known}
    places = re.compile(r"\{\w+\}")
    for table, texts in own.items():
        for key, text in texts.items():
            assert text.isprintable()
            assert places.findall(text) == places.findall(known[table][key])


def test_the_words_of_the_design() -> None:
    words = load_words()
    assert words.label("math") == "Verify important calculations."
    assert words.label("code") == "Review before using - may contain bugs."
    assert words.label("external", destination="api.example.com") == "Your data will be sent to api.example.com."
    assert words.hand_off("code") == "Getting code expertise…"
    assert words.hand_off("general") == ""


#: What hurries people, or frightens them into staying, in the languages of the catalogues.
_URGENT = re.compile(
    r"hurry|now!|only \d+ (\w+ )?(left|more)|last chance|limited time|don.t miss|act fast|running out|upgrade|expires|"
    r"beeil|nur noch|letzte chance|jetzt!|¡|ap[uú]rate|[uú]ltima oportunidad|solo quedan|d[eé]p[eê]che|"
    r"derni[eè]re chance|plus que \d|赶快|仅剩|最后机会|立即升级",
    re.IGNORECASE,
)


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_hurries_anybody(language: str) -> None:
    for texts in catalogue(language).values():
        for text in texts.values():
            assert not _URGENT.search(text)
            assert not re.search(r"[!！]", text)


def test_what_hurries_is_known() -> None:
    for text in ("Only 3 questions left!", "Hurry", "Nur noch heute", "solo quedan 2", "仅剩 3 次"):
        assert _URGENT.search(text)


def test_several_languages_stand_beside_each_other() -> None:
    words = load_words(("en", "de"))
    assert words.label("math") == "Verify important calculations. / Wichtige Berechnungen bitte nachprüfen."


@pytest.mark.parametrize(
    ("model", "shown"),
    [
        ("qwen2.5-coder:7b", "Qwen 2.5 Coder 7b"),
        ("qwen2.5:7b-instruct-q4_K_M", "Qwen 2.5 7b instruct q4_K_M"),
        ("llama3.1:latest", "Llama 3.1"),
        ("Llama3.1", "Llama 3.1"),
        ("deepseek-coder:6.7b", "DeepSeek Coder 6.7b"),
        ("smollm2-135m", "SmolLM2 135m"),
        ("gemma3n:e4b", "gemma3n:e4b"),
        ("somebody/llama3.1", "somebody/llama3.1"),
        ("unheard-of", "unheard-of"),
        ("", ""),
    ],
)
def test_what_people_call_a_model(model: str, shown: str) -> None:
    assert load_words().name_of(model) == shown


def test_own_words_go_before(tmp_path: Path) -> None:
    file = tmp_path / "words.toml"
    file.write_text('[labels]\nmath = "Count again."\n[de.hand_off]\ncode = "Moment…"\n[names]\n"My-Model" = "Mine"\n')
    words = load_words(("en", "de"), file)
    assert words.label("math") == "Count again."
    assert words.hand_off("code") == "Getting code expertise… / Moment…"
    assert words.name_of("my-model:2") == "Mine 2"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[label]\n", 'label: unknown table; did you mean "labels"?'),
        ("[labels]\nmaths = ''\n", 'labels.maths: unknown key; did you mean "math"?'),
        ("[de.names]\n", "de.names: unknown table"),
        ("labels = 3\n", "labels: it should be a table"),
        ("[labels]\nmath = 3\n", "labels.math: it should be a text of one line"),
        ('[labels]\nmath = "a\\nb"\n', "labels.math: it should be a text of one line"),
        ("[labels", "not valid TOML"),
    ],
)
def test_what_is_wrong_in_own_words(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "words.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(problem)):
        load_words(("en",), file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"terminology\.file"):
        load_words(("en",), tmp_path / "none.toml")
