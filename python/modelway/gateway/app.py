"""The gateway's life: from its configuration to the signal that ends it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from modelway.conductor import Conductor
from modelway.gateway.routes import make_app
from modelway.gateway.sockets import listening, loopback_addresses

if TYPE_CHECKING:
    from modelway.config import Config

__all__ = ["make_app", "serve"]


async def serve(config: Config | None, host: str, port: int, *, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; then no new requests, and running answers get DRAIN_S to finish.

    ``ready`` is called with the base URL once requests can come. ``port`` 0 takes any free one. A second
    signal ends the process at once. Raises :class:`ConfigError` for a host that is not on loopback and
    :class:`CannotListen` where the address is taken.
    """
    addresses = loopback_addresses(host)
    with _signals() as stop:
        async with Conductor(config) as conductor, listening(make_app(conductor), addresses, port) as url:
            ready(url)
            await stop.wait()


@contextmanager
def _signals() -> Iterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set; from then on they act as they did before."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)

    def remove() -> None:
        for number in signals:
            loop.remove_signal_handler(number)

    def on_signal() -> None:
        stop.set()
        remove()

    for number in signals:
        loop.add_signal_handler(number, on_signal)
    try:
        yield stop
    finally:
        remove()
