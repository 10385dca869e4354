"""The way out: no pass, no connection; no line in the ledger, no byte."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from socket_kit import OK, ORIGIN, Socket

from modelway.errors import BackendError, EgressRefused
from modelway.pools import ConnectionConfig, ConnectionPool, Door
from modelway.pools.addresses import WrongPlace, check_address
from modelway.privacy.ledger import EgressLedger, Entry

BODY = b'{"prompt": "secret"}'


@dataclass
class Allowed:
    """What the core makes; ``valid`` are its answers, one after the other, the last for ever."""

    destination: str = "api.example.com"
    model: str = "big"
    request_id: str = "r1"
    kinds: tuple[str, ...] = ("text",)
    consent: str = "a1"
    valid: tuple[bool, ...] = (True,)
    taken: bool = False

    @property
    def is_valid(self) -> bool:
        answer, *rest = self.valid
        self.valid = tuple(rest) or (answer,)
        return answer

    def take(self) -> bool:
        is_first = not self.taken
        self.taken = True
        return is_first and self.is_valid


@pytest.fixture
async def server() -> AsyncIterator[Socket]:
    server = Socket()
    await server.start()
    yield server
    await server.aclose()


@asynccontextmanager
async def opened(folder: Path, *, is_far: bool = True) -> AsyncIterator[ConnectionPool]:
    door = Door(frozenset({"api.example.com"}), EgressLedger(folder), is_far=is_far)
    pool = ConnectionPool("provider", ConnectionConfig(), door)
    try:
        yield pool
    finally:
        await pool.aclose()


async def post(pool: ConnectionPool, url: str, egress: Allowed | None) -> bytes:
    answer = await pool.post(url, BODY, {}, ORIGIN, egress=egress)
    try:
        return await answer.body(100)
    finally:
        answer.close()


def entries(folder: Path) -> list[Entry]:
    """Read on a thread of its own: on the loop's, reading files is a fault that the tests look for."""

    def read() -> list[Entry]:
        ledger = EgressLedger(folder)
        assert ledger.verify() is None
        return ledger.entries()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(read).result()


def ended(folder: Path) -> list[tuple[int, int | None, str | None]]:
    return [(entry.sending.body_bytes, entry.sent_bytes, entry.outcome) for entry in entries(folder)]


async def test_what_may_leave_is_written_down_before_and_after(server, tmp_path):
    seen = []
    server.script = lambda connection, request: seen.append(ended(tmp_path)) or [OK]
    async with opened(tmp_path) as pool:
        assert await post(pool, server.url, Allowed()) == b"ok"
    assert seen == [[(len(BODY), None, None)]]
    assert ended(tmp_path) == [(len(BODY), len(BODY), "answered")]
    (entry,) = entries(tmp_path)
    assert (entry.sending.destination, entry.sending.request_id, entry.sending.consent) == (
        "api.example.com",
        "r1",
        "a1",
    )
    assert "secret" not in repr(entry)


@pytest.mark.parametrize(
    ("egress", "said", "lines"),
    [
        (None, "nobody has allowed it", []),
        (Allowed(destination="api.example.org"), "the consent is for api.example.org", []),
        (Allowed(valid=(False,)), "consent has ended", []),
        (Allowed(valid=(True, False)), "consent has ended", [(len(BODY), 0, "refused")]),
        (Allowed(valid=(True, True, False)), "consent has ended", [(len(BODY), 0, "refused")]),
        (Allowed(taken=True), "consent has ended", [(len(BODY), 0, "refused")]),
    ],
)
async def test_without_a_pass_there_is_no_connection_and_no_look_up(tmp_path, monkeypatch, egress, said, lines):
    def never(*_: object, **__: object) -> None:
        raise AssertionError("something was looked up, or connected to")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)
    monkeypatch.setattr(socket, "socket", never)
    async with opened(tmp_path) as pool:
        with pytest.raises(EgressRefused, match=said) as refused:
            await post(pool, "https://api.example.com/v1", egress)
        with pytest.raises(EgressRefused):
            await pool.fetch("GET", "https://api.example.com/v1/models", ORIGIN, timeout_s=1)
    assert refused.value.destination == "api.example.com"
    assert ended(tmp_path) == lines


async def test_a_ledger_that_can_not_be_written_means_that_nothing_is_sent(server, tmp_path):
    (tmp_path / "state").write_text("no folder")
    async with opened(tmp_path / "state") as pool:
        with pytest.raises(EgressRefused, match="can't be written down"):
            await post(pool, server.url, Allowed())
    assert server.requests == []


async def test_what_is_here_needs_no_pass_but_what_is_handed_on_does(server, tmp_path):
    async with opened(tmp_path, is_far=False) as pool:
        assert await post(pool, server.url, None) == b"ok"
        assert ended(tmp_path) == []
        assert await post(pool, server.url, Allowed()) == b"ok"
    assert ended(tmp_path) == [(len(BODY), len(BODY), "answered")]


