"""Connections: one pool a backend, and the only module that talks HTTP as a client.

A pool turns every way in which a connection can fail into a ``BackendError`` with its kind, so that
nobody above has to know the client library. It decides nothing: deadlines, framing and the meaning
of an answer stand in the backends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import NamedTuple

import aiohttp
from yarl import URL

from modelway.errors import BackendError
from modelway.origin import Origin

#: No answer to a control request (a version, a list of models) is larger.
MAX_BODY_BYTES = 8 * 1024 * 1024
#: What is read of a body that only serves to explain a refusal.
MAX_REFUSAL_BYTES = 64 * 1024


class Fetched(NamedTuple):
    """A whole short answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Answer:
    """An HTTP answer whose headers have come and whose body is read in bursts.

    Read to its end, its connection goes back to the pool; closed before, the connection is closed.
    """

    def __init__(self, response: aiohttp.ClientResponse, origin: Origin):
        self._response = response
        self._origin = origin
        self._broken = False
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.content_type = response.content_type

    async def burst(self) -> bytes:
        """What has arrived, at least one byte; ``b""`` at the end. Raises kind ``interrupted``."""
        held = b""
        if not self._broken:
            try:
                return await self._response.content.readany()
            except aiohttp.ClientError:
                self._broken = True
                # The reader raises before it hands out what it holds; what came is part of the answer.
                held = self._response.content._read_nowait(-1)
        if held:
            return held
        # Outside of the except block: the library's own errors quote bytes of the answer.
        raise self._origin.error("interrupted", "the connection broke in mid-answer")

    async def body(self, limit: int) -> bytes:
        """The body, cut after about ``limit`` bytes (then the connection is closed)."""
        bursts: list[bytes] = []
        size = 0
        while burst := await self.burst():
            bursts.append(burst)
            size += len(burst)
            if size > limit:
                self.close()
                break
        return b"".join(bursts)[:limit]

    def close(self) -> None:
        """Close the connection now, unless the answer was read to its end."""
        self._response.close()


