"""That a test which connects to another machine fails, however it does so and whatever swallows it."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

from guard_kit import reports

from network_guard import Watch

SUITE = """
import socket
from contextlib import suppress

from modelway.config import Config, settings

SERVER = '[[backends]]\\nname = "there"\\nkind = "openai"\\nurl = "http://127.0.0.1:9"\\nlocation = "external"\\n'

def test_address():
    with suppress(OSError):
        socket.create_connection(("192.0.2.1", 80), timeout=0.1)

def test_datagram():
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.sendto(b"x", ("192.0.2.1", 53))

def test_sixth_version():
    with suppress(OSError), socket.socket(socket.AF_INET6) as out:
        out.connect(("2001:db8::1", 80))

def test_name():
    with suppress(OSError):
        socket.getaddrinfo("modelway.invalid", 80)

def test_elsewhere_without_a_pass():
    settings.resolve(Config.from_toml(SERVER))
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", 9))

def test_here():
    with suppress(ConnectionRefusedError):
        socket.create_connection(("localhost", 9))
"""


def test_whoever_leaves_this_machine_fails(tmp_path: Path) -> None:
    found = reports(tmp_path, SUITE)
    assert {test for outcome, test in found if outcome == "ERROR"} == {
        "test_address",
        "test_datagram",
        "test_sixth_version",
        "test_name",
        "test_elsewhere_without_a_pass",
    }
    assert not {test for outcome, test in found if outcome == "FAILED"}
    assert ("PASSED", "test_here") in found


async def test_the_guard_is_on_in_this_very_run(connections: Watch) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.close()
        await writer.wait_closed()
    assert connections.connections == 1
    assert connections.breaches == []


def test_it_costs_next_to_nothing() -> None:
    """Less than 50 microseconds a connection that is looked at, a small part of what the connection takes."""
    watch = Watch()
    with socket.socket() as unconnected:
        began = time.perf_counter()
        for _ in range(1_000):
            watch.look("socket.connect", (unconnected, ("127.0.0.1", 80)))
        took_s = time.perf_counter() - began
    assert took_s < 0.05
