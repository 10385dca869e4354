"""Catalogues of words, and what the user's own file changes in them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from modelway.errors import ConfigError, ConfigProblem
from modelway.near import did_you_mean

#: Languages in which there is a catalogue.
LANGUAGES = ("en", "es", "fr", "de", "zh")

_TABLES = ("labels", "hand_off")
#: Between a sentence and the same in the next language.
_BESIDE = " / "

Catalogue = dict[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class Words:
    """The words in force; ``catalogues`` one a language, in the order in which they are shown."""

    catalogues: tuple[Catalogue, ...]
    names: Mapping[str, str]

    def label(self, kind: str, *, destination: str = "") -> str:
        """The warning of this kind: ``math``, ``code``, ``external``, ``tax``, ``medical``, ``legal``."""
        return self._in_all("labels", kind).replace("{destination}", destination)

    def hand_off(self, task: str) -> str:
        """What is said when a specialist for ``task`` (short name) is asked; empty where none is special for it."""
        return self._in_all("hand_off", task)

    def name_of(self, model: str) -> str:
        """What people call a model that its server calls ``model``: ``qwen2.5-coder:7b`` is Qwen 2.5 Coder 7b."""
        path, _, plain = model.rpartition("/")
        known = [name for name in self.names if plain.lower().startswith(name)]
        if path or not known:
            return model
        longest = max(known, key=len)
        rest = plain[len(longest) :].removesuffix(":latest")
        if rest and rest[0] not in ":-":
            return model  # another model, whose name only begins alike
        return " ".join([self.names[longest], *rest.replace(":", "-").strip("-").split("-")]).strip()

    def _in_all(self, table: str, key: str) -> str:
        said = (catalogue[table].get(key, "") for catalogue in self.catalogues)
        return _BESIDE.join(dict.fromkeys(text for text in said if text))


def load_words(languages: Sequence[str] = ("en",), file: Path | None = None) -> Words:
    """The words of ``languages``; ``file`` is the user's own.

    It has the tables ``[labels]``, ``[hand_off]`` and ``[names]``, in force for every language, or ``[de.labels]`` for
    one; nothing but it is read. Raises :class:`ConfigError` where it can't be read or has what no catalogue has.
    """
    own = {} if file is None else _read(file)
    catalogues = []
    for language in languages:
        found = _built_in(language)
        for part in (own, own.get(language, {})):
            for table in _TABLES:
                found[table] |= part.get(table, {})
        catalogues.append(found)
    return Words(tuple(catalogues), {**_built_in("names"), **_folded(own.get("names", {}))})


def _built_in(name: str) -> dict[str, Any]:
    """A copy of what stands in the package."""
    return {key: dict(value) if isinstance(value, dict) else value for key, value in _PACKAGED[name].items()}


def _packaged(name: str) -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath(f"{name}.toml").read_text(encoding="utf-8"))


#: Read with this module and never again: who has an event loop must not wait for files.
_PACKAGED = {name: _packaged(name) for name in (*LANGUAGES, "names")}


def _folded(names: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): shown for name, shown in names.items()}


def _read(file: Path) -> dict[str, Any]:
    try:
        own = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        problem = f'"{file}" can\'t be read ({error.strerror}); name another file or remove the line'
        raise ConfigError([ConfigProblem("terminology.file", problem)]) from error
    except ValueError as error:
        raise ConfigError([ConfigProblem("", f"not valid TOML: {error}")], str(file)) from None
    if problems := [*_problems(own, "", top=True)]:
        raise ConfigError(problems, str(file))
    return own


def _problems(part: Mapping[str, Any], path: str, *, top: bool) -> list[ConfigProblem]:
    known = _built_in("en")
    problems = []
    for key, value in part.items():
        here = f"{path}{key}"
        tables = (*_TABLES, "names", *LANGUAGES) if top else _TABLES
        if key not in tables:
            hint = did_you_mean(key, tables) or f"known here: {', '.join(tables)}"
            problems.append(ConfigProblem(here, f"unknown table; {hint}"))
        elif not isinstance(value, dict):
            problems.append(ConfigProblem(here, "it should be a table"))
        elif key in LANGUAGES:
            problems += _problems(value, f"{here}.", top=False)
        else:
            problems += _of_table(value, here, None if key == "names" else known[key])
    return problems


def _of_table(table: Mapping[str, Any], path: str, known: Mapping[str, str] | None) -> list[ConfigProblem]:
    problems = []
    for key, value in table.items():
        if known is not None and key not in known:
            hint = did_you_mean(key, known) or f"known here: {', '.join(known)}"
            problems.append(ConfigProblem(f"{path}.{key}", f"unknown key; {hint}"))
        elif not isinstance(value, str) or not value.isprintable():
            problems.append(ConfigProblem(f"{path}.{key}", "it should be a text of one line"))
    return problems
