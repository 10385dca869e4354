"""SPDX licence expressions (``Apache-2.0 OR MIT``) taken apart: which licences they name, and how they are joined.

The grammar is that of annex D of the SPDX specification 2.3: ``WITH`` binds tighter than ``AND``, that tighter than
``OR``; operators are in upper case or, as version 3 allows, in lower case. A comma, with which converters of models
join several licences, counts as ``AND``.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

_TOKEN = re.compile(r"\s*(?:(?P<sign>[(),])|(?P<word>[A-Za-z0-9.+:/-]+))", re.ASCII)
_OPERATORS = {"AND": "AND", "and": "AND", ",": "AND", "OR": "OR", "or": "OR", "WITH": "WITH", "with": "WITH"}
#: Longer ones are none; the depth of brackets is bounded with it.
_MAX_CHARS = 200


class Joined(NamedTuple):
    """``parts`` of which all apply (``AND``), or of which one may be chosen (``OR``)."""

    how: Literal["AND", "OR"]
    parts: tuple[Expression, ...]


#: A licence's name, or several joined. An exception (``WITH``) is left out: it only allows more.
Expression = str | Joined


def parse(text: str) -> Expression | None:
    """The expression that ``text`` is; None: it is none, a text of another kind."""
    tokens = _tokens(text)
    if not tokens:
        return None
    reader = _Reader(tokens)
    try:
        whole = reader.any_of()
    except _NoExpressionError:
        return None
    return None if reader.next else whole


def _tokens(text: str) -> list[str]:
    """Empty where it holds something that no expression has."""
    tokens: list[str] = []
    text = text.strip()
    at = 0
    while at < len(text) <= _MAX_CHARS:
        found = _TOKEN.match(text, at)
        if found is None:
            return []
        tokens.append(found["sign"] or found["word"])
        at = found.end()
    return tokens


class _NoExpressionError(ValueError):
    pass


class _Reader:
    """Recursive descent; each method reads what it is called."""

    def __init__(self, tokens: list[str]):
        self._left = tokens[::-1]

    @property
    def next(self) -> str:
        return self._left[-1] if self._left else ""

    def any_of(self) -> Expression:
        parts = [self._all_of()]
        while self._took("OR"):
            parts.append(self._all_of())
        return parts[0] if len(parts) == 1 else Joined("OR", tuple(parts))

    def _all_of(self) -> Expression:
        parts = [self._one()]
        while self._took("AND"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else Joined("AND", tuple(parts))

    def _one(self) -> Expression:
        if self.next == "(":
            self._left.pop()
            inner = self.any_of()
            self._expect(")")
            return inner
        name = self._name()
        if self._took("WITH"):
            self._name()
        return name

    def _name(self) -> str:
        if self.next in ("", "(", ")") or self.next in _OPERATORS:
            raise _NoExpressionError
        return self._left.pop()

    def _took(self, operator: str) -> bool:
        is_there = _OPERATORS.get(self.next) == operator
        if is_there:
            self._left.pop()
        return is_there

    def _expect(self, sign: str) -> None:
        if self.next != sign:
            raise _NoExpressionError
        self._left.pop()
