"""``modelway serve``: the gateway, until SIGINT or SIGTERM."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from modelway.cli.options import Common, common_options, pass_common
from modelway.cli.output import print_json

if TYPE_CHECKING:
    from modelway.config import Config

HOST_VARIABLE = "MODELWAY_HOST"


@click.command()
@click.option("--host", metavar="ADDRESS", help="Address to listen on; default: $MODELWAY_HOST, [server] host.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port to listen on, 0 for any free one; default: $MODELWAY_HOST, [server] port.",
)
@common_options
@pass_common
def serve(common: Common, host: str | None, port: int | None) -> None:
    """Serve all models at one address.

    Speaks OpenAI's and Ollama's protocols, and ends on Ctrl-C or SIGTERM.
    """
    import asyncio

    from modelway.gateway.app import serve as serve_gateway

    config = common.load_config()
    usual_host, usual_port = listens_at(config)
    host = host or usual_host
    port = usual_port if port is None else port

    def announce(address: str) -> None:
        if common.json:
            print_json({"event": "listening", "address": address}, pretty=False)
        else:
            click.echo(f"modelway is listening on {address}")

    asyncio.run(serve_gateway(config, host, port, ready=announce))


def listens_at(config: Config) -> tuple[str, int]:
    """Where the gateway listens unless told otherwise: ``$MODELWAY_HOST``, then ``[server]``."""
    host, port = split_address(os.environ.get(HOST_VARIABLE, ""))
    return host or config.server.host, config.server.port if port is None else port


def split_address(address: str) -> tuple[str | None, int | None]:
    """``host``, ``host:port``, ``:port`` or ``[v6]:port`` taken apart; None for a part that is not there."""
    is_bare_v6 = address.count(":") > 1 and not address.startswith("[")
    if is_bare_v6 or address.endswith("]") or ":" not in address:
        host, port = address, ""
    else:
        host, _, port = address.rpartition(":")
    if port and not (port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) <= 65535):
        raise click.UsageError(f"{HOST_VARIABLE} is {address!r}, whose port is no number up to 65535; write host:port")
    return host.strip("[]") or None, int(port) if port else None
