"""A debug build is never measured."""

from __future__ import annotations

import pytest

import modelway


def pytest_configure(config: pytest.Config) -> None:
    if modelway.build_profile["profile"] != "release":
        raise pytest.UsageError("the extension is a debug build; measure a release one: make bench")
