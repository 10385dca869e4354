"""``__init__.pyi`` says to type checkers what ``__init__.py`` does: the same names, from the same modules."""

from __future__ import annotations

import ast
from pathlib import Path

import modelway

STUB = ast.parse(Path(modelway.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))


def test_each_public_name_comes_from_its_home() -> None:
    imports = [node for node in STUB.body if isinstance(node, ast.ImportFrom)]
    assert {alias.name: node.module for node in imports for alias in node.names} == modelway._HOME_OF


def test_all_of_them_are_exported() -> None:
    (exported,) = [ast.literal_eval(node.value) for node in STUB.body if isinstance(node, ast.Assign)]
    assert sorted(exported) == modelway.__all__
