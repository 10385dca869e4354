"""Watches every connection of the test process: none leaves this machine, and none goes to a server that a
configuration calls elsewhere before its door has seen a pass.

An audit hook can't be taken out again, so there is one for the process. It refuses what it finds, and keeps it, as the
code under test may swallow the refusal.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

_LOOKUPS = frozenset({"socket.getaddrinfo", "socket.gethostbyname"})
_CONNECTIONS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})


class Watch:
    """What one test has done. ``connections`` counts those to this machine."""

    def __init__(self) -> None:
        self.connections = 0
        self.breaches: list[str] = []
        #: The servers that a configuration of this test calls elsewhere, and those whose door has seen a pass.
        self.elsewhere: dict[tuple[str, int], str] = {}
        self.passed: set[str] = set()

    def look(self, event: str, arguments: tuple[object, ...]) -> None:
        """Raise ``PermissionError`` for what must not be."""
        if event in _LOOKUPS:
            if not _stays(arguments[0]):
                self._refuse(f"a look-up of {arguments[0]!r}")
        elif isinstance(address := arguments[1], tuple):
            host, port = address[:2]
            if not _is_loopback(host):
                self._refuse(f"a connection to {host}:{port}")
            self.connections += 1
            destination = self.elsewhere.get((host, port))
            if destination is not None and destination not in self.passed:
                self._refuse(f"a connection to {destination}, which is called elsewhere, without a pass")

    def _refuse(self, what: str) -> None:
        self.breaches.append(what)
        raise PermissionError(f"the tests forbid {what}")


_watches: list[Watch] = []


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event.startswith("socket.") and _watches and (event in _CONNECTIONS or event in _LOOKUPS):
        _watches[-1].look(event, arguments)


sys.addaudithook(_hook)


def _is_loopback(host: object) -> bool:
    try:
        return ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def _stays(host: object) -> bool:
    """Whether looking ``host`` up asks nobody: an address is not looked up."""
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return True
    try:
        ipaddress.ip_address(str(name).partition("%")[0])
    except ValueError:
        return False
    return True


@contextmanager
def watching() -> Iterator[Watch]:
    """Fails where anything left, or would have."""
    watch = Watch()
    _watches.append(watch)
    try:
        yield watch
    finally:
        _watches.remove(watch)
    if watch.breaches:
        pytest.fail(f"refused: {'; '.join(sorted(set(watch.breaches)))}", pytrace=False)


@contextmanager
def doors_watched() -> Iterator[None]:
    """The watch learns which servers are called elsewhere, and which passes their doors accept."""
    from modelway.config import settings
    from modelway.pools import Door

    resolve, enter, check_control = settings.resolve, Door.enter, Door.check_control

    def resolved(*arguments, **named):  # type: ignore[no-untyped-def]
        found = resolve(*arguments, **named)
        for backend in found.backends:
            if _watches and backend.destination is not None and backend.url is not None:
                there = urlsplit(backend.url)
                _watches[-1].elsewhere[there.hostname or "", there.port or 0] = backend.destination
        return found

    async def entered(door, egress, *rest):  # type: ignore[no-untyped-def]
        passage = await enter(door, egress, *rest)
        _watches[-1].passed.add(egress.destination)
        return passage

    def checked(door, egress):  # type: ignore[no-untyped-def]
        check_control(door, egress)
        if door.is_far and _watches:
            _watches[-1].passed.update(door._destinations)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "resolve", resolved)
        patch.setattr(Door, "enter", entered)
        patch.setattr(Door, "check_control", checked)
        yield
