"""CPU time a request of the gateway, beside a bare aiohttp proxy to the same server, in one run.

Both forward the same streamed chat request to the same mock server; the load comes from this process, and
what counts is the CPU time that the forwarding process itself has used (``/proc/PID/stat``).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import aiohttp
from aiohttp import web

from modelway.testing import MockModelConfig, MultiModelMockBackend, mock_config, run_in_thread

REQUESTS = 300
CONNECTIONS = 8
ROUNDS = 7
PIECES = 20
MODEL = "bench-model"


async def forward(upstream: str) -> None:
    """The bare proxy: bytes in, bytes out."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False) as client:

        async def pass_on(request: web.Request) -> web.StreamResponse:
            body = await request.read()
            headers = {"content-type": "application/json"}
            async with client.post(upstream + request.path, data=body, headers=headers) as answer:
                response = web.StreamResponse(status=answer.status, headers={"content-type": answer.content_type})
                await response.prepare(request)
                async for piece in answer.content.iter_any():
                    await response.write(piece)
                await response.write_eof()
                return response

        app = web.Application()
        app.router.add_post("/v1/chat/completions", pass_on)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        print(f"ready {runner.addresses[0][1]}", flush=True)
        await asyncio.Event().wait()


@contextlib.contextmanager
def child(*arguments: str) -> Iterator[tuple[int, str]]:
    """A forwarding process: its pid and address, read from its ready line."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        port = process.stdout.readline().strip().rsplit(":", 1)[-1].rsplit(" ", 1)[-1].strip("/")
        yield process.pid, f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def load(url: str) -> None:
    body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "hello there"}]}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:

        async def ask(times: int) -> None:
            for _ in range(times):
                async with client.post(f"{url}/v1/chat/completions", json=body) as answer:
                    assert answer.status == 200
                    assert b"[DONE]" in await answer.read()

        await asyncio.gather(*(ask(REQUESTS // CONNECTIONS) for _ in range(CONNECTIONS)))


def measure(pid: int, url: str) -> float:
    before = cpu_seconds(pid)
    asyncio.run(load(url))
    return (cpu_seconds(pid) - before) / REQUESTS * 1e6


def main() -> None:
    reply = [f"w{i} " for i in range(PIECES)]
    with (
        run_in_thread(MultiModelMockBackend({MODEL: MockModelConfig(reply=reply)})) as mock,
        tempfile.TemporaryDirectory() as folder,
    ):
        config = Path(folder) / "bench.toml"
        config.write_text(mock_config(mock.server, kind="openai"))
        with (
            child(__file__, "proxy", mock.url) as bare,
            child("-m", "modelway", "serve", "--port", "0", "--config", str(config)) as gateway,
        ):
            taken: dict[str, list[float]] = {"bare proxy": [], "gateway": []}
            measure(*bare), measure(*gateway)  # warm both up
            for _ in range(ROUNDS):
                taken["bare proxy"].append(measure(*bare))
                taken["gateway"].append(measure(*gateway))
    for name, values in taken.items():
        low, median, high = statistics.quantiles(values, n=4)
        print(f"{name:10} {median:7.0f} us of CPU a request (quartiles {low:.0f} to {high:.0f}), {PIECES} pieces each")
    ratio = statistics.median(taken["gateway"]) / statistics.median(taken["bare proxy"])
    print(f"gateway / bare proxy: {ratio:.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["proxy"]:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(forward(sys.argv[2]))
    else:
        main()
