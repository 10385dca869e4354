"""What the papers list is what there is: paths, layers, keys of the configuration, routes, headers, names."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import modelway as mw
import modelway.testing
from modelway.config.sections import BackendConfig, ModelConfig
from modelway.config.trust import ConsentConfig
from modelway.doctor.diagnosis import CHECKS
from modelway.events import Finished, ModelSelected, Usage
from modelway.gateway.facts import Facts
from modelway.gateway.routes import make_app

ROOT = Path(__file__).parents[2]
PAPERS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*.md")]
CODE = re.compile(r"`([^`]+)`")


def paper(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def first_cells(text: str) -> list[str]:
    """What stands in code marks in the first column of the tables in ``text``."""
    cells = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| `")]
    return [name for cell in cells for name in CODE.findall(cell)]


@pytest.mark.parametrize("file", PAPERS, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_lead_to_files(file: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", file.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (file.parent / link).exists()] == []


def mapped() -> list[Path]:
    """The paths of CONTRIBUTING's map; an indented one stands in the one above that is less indented."""
    (block,) = re.findall(r"^```text\n(.*?)^```$", paper("CONTRIBUTING.md"), re.M | re.S)
    above: list[Path] = []
    paths = []
    for line in block.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        above = [*above[:depth], Path(*above[depth - 1 : depth], line.split()[0])]
        paths.append(above[-1])
    return paths


def test_the_map_is_true() -> None:
    assert [str(path) for path in mapped() if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(
    "folder",
    [
        "rust/modelway-core/src",
        "rust/modelway-core/src/admit",
        "rust/modelway-core/src/classify",
        "python/modelway",
        "python/modelway/backends",
        "tests",
        ".github",
    ],
)
def test_the_map_leaves_nothing_out(folder: str) -> None:
    known = {*mapped(), *(parent for path in mapped() for parent in path.parents)}
    unmapped = {entry.name for entry in (ROOT / folder).iterdir() if entry.relative_to(ROOT) not in known}
    marks = {"__pycache__", "__main__.py", "py.typed", "conftest.py", "__init__.py"}
    assert {name for name in unmapped - marks if not name.endswith(".so")} == set()


def test_the_layers_are_those_of_the_contract() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["id"] == "layers"]
    told = paper("CONTRIBUTING.md").partition("Imports run downwards only: ")[2].partition(".")[0]
    assert CODE.findall(told) == [name for layer in layers for name in layer.split(" : ")]


def section_of(heading: str) -> type[BaseModel]:
    if heading.startswith("[["):
        return {"[[backends]]": BackendConfig, "[[models]]": ModelConfig, "[[privacy.consents]]": ConsentConfig}[
            heading
        ]
    section: type[BaseModel] = mw.Config
    for part in heading.strip("[]").split("."):
        found = section.model_fields[part].annotation
        assert isinstance(found, type)
        assert issubclass(found, BaseModel)
        section = found
    return section


def as_told(default: Any) -> Any:
    """A default as configuration.md writes it: None is absent, and what has none is required."""
    if default is PydanticUndefined:
        return "required"
    if isinstance(default, BaseModel):
        return "none"
    return "absent" if default is None else list(default) if isinstance(default, tuple) else default


CONFIGURATION = dict(re.findall(r"^## `(\[[^`]+\])`\n(.*?)(?=^## |\Z)", paper("docs/configuration.md"), re.M | re.S))


def test_every_table_of_the_configuration_is_told() -> None:
    assert {heading.strip("[]").partition(".")[0] for heading in CONFIGURATION} == set(mw.Config.model_fields)


@pytest.mark.parametrize("heading", [heading for heading in CONFIGURATION if heading != "[defaults]"])
def test_every_key_is_told_with_its_default(heading: str) -> None:
    told = {}
    for key, default in re.findall(r"^\| `(\w+)` \| (.+?) \| .+ \|$", CONFIGURATION[heading], re.M):
        told[key] = tomllib.loads(f"value = {default.strip('`')}")["value"] if "`" in default else default
    fields = section_of(heading).model_fields.items()
    inner = {key: f"[{heading.strip('[]')}.{key}]" for key, _ in fields}
    apart = {key for key, table in inner.items() if table in CONFIGURATION or f"[{table}]" in CONFIGURATION}
    assert told == {key: as_told(field.default) for key, field in fields if key not in apart}


