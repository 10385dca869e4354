"""A TCP proxy on loopback that loses, stalls, breaks off and splits what comes back, by a seeded plan."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

#: What may happen to a connection, and how often of a hundred. Where it strikes is chance, too.
FATES = {"none": 25, "split": 20, "cut": 25, "reset": 25, "stall": 5}
#: It strikes within so many bytes of an answer, headers and all, most often near the beginning; short answers may
#: escape it.
REACH_BYTES = 6_000


class LossyProxy:
    """``fates`` counts what struck. With ``is_calm`` all connections are passed through as they are."""

    def __init__(self, upstream: str, seed: int) -> None:
        address = urlsplit(upstream)
        self._upstream = (address.hostname, address.port)
        self._chance = random.Random(seed)
        self.fates: Counter[str] = Counter()
        self.is_calm = False
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (fate,) = ("none",) if self.is_calm else self._chance.choices([*FATES], [*FATES.values()])
        at = int(REACH_BYTES * self._chance.random() ** 3)
        up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        going = asyncio.create_task(_pump(reader, up_writer))
        try:
            with suppress(ConnectionError):
                await self._return(up_reader, writer, fate, at, going)
        finally:
            going.cancel()
            for each in (writer, up_writer):
                each.close()

    async def _return(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        fate: str,
        at: int,
        client_left: asyncio.Task[None],
    ) -> None:
        passed = 0
        while data := await reader.read(7 if fate == "split" else 65_536):
            if fate in {"cut", "reset", "stall"} and passed + len(data) > at:
                self.fates[fate] += 1
                writer.write(data[: at - passed])
                await writer.drain()
                if fate == "reset":
                    raw: socket.socket = writer.get_extra_info("socket")
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    writer.transport.abort()
                if fate == "stall":
                    await client_left
                return
            passed += len(data)
            writer.write(data)
            await writer.drain()
        self.fates["split" if fate == "split" else "none"] += 1


@asynccontextmanager
async def lossy(upstream: str, seed: int) -> AsyncIterator[LossyProxy]:
    proxy = LossyProxy(upstream, seed)
    listener = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()
    proxy.url = f"http://{host}:{port}"
    try:
        yield proxy
    finally:
        listener.close()
        await listener.wait_closed()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what the client sends until it leaves."""
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
