"""Only the pools open connections: what the import contracts can't tell apart."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "python" / "modelway"
#: Whatever opens a connection, or brings something that does.
CLIENTS = {
    "aiohttp", "socket", "ssl", "http", "urllib", "urllib3", "httpx", "requests", "websockets", "ftplib", "smtplib",
    "poplib", "imaplib", "telnetlib", "xmlrpc", "socketserver", "multiprocessing", "subprocess", "ctypes", "_socket",
    "_ssl",
}  # fmt: skip
#: The same by the names under which asyncio, aiohttp, socket and os have it, wherever they come from.
OPENERS = {
    "ClientSession", "TCPConnector", "UnixConnector", "BaseConnector", "open_connection", "open_unix_connection",
    "create_connection", "create_unix_connection", "create_datagram_endpoint", "sock_connect", "connect", "connect_ex",
    "sendto", "sendmsg", "getaddrinfo", "gethostbyname", "create_subprocess_exec", "create_subprocess_shell",
    "subprocess_exec", "subprocess_shell", "Popen", "popen", "fork", "posix_spawn", "import_module", "__import__",
    "exec", "eval",
}  # fmt: skip
#: Who has which of them, and why. A folder stands for all that is in it.
MAY: dict[str, dict[str, str]] = {
    "pools": {
        "aiohttp": "it is the client",
        "socket": "it is the client",
        "ClientSession": "it is the client",
        "TCPConnector": "it is the client",
    },
    "gateway": {"aiohttp.web": "it is the server's side"},
    "backends/mock": {
        "aiohttp.web": "it is the server's side",
        "socket": "it listens, and resets connections that it accepted",
        "ssl": "it shows a certificate",
    },
    "backends/llama_cpp/child.py": {"create_subprocess_exec": "the engine runs in a child, asked over loopback"},
    "backends/llama_cpp/worker.py": {"ctypes": "the child asks the kernel to end with its parent"},
    "monitor/command.py": {"create_subprocess_exec": "the user's own command is told of alerts"},
    # Parts of modelway itself, by names that stand in the code, on first use.
    "__init__.py": {"import_module": "its own public names"},
    "testing/__init__.py": {"import_module": "its own public names"},
}


def uses(tree: ast.AST) -> Iterator[str]:
    """The clients that are imported and the openers that are named, wherever in the file."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names if alias.name.partition(".")[0] in CLIENTS)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                if module.partition(".")[0] in CLIENTS:
                    yield from (f"{module}.{alias.name}" for alias in names)
                yield from (alias.name for alias in names if alias.name in OPENERS)
            case ast.Attribute(value=ast.Name(id="os"), attr="system"):
                yield "os.system"
            case ast.Attribute(attr=name) | ast.Name(id=name) if name in OPENERS:
                yield name


def is_of(use: str, allowed: str) -> bool:
    return use == allowed or use.startswith(f"{allowed}.")


def breaches(file: Path, tree: ast.AST) -> set[str]:
    where = file.relative_to(PACKAGE).as_posix()
    reasons = [allowed for who, allowed in MAY.items() if where == who or where.startswith(f"{who}/")]
    return {use for use in uses(tree) if not any(is_of(use, one) for allowed in reasons for one in allowed)}


FILES = sorted(PACKAGE.rglob("*.py"))


def test_nobody_else_opens_a_connection() -> None:
    found = {str(file.relative_to(PACKAGE)): breaches(file, ast.parse(file.read_bytes())) for file in FILES}
    assert {file: uses for file, uses in found.items() if uses} == {}


def test_no_exception_outlives_its_reason() -> None:
    for who, allowed in MAY.items():
        files = [PACKAGE / who] if who.endswith(".py") else sorted((PACKAGE / who).rglob("*.py"))
        found = {use for file in files for use in uses(ast.parse(file.read_bytes()))}
        assert {name for name in allowed if not any(is_of(use, name) for use in found)} == set(), who


@pytest.mark.parametrize(
    ("where", "code"),
    [
        ("backends/ollama/backend.py", "import aiohttp"),
        ("backends/wire/exchange.py", "def ask():\n    from aiohttp import web"),
        ("gateway/app.py", "from aiohttp import ClientSession"),
        ("gateway/app.py", "import aiohttp"),
        ("gateway/app.py", "from aiohttp import web\nweb.ClientSession()"),
        ("backends/mock/app.py", "import aiohttp.client"),
        ("conductor/run.py", "import asyncio\nasyncio.open_connection('x', 1)"),
        ("conductor/run.py", "from asyncio import open_connection as o"),
        ("conductor/run.py", "loop.create_connection(f)"),
        ("cli/main.py", "from urllib.request import urlopen"),
        ("cli/main.py", "import http.client as c"),
        ("cli/main.py", "__import__('soc' + 'ket')"),
        ("residency/look.py", "import os\nos.system('curl')"),
        ("residency/look.py", "import subprocess"),
    ],
)
def test_it_bites(where: str, code: str) -> None:
    assert breaches(PACKAGE / where, ast.parse(code))
