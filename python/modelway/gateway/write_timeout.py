"""Clients that stop reading: an answer that can't be written for too long ends as if its client had left.

Back-pressure alone would keep such a client's model busy for ever. One timer watches all writes of an answer, as
records are written far more often than a client gets stuck: a write leaves a time stamp, and the timer looks at it.
"""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Self

logger = logging.getLogger("modelway.gateway")


class WriteTimeout:
    """``with`` around all writes of one answer, ``begin`` and ``end`` around each.

    A write that takes ``timeout_s`` aborts ``transport``; aiohttp then cancels the request's task, which closes the
    upstream. None is a connection that is closed already.
    """

    def __init__(self, transport: asyncio.Transport | None, timeout_s: float) -> None:
        self._transport = transport
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._begun_at: float | None = None
        #: Whether the connection was closed for it.
        self.has_given_up = False
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._timer = self._loop.call_later(self._timeout_s, self._look)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._timer is not None
        self._timer.cancel()

    @property
    def is_writing(self) -> bool:
        return self._begun_at is not None

    def begin(self) -> None:
        self._begun_at = self._loop.time()

    def end(self) -> None:
        self._begun_at = None

    def _look(self) -> None:
        now = self._loop.time()
        due = (now if self._begun_at is None else self._begun_at) + self._timeout_s
        if due > now:
            self._timer = self._loop.call_at(due, self._look)
        elif self._transport is not None:
            logger.info("a client did not read its answer for %g s; its connection is closed", self._timeout_s)
            self.has_given_up = True
            self._transport.abort()
