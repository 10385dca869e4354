"""What comes back: headers at once, the body in bursts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import aiohttp

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
    ``on_end`` is called once, with whether the connection broke.
    """

    def __init__(self, response: aiohttp.ClientResponse, origin: Origin, on_end: Callable[[bool], None]):
        self._response = response
        self._origin = origin
        self._on_end: Callable[[bool], None] | None = on_end
        self._broken = False
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.content_type = response.content_type

    async def burst(self) -> bytes:
        """What has arrived, at least one byte; ``b""`` at the end. Raises kind ``interrupted``."""
        held = b""
        if not self._broken:
            try:
                burst = await self._response.content.readany()
            except aiohttp.ClientError:
                self._broken = True
                # The reader raises before it hands out what it holds; what came is part of the answer.
                held = self._response.content._read_nowait(-1)
                self._end(broken=True)
            else:
                if not burst:
                    self._end()
                return burst
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
        self._end()

    def _end(self, *, broken: bool = False) -> None:
        if self._on_end is not None:
            on_end, self._on_end = self._on_end, None
            on_end(broken)