class ConnectionPool:
    """The kept-alive connections to one server.

    ``max_connections`` bounds the answers streamed at once (0: no limit); the short control requests
    pass beside it, else a full server could not be asked how it does. ``connect_s`` bounds name
    lookup, connect and TLS together. ``keep_alive=False`` suits servers that close after each answer.
    Belongs to one event loop; everything is made on first use.
    """

    def __init__(self, name: str, *, max_connections: int = 0, connect_s: float = 1.0, keep_alive: bool = True):
        self.name = name
        self._connect_s = connect_s
        self._keep_alive = keep_alive
        self._max_connections = max_connections
        self._slots = asyncio.Semaphore(max_connections) if max_connections else None
        self._kept: aiohttp.ClientSession | None = None
        self._single: aiohttp.ClientSession | None = None
        self._closed = False

    @asynccontextmanager
    async def slot(self, origin: Origin, wait_s: float) -> AsyncGenerator[None, None]:
        """One of the ``max_connections`` streams; kind ``busy`` if none gets free within ``wait_s``."""
        if self._slots is None:
            yield
            return
        try:
            async with asyncio.timeout(wait_s):
                await self._slots.acquire()
        except TimeoutError:
            limit = f"all {self._max_connections} connections (max_connections) were in use for {wait_s:g} s"
            raise origin.error("busy", limit) from None
        try:
            yield
        finally:
            self._slots.release()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], origin: Origin) -> Answer:
        """Send ``body`` and return when the answer's headers are there; no deadline but the connect one."""
        return await self._open("POST", url, body, headers, origin)

    async def fetch(
        self,
        method: str,
        url: str,
        origin: Origin,
        *,
        timeout_s: float,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Fetched:
        """Ask for something short, all of it within ``timeout_s``."""
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._open(method, url, body, headers or {}, origin)
                try:
                    return Fetched(answer.status, answer.headers, await answer.body(MAX_BODY_BYTES))
                finally:
                    answer.close()
        except TimeoutError:
            raise origin.error("timeout", f"{_place(url)} did not answer {method} within {timeout_s:g} s") from None

    async def aclose(self) -> None:
        """Close every connection; idempotent. What they carried is not sent again."""
        self._closed = True
        for session in (self._kept, self._single):
            if session is not None:
                await session.close()
        self._kept = self._single = None

    async def _open(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], origin: Origin
    ) -> Answer:
        response = failure = None
        try:
            try:
                response = await self._ask(self._pooled(), method, url, body, headers)
            except _StaleConnection:
                # The server had closed an idle connection in the moment we wrote to it. Once, on a
                # new one: a second pooled connection could be as stale.
                if not self._closed:
                    response = await self._ask(self._unpooled(), method, url, body, headers)
                else:  # or we closed it ourselves, which says nothing of the server
                    failure = origin.error("reset", "the connection was closed")
        except aiohttp.ClientError as error:
            failure = self._failure(error, url, origin)
        if response is None:
            # Outside of the except block: the library's own errors show the key in our headers.
            assert failure is not None
            raise failure
        if response.headers.get("Content-Encoding", "identity") != "identity":
            response.close()
            raise origin.error("malformed", f"{_place(url)} sent a compressed answer that nobody asked for")
        return Answer(response, origin)

    async def _ask(
        self, session: aiohttp.ClientSession, method: str, url: str, body: bytes | None, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        seen = SimpleNamespace(reused=False)
        try:
            # A redirect would carry the prompt and the key to a place that nobody configured.
            return await session.request(
                method, url, data=body, headers=headers, allow_redirects=False, trace_request_ctx=seen
            )
        except aiohttp.ServerDisconnectedError as error:
            nothing_came = isinstance(error.message, str)
            if seen.reused and nothing_came:
                raise _StaleConnection from error
            raise
        except (aiohttp.ClientConnectorError, aiohttp.ClientResponseError):
            raise
        except (aiohttp.ClientOSError, aiohttp.ClientConnectionResetError) as error:
            if seen.reused:
                raise _StaleConnection from error
            raise

    def _pooled(self) -> aiohttp.ClientSession:
        if self._kept is None:
            self._kept = self._session(force_close=not self._keep_alive)
        return self._kept

    def _unpooled(self) -> aiohttp.ClientSession:
        if self._single is None:
            self._single = self._session(force_close=True)
        return self._single

    def _session(self, *, force_close: bool) -> aiohttp.ClientSession:
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(_note_reuse)
        return aiohttp.ClientSession(
            # Without limit: ``slot`` counts, also while a stale connection is replaced.
            connector=aiohttp.TCPConnector(limit=0, force_close=force_close),
            # Total off: it would cut long answers after five minutes.
            timeout=aiohttp.ClientTimeout(total=None, connect=self._connect_s),
            # A compressed body could inflate without limit.
            headers={"Accept-Encoding": "identity", "User-Agent": "modelway"},
            auto_decompress=False,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[trace],
        )

    def _failure(self, error: aiohttp.ClientError, url: str, origin: Origin) -> BackendError:
        place = _place(url)
        match error:
            case aiohttp.ServerTimeoutError():
                kind, what = "timeout", f"no connection to {place} within {self._connect_s:g} s"
            case aiohttp.ClientConnectorDNSError():
                kind, what = "connect", f"the host of {place} is not known; correct the url"
            case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
                kind, what = "connect", f"no TLS connection to {place}: its certificate or protocol was refused"
            case aiohttp.ClientConnectorError():
                why = error.strerror or "refused"
                kind, what = "connect", f"no connection to {place}: {why}; is the server running?"
            case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
                kind, what = "connect", f"{place} is no http or https address; correct the url"
            case aiohttp.ClientConnectionError():
                kind, what = "reset", f"{place} closed the connection before it answered"
            case _:
                kind, what = "malformed", f"{place} did not answer in HTTP"
        return origin.error(kind, what)


class PoolManager:
    """Name to pool, each made on first use inside the running loop."""

    def __init__(self) -> None:
        self._pools: dict[str, ConnectionPool] = {}

    def pool(
        self, name: str, *, max_connections: int = 0, connect_s: float = 1.0, keep_alive: bool = True
    ) -> ConnectionPool:
        """The pool of this name; the options count when it is made."""
        pool = self._pools.get(name)
        if pool is None:
            pool = self._pools[name] = ConnectionPool(
                name, max_connections=max_connections, connect_s=connect_s, keep_alive=keep_alive
            )
        return pool

    async def discard(self, name: str) -> None:
        """Close one pool and forget it; nothing happens where there is none."""
        if pool := self._pools.pop(name, None):
            await pool.aclose()

    async def aclose(self) -> None:
        """Close all pools; idempotent."""
        for name in list(self._pools):
            await self.discard(name)


class _StaleConnection(aiohttp.ClientError):
    """A kept-alive connection turned out to be closed before a byte of the answer came."""


async def _note_reuse(
    _session: aiohttp.ClientSession, context: SimpleNamespace, _params: aiohttp.TraceConnectionReuseconnParams
) -> None:
    context.trace_request_ctx.reused = True


def _place(url: str) -> str:
    """Scheme, host and port: what an error may show of an address."""
    try:
        return str(URL(url).origin())
    except ValueError:
        return "the configured url"
