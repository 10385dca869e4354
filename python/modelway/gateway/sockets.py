"""The gateway's sockets: on loopback addresses only, and closed so that running answers may finish."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiohttp import web

from modelway.errors import ConfigError, ConfigProblem, ModelwayError

#: Seconds that running answers get to finish once the gateway is asked to stop. aiohttp waits for them
#: twice, for its shutdown time-out each, before it cancels them.
DRAIN_S = 30.0

#: aiohttp takes some turns of the loop to know a connection that was accepted at the last moment; one that
#: it does not know yet it would wait for, as if it ran a request.
_ACCEPTED_S = 0.02

#: How many clients may connect in one moment, before the loop comes round to them; the system may allow fewer.
#: One that finds no place tries again after a second.
_BACKLOG = 2048

_V4, _V6 = "127.0.0.1", "::1"


class CannotListen(ModelwayError):
    """The address can't be had, most often because another program has it."""


def loopback_addresses(host: str) -> tuple[str, ...]:
    """What to bind for ``host``: both families for localhost and 127.0.0.1. Raises :class:`ConfigError`."""
    if host in ("localhost", _V4):
        return (_V4, _V6)
    with suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return (host,)
    problem = f'"{host}" is not an address of this machine alone; only localhost, 127.0.0.1 or ::1 can be served'
    raise ConfigError([ConfigProblem("server.host", problem)])


@asynccontextmanager
async def listening(
    app: web.Application, addresses: tuple[str, ...], port: int, *, drain_s: float = DRAIN_S
) -> AsyncIterator[str]:
    """Serve ``app`` on ``addresses`` with one port; the value is the first address's URL."""
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_http_logger(),
        handler_cancellation=True,  # a client that leaves cancels its request, and so closes the upstream
        shutdown_timeout=drain_s / 2,
    )
    await runner.setup()
    try:
        first, *others = addresses
        port = await _bind(runner, first, port)
        for address in others:
            with suppress(_NoSuchFamily):
                await _bind(runner, address, port)
        yield f"http://[{first}]:{port}" if ":" in first else f"http://{first}:{port}"
    finally:
        for site in list(runner.sites):
            await site.stop()
        await asyncio.sleep(_ACCEPTED_S)
        await runner.cleanup()


class _NoSuchFamily(CannotListen):
    """This machine has no IPv6."""


async def _bind(runner: web.AppRunner, address: str, port: int) -> int:
    try:
        await web.TCPSite(runner, address, port, backlog=_BACKLOG).start()
    except OSError as error:
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            raise _NoSuchFamily(f"{address}: this machine has no such address") from None
        reason = error.strerror or type(error).__name__
        raise CannotListen(f"{address} port {port}: {reason}; stop the program that has it, or use --port") from None
    return int(runner.addresses[-1][1])


def _http_logger() -> logging.Logger:
    """aiohttp logs a malformed request with its exception, whose text holds the request's own bytes."""
    logger = logging.getLogger("modelway.gateway.http")
    if not logger.filters:
        logger.addFilter(_without_content)
    return logger


def _without_content(record: logging.LogRecord) -> bool:
    if record.exc_info and record.exc_info[0] is not None:
        record.msg, record.args = "%s: %s", (record.getMessage(), record.exc_info[0].__name__)
        record.exc_info = None
    return True
