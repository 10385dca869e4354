"""The pools of one conductor: opened by backends, counted here, closed by whoever is last."""

from __future__ import annotations

from modelway.pools.config import ConnectionConfig
from modelway.pools.door import Door
from modelway.pools.pool import ConnectionPool
from modelway.pools.stats import PoolStats


class PoolManager:
    """Opens pools and keeps count of them.

    Each call of :meth:`pool` opens another pool, which belongs to its caller: while one configuration takes
    over from another, two backends of one name are in use, and neither may close the connections of the other.
    """

    def __init__(self) -> None:
        self._pools: list[ConnectionPool] = []

    def pool(self, name: str, config: ConnectionConfig | None = None, door: Door | None = None) -> ConnectionPool:
        """A new pool, with the defaults of :class:`ConnectionConfig` if nothing else is said.

        Raises ``ValueError`` for a server elsewhere without a ``door``.
        """
        self._forget_closed()
        pool = ConnectionPool(name, config or ConnectionConfig(), door)
        self._pools.append(pool)
        return pool

    def stats(self) -> list[PoolStats]:
        """The open pools, in the order in which they were opened; those that end beside those that follow them."""
        self._forget_closed()
        return [pool.stats() for pool in self._pools]

    async def aclose(self) -> None:
        """Close all pools; idempotent."""
        for pool in self._pools:
            await pool.aclose()
        self._forget_closed()

    def _forget_closed(self) -> None:
        self._pools = [pool for pool in self._pools if not pool.closed]