async def test_every_route_of_the_gateway_is_told() -> None:
    async with mw.Conductor(mw.Config.from_toml('[defaults]\ngeneral = "m"')) as conductor:
        routes = [route for route in make_app(conductor).router.routes() if route.method != "HEAD"]
    paths = {
        f"{route.method} {route.resource.canonical}" for route in routes if isinstance(route.resource, web.Resource)
    }
    assert sorted(first_cells(paper("docs/gateway.md").partition("## Routes")[2].partition("## ")[0])) == sorted(paths)


def test_every_header_is_told() -> None:
    decision = mw.ModelRouter(mw.Config.from_toml('[defaults]\ngeneral = "m"')).select("hello")
    limit = {"limit": 1, "remaining": 1, "reset_s": 0.0}
    facts = Facts(lambda _: ("ollama", "device"), lambda _: {"requests": limit, "tokens": limit})
    facts.warn(("something is not honoured",))
    facts.note(ModelSelected("m", "ollama", "quick", 1.0, "device", "classified", "because", "id", decision))
    facts.note(Finished("m", "ollama", "stop", Usage(), 1.0, 1.0, 0.0))
    told = paper("docs/gateway.md").partition("## Headers")[2].partition("## ")[0]
    assert sorted(first_cells(told)) == sorted(facts.headers())


def test_every_public_name_is_told() -> None:
    words = set(re.findall(r"\w+", paper("docs/python.md")))
    assert set(mw.__all__) - words == set()


def test_every_error_and_event_has_its_row() -> None:
    told = first_cells(paper("docs/python.md"))
    errors = {
        name for name in mw.__all__ if isinstance(kind := getattr(mw, name), type) and issubclass(kind, Exception)
    }
    events = {kind.__name__ for kind in mw.ConductorMessage.__args__}
    assert (errors - {"ModelwayError"}) | events <= set(told)


@pytest.mark.parametrize(
    "error",
    [
        mw.ConfigError([]),
        mw.InvalidRequest(""),
        mw.UnknownModel(""),
        mw.UnknownBackend(""),
        mw.NoModelAvailable(""),
        mw.ContextTooLong(""),
        mw.RateLimited(""),
        mw.QueueFull(""),
        mw.BackendError("", kind="busy"),
        mw.ConsentRequired(""),
        mw.EgressRefused(""),
        mw.StateError(""),
        mw.StreamInterrupted("", partial=""),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_attributes_of_errors_are_told(error: mw.ModelwayError) -> None:
    (row,) = re.findall(rf"^\| `{type(error).__name__}` \| .*? \|(.*)\|$", paper("docs/python.md"), re.M)
    assert set(CODE.findall(re.sub(r", each .*?(;|$)", "", row))) == set(vars(error))


def test_all_of_modelway_testing_is_told() -> None:
    words = set(re.findall(r"\w+", paper("docs/testing.md")))
    assert set(modelway.testing.__all__) - words == set()


def test_every_fault_of_the_mock_server_has_its_row() -> None:
    told = first_cells(paper("docs/testing.md").partition("### Faults")[2])
    assert told[1:] == [kind.name for kind in modelway.testing.FaultKind]


def test_the_fields_of_faults_are_told() -> None:
    rows = re.findall(r"^\| `[A-Z_0-9]+` \| .* \|(.*)\|$", paper("docs/testing.md"), re.M)
    told = {name for row in rows for name in CODE.findall(row)}
    assert told == {field.name for field in dataclasses.fields(modelway.testing.Fault)} - {"kind"}


def test_every_check_of_the_doctor_has_its_row() -> None:
    assert first_cells(paper("docs/doctor.md")) == [check.__name__ for check in CHECKS]
