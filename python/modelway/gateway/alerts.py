"""``GET /modelway/events``: alerts as server-sent events, as long as the client and the gateway are there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

if TYPE_CHECKING:
    from modelway.conductor import Conductor
    from modelway.events import AvailabilityChanged

#: How often a comment line is sent, seconds: one who has left is noticed, and nothing between takes it for idle.
_COMMENT_EVERY_S = 15.0
#: A client that takes nothing for so long has its connection closed, seconds.
_WRITE_S = 30.0


async def stream_alerts(request: web.Request, conductor: Conductor, stopping: asyncio.Event) -> web.StreamResponse:
    """The alerts in force, then each as it comes, until the client leaves or ``stopping`` is set."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(request)
    async with aclosing(_lines(conductor, stopping)) as lines:
        async for line in lines:
            try:
                async with asyncio.timeout(_WRITE_S):
                    await response.write(line)
            except TimeoutError:
                if request.transport is not None:
                    request.transport.abort()
                break
    return response


async def _lines(conductor: Conductor, stopping: asyncio.Event) -> AsyncGenerator[bytes, None]:
    stopped = asyncio.create_task(stopping.wait())
    alert: asyncio.Task[AvailabilityChanged] | None = None
    alerts = conductor.watch()
    try:
        yield b": alerts of modelway\n\n"
        while True:
            alert = alert or asyncio.create_task(anext(alerts))
            await asyncio.wait({stopped, alert}, timeout=_COMMENT_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
            if stopped.done():
                return
            if not alert.done():
                yield b": nothing new\n\n"
                continue
            try:
                document = asdict(alert.result())
            except StopAsyncIteration:
                return
            alert = None
            yield b"event: availability\ndata: " + orjson.dumps(document) + b"\n\n"
    finally:
        tasks = {task for task in (stopped, alert) if task is not None}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await alerts.aclose()
