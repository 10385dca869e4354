"""What became of a pool's connections, counted since the pool was made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """The running counts that a pool and its generations share; told in :class:`PoolStats`."""

    opened: int = 0
    reused: int = 0
    stale: int = 0
    failed: int = 0
    recycled: int = 0

    @property
    def reuse(self) -> float:
        """The share of requests that a kept connection carried; 0 before the first request."""
        kept = self.reused - self.stale
        return kept / (kept + self.opened) if kept + self.opened else 0.0


@dataclass(frozen=True, slots=True)
class PoolStats:
    """The connections of one pool.

    Since the pool was made: connections ``opened``; how often a kept one was ``reused``, and how often it
    then turned out to be ``stale`` (closed by the server) and cost a silent reconnect; connections that
    ``failed``: could not be opened, or broke before or within an answer; generations of connections that were
    ``recycled``, by age or after an error. ``reuse`` is the share of requests that a kept connection carried,
    0 to 1.

    Now: sockets ``open``; those of them that are ``idle``; requests ``in_use`` of a connection, also one that
    is still being opened; streams ``waiting`` for one of ``max_connections`` (0: no limit).
    """

    name: str
    opened: int
    reused: int
    stale: int
    failed: int
    recycled: int
    open: int
    idle: int
    in_use: int
    waiting: int
    max_connections: int
    reuse: float
