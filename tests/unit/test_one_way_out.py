"""Only ``modelway.pools`` opens connections: the rest of the package does not even name what could."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import modelway

PACKAGE = Path(modelway.__file__).parent
#: Whose modules can connect.
CLIENTS = {"aiohttp", "http", "httpx", "requests", "socket", "ssl", "urllib", "urllib3", "websockets"}
#: Of those, what only serves, or only reads text.
HARMLESS = {"aiohttp.web", "urllib.parse", "http.HTTPStatus"}
#: What opens a connection under whatever name it was got by.
CALLS = {"ClientSession", "TCPConnector", "open_connection", "create_connection", "create_datagram_endpoint", "urlopen"}
#: Who may for another reason: the mock server listens, which is what these names are for there.
ALLOWED = {"backends/mock/server.py": {"socket", "ssl"}, "backends/mock/delivery.py": {"socket"}}


def named(tree: ast.AST) -> set[str]:
    """The modules that could connect and the calls that do, as far as the source names them."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found |= {alias.name for alias in names}
            case ast.ImportFrom(module=str(module), names=names):
                found |= {f"{module}.{alias.name}" for alias in names}
            case ast.Attribute(attr=name) | ast.Name(id=name) if name in CALLS:
                found.add(name)
    return {name for name in found if name in CALLS or (name.partition(".")[0] in CLIENTS and not is_harmless(name))}


def is_harmless(name: str) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in HARMLESS)


MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith("pools/")])
def test_nothing_but_the_pools_can_connect(module: str) -> None:
    assert named(ast.parse((PACKAGE / module).read_text(encoding="utf-8"))) <= ALLOWED.get(module, set())


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import socket", {"socket"}),
        ("from aiohttp import ClientSession", {"aiohttp.ClientSession"}),
        ("from aiohttp import web", set()),
        ("import urllib.request", {"urllib.request"}),
        ("from urllib.parse import quote", set()),
        ("asyncio.open_connection('a', 1)", {"open_connection"}),
        ("import http.client", {"http.client"}),
    ],
)
def test_what_could_connect_is_known(source: str, found: set[str]) -> None:
    assert named(ast.parse(source)) == found


def test_the_pools_do() -> None:
    assert any(named(ast.parse(path.read_text(encoding="utf-8"))) for path in (PACKAGE / "pools").glob("*.py"))
