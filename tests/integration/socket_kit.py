"""A server that is nothing but a socket, for what a real one does only by accident."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress

from modelway.backends.mock.history import Changes
from modelway.origin import Origin
from modelway.pools import ConnectionPool

ORIGIN = Origin("local", "coder")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


Script = Callable[[int, int], list[bytes | None]]


class Socket:
    """Accepts connections and answers as ``script(connection number, request number on it)`` says.

    Each entry of its list is sent; None closes the connection. With no entry the client waits. ``gone`` are the
    connections that have ended, whoever closed them.
    """

    def __init__(self) -> None:
        self.script: Script = lambda connection, request: [OK]
        self.requests: list[tuple[int, int]] = []
        self.heads: list[bytes] = []
        self.client_gone = asyncio.Event()
        self.gone: set[int] = set()
        self._changes = Changes()
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    @property
    def url(self) -> str:
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()
        return f"http://{host}:{port}"

    async def until(self, predicate: Callable[[], bool]) -> None:
        """Wait for a fact; it is looked at whenever a connection has ended."""
        await self._changes.until(predicate, timeout_s=3.0)

    def send(self, connection: int, data: bytes) -> None:
        """Send more than the script says."""
        self._writers[connection - 1].write(data)

    async def aclose(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        connection = len(self._writers)
        request = 0
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
                await reader.readexactly(int(length[1]) if length else 0)
                request += 1
                self.requests.append((connection, request))
                self.heads.append(head)
                for part in self.script(connection, request):
                    if part is None:
                        writer.close()
                    else:
                        writer.write(part)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.client_gone.set()
        finally:
            writer.close()
            self.gone.add(connection)
            self._changes.note()


async def post(pool: ConnectionPool, server: Socket, body: bytes = b"{}", key: str = "", url: str = "") -> bytes:
    answer = await pool.post(url or server.url, body, {"Authorization": key}, ORIGIN)
    try:
        return await answer.body(1000)
    finally:
        answer.close()
