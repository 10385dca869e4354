"""One server's connections: which request goes out on which, and when they are given up.

A connection is kept for the next request while its generation is in force. A new generation begins when the
present one is too old and after each failure of one of its connections: what broke one has most likely broken
the others too, so an outage costs one silent reconnect and not one for each connection that was kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import aiohttp

from modelway.errors import BackendError, EgressRefused
from modelway.origin import Origin
from modelway.pools.answer import MAX_BODY_BYTES, Answer, Fetched
from modelway.pools.config import ConnectionConfig
from modelway.pools.door import Door, Pass, Passage, Sent
from modelway.pools.failures import failure_of, place_of
from modelway.pools.generation import Generation, StaleConnection
from modelway.pools.stats import Counts, PoolStats


class ConnectionPool:
    """The connections to one server.

    ``max_connections`` bounds the answers streamed at once; the short control requests pass beside it, else a
    full server could not be asked how it does. Belongs to one event loop; everything is made on first use.

    What leaves this device goes through ``door``: there is no other way, so a server elsewhere must have one.
    """

    def __init__(self, name: str, config: ConnectionConfig, door: Door | None = None):
        if config.place != "device" and (door is None or not door.is_far):
            raise ValueError(f"{name}: a server that is not on this device needs a door")
        self.name = name
        self._door = door
        self.closed = False
        self._config = config
        self._counts = Counts()
        self._slots = asyncio.Semaphore(config.max_connections) if config.max_connections else None
        self._waiting = 0
        #: All that have connections; those given up as long as answers run on them.
        self._generations: list[Generation] = []
        self._present: Generation | None = None
        self._unkept: Generation | None = None
        self._answers: set[Answer] = set()

    @asynccontextmanager
    async def slot(self, origin: Origin, wait_s: float) -> AsyncGenerator[None, None]:
        """One of the ``max_connections`` streams; kind ``busy`` if none gets free within ``wait_s``."""
        if self._slots is None:
            yield
            return
        self._waiting += 1
        try:
            async with asyncio.timeout(wait_s):
                await self._slots.acquire()
        except TimeoutError:
            limit = f"all {self._config.max_connections} connections (max_connections) were in use for {wait_s:g} s"
            raise origin.error("busy", limit) from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], origin: Origin, *, egress: Pass | None = None
    ) -> Answer:
        """Send ``body`` and return when the answer's headers are there; no deadline but the connect one.

        ``egress`` allows it to leave this device; without it that raises :class:`EgressRefused`, and no name is
        looked up.
        """
        if egress is None and (self._door is None or not self._door.is_far):
            return await self._open("POST", url, body, headers, origin)
        if self._door is None:
            raise EgressRefused(f"{origin.backend}: nothing was sent, as its server hands on to no other place")
        passage = await self._door.enter(egress, len(body))
        try:
            return await self._open("POST", url, body, headers, origin, passage=passage)
        except BackendError as error:
            passage.end(error.kind)
            raise
        except BaseException:
            passage.end("cancelled")
            raise

    async def fetch(
        self,
        method: str,
        url: str,
        origin: Origin,
        *,
        timeout_s: float,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        egress: Pass | None = None,
    ) -> Fetched:
        """Ask for something short that holds nothing of anybody's, all of it within ``timeout_s``.

        A server elsewhere is asked only for a request that may leave (``egress``), or where its door says so.
        """
        if self._door is not None:
            self._door.check_control(egress)
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._open(method, url, body, headers or {}, origin)
                try:
                    return Fetched(answer.status, answer.headers, await answer.body(MAX_BODY_BYTES))
                finally:
                    answer.close()
        except TimeoutError:
            raise origin.error("timeout", f"{place_of(url)} did not answer {method} within {timeout_s:g} s") from None

    def stats(self) -> PoolStats:
        """What became of the connections so far, and what they do now."""
        is_open = sum(generation.open for generation in self._generations)
        in_use = sum(generation.in_use for generation in self._generations)
        return PoolStats(
            name=self.name,
            opened=self._counts.opened,
            reused=self._counts.reused,
            stale=self._counts.stale,
            failed=self._counts.failed,
            recycled=self._counts.recycled,
            open=is_open,
            # A request that is still looking up its host has no socket yet.
            idle=max(0, is_open - in_use),
            in_use=in_use,
            waiting=self._waiting,
            max_connections=self._config.max_connections,
            reuse=self._counts.reuse,
        )

    async def aclose(self) -> None:
        """Close every connection; idempotent. What they carried is not sent again, and requests after this fail."""
        self.closed = True
        # The library tells nobody who reads on a connection that is closed along with its connector.
        for answer in list(self._answers):
            answer.close()
        for generation in self._generations:
            await generation.aclose()
        if self._door is not None:
            await self._door.aclose()

    async def _open(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str],
        origin: Origin,
        *,
        passage: Passage | None = None,
    ) -> Answer:
        generation = self._in_force(origin)
        sent = Sent() if passage is None else passage.sent
        response = failure = None
        try:
            try:
                response = await generation.ask(method, url, body, headers, sent)
            except StaleConnection:
                generation.retire()
                if passage is not None:
                    passage.check()
                if not self.closed:
                    # Once, on a connection that nobody had before: a second kept one could be as stale.
                    generation = self._on_its_own()
                    response = await generation.ask(method, url, body, headers, sent)
        except aiohttp.ClientError as error:
            failure = failure_of(error, url, self._config.connect_s, origin)
        if response is None:
            if self.closed:
                raise _closed(origin)
            generation.failed()
            # Outside of the except block: the library's own errors show the key in our headers.
            assert failure is not None
            raise failure
        answer = Answer(response, origin, lambda broken: self._ended(answer, generation, passage, broken))
        self._answers.add(answer)
        if self.closed:
            answer.close()
            raise _closed(origin)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            answer.close()
            raise origin.error("malformed", f"{place_of(url)} sent a compressed answer that nobody asked for")
        return answer

    def _ended(self, answer: Answer, generation: Generation, passage: Passage | None, broken: bool) -> None:
        self._answers.remove(answer)
        if passage is not None:
            passage.end("interrupted" if broken else "answered")
        if broken:
            generation.failed()
        generation.done()

    def _in_force(self, origin: Origin) -> Generation:
        """Where the next request goes."""
        if self.closed:
            raise _closed(origin)
        present = self._present
        if present is not None and present.age_s >= self._config.max_age_s:
            present.retire()
        if present is None or present.retired:
            present = self._present = self._begin(keep=self._config.keep_alive)
        return present

    def _on_its_own(self) -> Generation:
        if self._unkept is None:
            self._unkept = self._begin(keep=False)
        return self._unkept

    def _begin(self, *, keep: bool) -> Generation:
        self._generations = [generation for generation in self._generations if not generation.closed]
        self._generations.append(Generation(self._config, self._counts, keep=keep))
        return self._generations[-1]


def _closed(origin: Origin) -> BackendError:
    return origin.error("reset", "the connection was closed")
