"""A generation of connections: opened in one stretch of time, given up together.

The client library keeps connections in a connector, and closes that only as a whole, with all that is under
way on it. So a generation that is given up is asked no more, its idle connections end with their keep-alive
time, and it is closed with its last answer, at once if none is under way.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from types import SimpleNamespace
from weakref import WeakSet

import aiohttp

from modelway.pools.addresses import Resolver
from modelway.pools.config import ConnectionConfig
from modelway.pools.door import Sent
from modelway.pools.stats import Counts

#: How long the addresses of a host are believed, seconds: a server that moves is found again soon.
_DNS_S = 10
#: How long one address of a host is tried before the next one is tried beside it, seconds (RFC 8305, section 5).
_NEXT_ADDRESS_S = 0.25
#: What is read ahead of a caller that does not ask for more; twice this, and what one read brings, may be held. The
#: library's own figure lets a request whose client does not read hold more than 1 MiB.
_READ_AHEAD_BYTES = 64 * 1024


class StaleConnection(aiohttp.ClientError):
    """A kept connection turned out to be closed before a byte of the answer came."""


class Generation:
    """``keep`` False: each connection is opened for one request. Made inside the running loop."""

    def __init__(self, config: ConnectionConfig, counts: Counts, *, keep: bool):
        self.in_use = 0
        self.retired = False
        self._keep = keep
        self._counts = counts
        self._loop = asyncio.get_running_loop()
        self._born = self._loop.time()
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._session = self._new_session(config)
        self._closing: asyncio.Task[None] | None = None

    @property
    def age_s(self) -> float:
        return self._loop.time() - self._born

    @property
    def open(self) -> int:
        """How many sockets are open, those included that are just being connected."""
        return sum(sock.fileno() >= 0 for sock in self._sockets)

    @property
    def closed(self) -> bool:
        return self._closing is not None and self._closing.done()

    async def ask(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], sent: Sent
    ) -> aiohttp.ClientResponse:
        """Send a request and return its answer, which is in use until :meth:`done` is called for it.

        What went out of the body is added to ``sent``.
        """
        sent.on_kept = False
        self.in_use += 1
        try:
            # A redirect would carry the prompt and the key to a place that nobody configured.
            return await self._session.request(
                method, url, data=body, headers=headers, allow_redirects=False, trace_request_ctx=sent
            )
        except BaseException as error:
            self.done()
            if sent.on_kept and _says_closed(error):
                self._counts.stale += 1
                raise StaleConnection from error
            raise

    def done(self) -> None:
        """An answer has ended."""
        self.in_use -= 1
        self._close_if_over()

    def failed(self) -> None:
        """A connection could not be opened, or broke. Those beside it lead to the same place and are given up."""
        self._counts.failed += 1
        if self.open:
            self.retire()

    def retire(self) -> None:
        """Begin no request here any more; idempotent. A generation that keeps nothing has nothing to give up."""
        if self._keep and not self.retired:
            self.retired = True
            self._counts.recycled += 1
            self._close_if_over()

    async def aclose(self) -> None:
        """Close every connection now, also those in use; idempotent."""
        # Shielded: the connections are closed also where the wait for it is cancelled.
        await asyncio.shield(self._close())

    def _close_if_over(self) -> None:
        if self.retired and not self.in_use:
            self._close()

    def _close(self) -> asyncio.Task[None]:
        if self._closing is None:
            self._closing = self._loop.create_task(self._session.close())
        return self._closing

    def _new_session(self, config: ConnectionConfig) -> aiohttp.ClientSession:
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(self._note_opened)
        trace.on_connection_reuseconn.append(self._note_reused)
        trace.on_request_chunk_sent.append(_note_chunk)
        connector = aiohttp.TCPConnector(
            limit=0,  # the pool counts, also while a stale connection is replaced
            force_close=not self._keep,
            keepalive_timeout=config.keep_alive_s if self._keep else None,
            resolver=Resolver(config.place, is_encrypted=config.is_encrypted),
            # What was found elsewhere is believed as long as the generation lasts: a name must not come to mean
            # another place between the consent and the connection.
            ttl_dns_cache=_DNS_S if config.place == "device" else None,
            happy_eyeballs_delay=_NEXT_ADDRESS_S,
            socket_factory=self._new_socket,
        )
        return aiohttp.ClientSession(
            connector=connector,
            # Total off: it would cut long answers after five minutes.
            timeout=aiohttp.ClientTimeout(total=None, connect=config.connect_s),
            # A compressed body could inflate without limit.
            headers={"Accept-Encoding": "identity", "User-Agent": "modelway"},
            auto_decompress=False,
            read_bufsize=_READ_AHEAD_BYTES,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[trace],
        )

    def _new_socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, _ = address
        made = socket.socket(family, kind, protocol)
        self._sockets.add(made)
        return made

    async def _note_opened(
        self, _session: aiohttp.ClientSession, context: SimpleNamespace, _: aiohttp.TraceConnectionCreateEndParams
    ) -> None:
        self._counts.opened += 1
        self._note(context.trace_request_ctx, on_kept=False)

    async def _note_reused(
        self, _session: aiohttp.ClientSession, context: SimpleNamespace, _: aiohttp.TraceConnectionReuseconnParams
    ) -> None:
        self._counts.reused += 1
        self._note(context.trace_request_ctx, on_kept=True)

    def _note(self, sent: Sent, *, on_kept: bool) -> None:
        if sent.on_kept:
            # The library asks a second time by itself where the method allows it, as GET does.
            self._counts.stale += 1
            self.retire()
        sent.on_kept = on_kept


async def _note_chunk(
    _session: aiohttp.ClientSession, context: SimpleNamespace, sent: aiohttp.TraceRequestChunkSentParams
) -> None:
    context.trace_request_ctx.body_bytes += len(sent.chunk)


def _says_closed(error: BaseException) -> bool:
    """Whether a request on a kept connection failed because the server had closed that."""
    match error:
        case aiohttp.ServerDisconnectedError():
            return isinstance(error.message, str)  # else it is the part of the answer that had come
        case aiohttp.ClientConnectorError() | aiohttp.ClientResponseError():
            return False
        case _:
            return isinstance(error, aiohttp.ClientOSError | aiohttp.ClientConnectionResetError)
