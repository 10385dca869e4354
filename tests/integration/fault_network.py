"""Networks that misbehave before HTTP begins: names that nobody knows, and certificates that nobody should trust."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    import trustme


def unknown_names(patch: pytest.MonkeyPatch) -> None:
    """From now on no name leads anywhere; addresses are not looked up."""

    async def nobody(*_: Any, **__: Any) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    patch.setattr(asyncio.get_running_loop(), "getaddrinfo", nobody)


def slow_names(patch: pytest.MonkeyPatch) -> None:
    """From now on no look-up of a name ends."""

    async def never(*_: Any, **__: Any) -> NoReturn:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    patch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)


def tls_server(certificate: str, patch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's context with this certificate; our clients trust the authority that issued all but the self-signed."""
    trusted = ssl.create_default_context()
    _authority().configure_trust(trusted)
    # What aiohttp's connectors take where they are given no context of their own, as ours are not.
    patch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusted)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _CERTIFICATES[certificate]().configure_cert(context)
    return context


@cache
def _authority() -> trustme.CA:
    import trustme

    return trustme.CA()


def _self_signed() -> trustme.LeafCert:
    """Of an authority that nobody knows: to a client the same as one that signed itself."""
    import trustme

    return trustme.CA().issue_cert("localhost", "127.0.0.1")


_CERTIFICATES: dict[str, Callable[[], trustme.LeafCert]] = {
    "good": lambda: _authority().issue_cert("localhost", "127.0.0.1"),
    "expired": lambda: _authority().issue_cert("localhost", "127.0.0.1", not_after=datetime(2020, 1, 1, tzinfo=UTC)),
    "wrong host": lambda: _authority().issue_cert("elsewhere.example"),
    "self-signed": _self_signed,
}
