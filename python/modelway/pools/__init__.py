"""Connections: one pool a backend, and the only package that talks HTTP as a client.

A pool turns every way in which a connection can fail into a ``BackendError`` with its kind, so that
nobody above has to know the client library. It decides nothing: deadlines, framing and the meaning
of an answer stand in the backends.

A request goes out on a connection of the pool's present generation (``generation``), and what comes back
is read in bursts (``answer``). The generation is given up by age and after errors (``pool``). What leaves this device
passes a ``door`` first, and ``addresses`` sees to it that a name leads where its server is said to be.
"""

from modelway.pools.answer import MAX_BODY_BYTES, MAX_REFUSAL_BYTES, Answer, Fetched
from modelway.pools.config import ConnectionConfig
from modelway.pools.door import Door, Pass
from modelway.pools.manager import PoolManager
from modelway.pools.pool import ConnectionPool
from modelway.pools.stats import PoolStats

__all__ = [
    "MAX_BODY_BYTES",
    "MAX_REFUSAL_BYTES",
    "Answer",
    "ConnectionConfig",
    "ConnectionPool",
    "Door",
    "Fetched",
    "Pass",
    "PoolManager",
    "PoolStats",
]
