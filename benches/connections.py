"""What a request costs over kept connections, over one connection each, and over a plain aiohttp session, in one run.

A child process answers each request with the same short body. Each round asks it in every way in turn, several
requests at once; what is compared are the medians of the rounds. Wall time, as opening a connection is mostly
waiting; CPU time of this process beside it, as that is what is left where many requests run at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
from promises import report

from modelway.origin import Origin
from modelway.pools import ConnectionConfig, ConnectionPool

ROUNDS = 40
REQUESTS = 200
CLIENTS = 8
BODY = b'{"model": "m", "messages": [{"role": "user", "content": "hello there"}]}'
HEADERS = {"Content-Type": "application/json"}
ORIGIN = Origin("bench")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 14\r\n\r\ndata: [DONE]\n\n"

PROMISES = (
    ("kept", "one each", 0.5),
    ("kept", "plain session", 1.25),
    ("kept, CPU", "one each, CPU", 0.5),
    ("kept, CPU", "plain session, CPU", 1.25),
)

Ask = Callable[[], Awaitable[None]]


async def serve() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(len(BODY))
                writer.write(ANSWER)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextlib.asynccontextmanager
async def pooled(url: str, config: ConnectionConfig) -> AsyncIterator[Ask]:
    pool = ConnectionPool("bench", config)

    async def ask() -> None:
        answer = await pool.post(url, BODY, HEADERS, ORIGIN)
        while await answer.burst():
            pass
        answer.close()

    yield ask
    await pool.aclose()


@contextlib.asynccontextmanager
async def plain(url: str) -> AsyncIterator[Ask]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask() -> None:
            async with session.post(url, data=BODY, headers=HEADERS) as answer:
                while await answer.content.readany():
                    pass

        yield ask


async def timed(ask: Ask) -> tuple[float, float]:
    """Nanoseconds a request: of wall time, and of this process's CPU time."""

    async def client() -> None:
        for _ in range(REQUESTS // CLIENTS):
            await ask()

    wall, cpu = time.perf_counter_ns(), time.process_time_ns()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return (time.perf_counter_ns() - wall) / REQUESTS, (time.process_time_ns() - cpu) / REQUESTS


async def measure(url: str) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {}
    async with (
        pooled(url, ConnectionConfig()) as kept,
        pooled(url, ConnectionConfig(keep_alive=False)) as one_each,
        plain(url) as session,
    ):
        ways = {"kept": kept, "one each": one_each, "plain session": session}
        for ask in ways.values():  # warm all up
            await timed(ask)
        for _ in range(ROUNDS):
            for name, ask in ways.items():
                wall, cpu = await timed(ask)
                taken.setdefault(name, []).append(wall)
                taken.setdefault(f"{name}, CPU", []).append(cpu)
    return taken


def main() -> None:
    process = subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        report(asyncio.run(measure(f"http://127.0.0.1:{port}/")), PROMISES)
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(serve())
    else:
        main()
