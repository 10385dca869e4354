"""What a pool is told of its connections."""

from __future__ import annotations

from dataclasses import dataclass

from modelway.privacy.locality import Place


@dataclass(frozen=True, slots=True)
class ConnectionConfig:
    """How connections to one server are opened and kept; times in seconds.

    ``max_connections`` bounds the answers streamed at once (0: no limit). ``connect_s`` bounds name lookup,
    connect and TLS together. A connection that was idle for ``keep_alive_s`` is closed; one older than
    ``max_age_s`` carries no further request. ``keep_alive=False`` suits servers that close after each answer.
    ``place`` is where the server's address says it is, ``is_encrypted`` whether it is asked by https: a name that leads
    elsewhere, or in plain text out of the local network, is not believed.
    """

    max_connections: int = 0
    connect_s: float = 1.0
    keep_alive_s: float = 30.0
    max_age_s: float = 600.0
    keep_alive: bool = True
    place: Place = "device"
    is_encrypted: bool = False
