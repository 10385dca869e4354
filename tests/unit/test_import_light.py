"""`import modelway` loads nothing that a program which only routes does not need."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import modelway as mw

HEAVY = ("aiohttp", "asyncio", "pydantic", "numpy", "textual", "click", "orjson", "tomllib", "modelway._core")


def loaded_after(program: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after ``program``."""
    lines = f"import sys\n{program}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True, timeout=5)
    return set(done.stdout.split())


def test_import_loads_nothing_heavy() -> None:
    loaded = loaded_after("import modelway")
    assert "modelway" in loaded
    assert [name for name in HEAVY if name in loaded] == []


@pytest.mark.parametrize(
    ("program", "absent"),
    [
        ("import modelway; modelway.ModelRouter, modelway.TaskClass.parse('code')", ("aiohttp", "asyncio", "pydantic")),
        ("import modelway; modelway.NoModelAvailable, modelway.TextDelta", ("aiohttp", "asyncio", "pydantic")),
        ("import modelway as m; m.ModelRouter(m.Config()).classify('hi')", ("aiohttp", "numpy", "click", "orjson")),
        ("import modelway as m; m.RoutingRequest('hi').prompt", ("aiohttp", "asyncio", "pydantic")),
        ("import modelway as m; m.Conductor", ("click", "numpy", "xllamacpp", "modelway.testing", "modelway.cli")),
    ],
)
def test_each_part_loads_only_what_it_needs(program: str, absent: tuple[str, ...]) -> None:
    loaded = loaded_after(program)
    assert [name for name in absent if name in loaded] == []


def test_every_public_name_is_there() -> None:
    assert len(mw.__all__) == len(set(mw.__all__))
    for name in mw.__all__:
        assert getattr(mw, name) is not None, name
        assert name in dir(mw)
    assert mw.__version__ == version("modelway") == mw.build_profile["version"]


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'modelway' has no attribute 'Modelrouter'"):
        mw.Modelrouter  # noqa: B018