def test_a_server_elsewhere_has_a_door(tmp_path):
    near = Door(frozenset({"a.example"}), EgressLedger(tmp_path), is_far=False)
    for door in (None, near):
        with pytest.raises(ValueError, match="needs a door"):
            ConnectionPool("provider", ConnectionConfig(place="external"), door)


async def test_a_pass_is_no_use_where_no_door_is(server):
    pool = ConnectionPool("here", ConnectionConfig())
    with pytest.raises(EgressRefused):
        await post(pool, server.url, Allowed())
    await pool.aclose()
    assert server.requests == []


async def test_a_second_sending_is_counted(server, tmp_path):
    """The first connection is closed by the server while it is kept, and the body goes out twice."""
    server.script = lambda connection, request: [OK] if request == 1 else [None]
    async with opened(tmp_path) as pool:
        assert await post(pool, server.url, Allowed()) == b"ok"
        assert await post(pool, server.url, Allowed()) == b"ok"
    assert ended(tmp_path) == [(len(BODY), len(BODY), "answered"), (len(BODY), 2 * len(BODY), "answered")]


async def test_consent_that_ends_before_the_second_sending_counts(server, tmp_path):
    server.script = lambda connection, request: [OK] if request == 1 else [None]
    async with opened(tmp_path) as pool:
        await post(pool, server.url, Allowed())
        with pytest.raises(EgressRefused, match="consent has ended"):
            await post(pool, server.url, Allowed(valid=(True, True, True, False)))
    assert ended(tmp_path)[1:] == [(len(BODY), len(BODY), "refused")]


async def test_a_server_that_is_not_there_was_sent_nothing(server, tmp_path):
    url = server.url
    await server.aclose()
    async with opened(tmp_path) as pool:
        with pytest.raises(BackendError):
            await post(pool, url, Allowed())
    assert ended(tmp_path) == [(len(BODY), 0, "connect")]


async def test_an_answer_that_breaks_off_is_told(server, tmp_path):
    server.script = lambda connection, request: [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal", None]
    async with opened(tmp_path) as pool:
        with pytest.raises(BackendError, match="mid-answer"):
            await post(pool, server.url, Allowed())
    assert ended(tmp_path) == [(len(BODY), len(BODY), "interrupted")]


async def test_cancelled_while_it_is_written_down_it_is_not_sent(server, tmp_path, monkeypatch):
    held, go_on = asyncio.Event(), asyncio.Event()
    in_thread = asyncio.to_thread

    async def slow(work, *arguments):
        held.set()
        await go_on.wait()
        return await in_thread(work, *arguments)

    monkeypatch.setattr(asyncio, "to_thread", slow)
    async with opened(tmp_path) as pool:
        sending = asyncio.create_task(post(pool, server.url, Allowed()))
        await held.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        go_on.set()
    assert ended(tmp_path) == [(len(BODY), 0, "cancelled")]
    assert server.requests == []


@pytest.mark.parametrize(
    ("address", "place", "is_encrypted", "is_right"),
    [
        ("127.0.0.1", "device", False, True),
        ("::1", "device", False, True),
        ("127.9.9.9", "device", False, True),
        ("192.168.1.2", "device", False, False),
        ("93.184.216.34", "device", True, False),
        ("93.184.216.34", "external", True, True),
        ("2606:4700::1", "external", True, True),
        ("93.184.216.34", "external", False, False),
        ("192.168.1.2", "external", True, True),
        ("192.168.1.2", "external", False, True),
        ("fd00::5", "external", False, True),
        ("127.0.0.1", "external", True, False),
        ("::1", "external", True, False),
        ("::ffff:127.0.0.1", "external", True, False),
        ("0.0.0.0", "external", True, False),
        ("169.254.169.254", "external", True, False),
        ("::ffff:169.254.169.254", "external", True, False),
        ("fd00:ec2::254", "external", True, False),
        ("169.254.7.7", "external", True, False),
        ("fe80::1%eth0", "external", True, False),
        ("224.0.0.1", "external", True, False),
        ("240.0.0.1", "external", True, False),
    ],
)
def test_which_addresses_a_name_may_lead_to(address, place, is_encrypted, is_right):
    if is_right:
        check_address(address, place, is_encrypted=is_encrypted)
    else:
        with pytest.raises(WrongPlace, match="its name leads to"):
            check_address(address, place, is_encrypted=is_encrypted)


async def test_a_name_that_leads_back_here_is_no_way_in(server, tmp_path, monkeypatch):
    """What a name means is decided by whoever answers for it, so it must not open a door to this device."""

    async def lead_here(*_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", int(server.url.rpartition(":")[2])))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", lead_here)
    door = Door(frozenset({"api.example.com"}), EgressLedger(tmp_path), is_far=True)
    pool = ConnectionPool("provider", ConnectionConfig(place="external", is_encrypted=True), door)
    with pytest.raises(BackendError, match=r"its name leads to 127\.0\.0\.1"):
        await post(pool, "http://api.example.com/v1", Allowed())
    await pool.aclose()
    assert server.requests == []
    assert ended(tmp_path) == [(len(BODY), 0, "connect")]
