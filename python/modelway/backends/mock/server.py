"""``MultiModelMockBackend``: many scripted models behind one real HTTP server on loopback."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from aiohttp import web

from modelway.backends.mock.app import make_app
from modelway.backends.mock.config import MockModelConfig, OllamaLimits
from modelway.backends.mock.state import MockState

#: How many clients may connect in one moment, before the loop comes round to them.
_BACKLOG = 2048


class MultiModelMockBackend(MockState):
    """A model server that does what tests script, speaking Ollama and OpenAI at one address.

    ``models`` and ``unavailable_models`` may be changed while it runs; a model in the latter is listed and
    answers 500, as one whose runner has died. ``request_history`` holds every request to a model in order
    of arrival, ``path_counts`` every request of any kind by its path, ``connections`` how many connections
    were accepted. It listens on a free port of 127.0.0.1; ``url`` is known once it has started and stays
    the same through ``down()`` and ``up()``.

    ``version`` is what ``/api/version`` tells. ``close_after_stream`` closes the connection after each
    streamed answer although keep-alive is announced, as llama.cpp's server does. With ``tls``, a server's
    context with its certificate, it speaks https and nothing else. ``limits`` says how many models fit and how many
    requests each serves at a time; by default all of them. ``loads`` names the models that were loaded, in order.

    A server belongs to the event loop that started it; :func:`run_in_thread` brings one of its own.
    """

    def __init__(
        self,
        models: Mapping[str, MockModelConfig],
        *,
        version: str = "0.32.15",
        close_after_stream: bool = False,
        tls: ssl.SSLContext | None = None,
        limits: OllamaLimits | None = None,
    ):
        super().__init__(models, version, close_after_stream, limits or OllamaLimits())
        self._tls = tls
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None
        self._address: tuple[str, int] = ("127.0.0.1", 0)
        self._reserved: socket.socket | None = None

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``, or ``https``. Raises ``RuntimeError`` before the first start."""
        if not self._address[1]:
            raise RuntimeError("MultiModelMockBackend.url: it has no port yet; `async with` it or await start()")
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{self._address[0]}:{self._address[1]}"

    @property
    def is_up(self) -> bool:
        """Whether it accepts connections."""
        return self._listener is not None

    async def start(self) -> None:
        """Listen; idempotent."""
        if self._runner is None:
            # Cancelling handlers is how a request learns that its client has left.
            runner = web.AppRunner(make_app(self), handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
            await runner.setup()
            self._runner = runner
        await self.up()

    async def up(self) -> None:
        """Accept connections, after ``down()`` at the same port as before."""
        if self._listener is None:
            listening = self._reserved or _bound_socket(self._address)
            self._reserved = None
            self._address = listening.getsockname()
            self._listener = await asyncio.get_running_loop().create_server(
                self._accept, sock=listening, ssl=self._tls, backlog=_BACKLOG
            )

    async def down(self) -> None:
        """As if the process had died: open connections are cut, new ones refused; nothing is loaded."""
        if self._listener is None:
            return
        self._listener.close()
        self._listener = None
        self._reserved = _bound_socket(self._address)  # not listening: it only keeps the port ours
        self.residency.close()
        for connection in self._web_server().connections:
            if connection.transport is not None:
                connection.transport.abort()
        await self.wait_for(lambda: not any(record.running for record in self.request_history))
        self.residency = self.empty_memory()

    async def restart(self) -> None:
        """As if the process had died and another had been started at once."""
        await self.down()
        await self.up()

    async def aclose(self) -> None:
        """Stop for good; idempotent."""
        await self.down()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _accept(self) -> asyncio.BaseProtocol:
        self.connections += 1
        self.changes.note()
        return self._web_server()()

    def _web_server(self) -> web.Server:
        if self._runner is None or self._runner.server is None:
            raise RuntimeError("MultiModelMockBackend: not started; `async with` it or await start()")
        return self._runner.server


def _bound_socket(address: tuple[str, int]) -> socket.socket:
    """A socket that holds the port and refuses connections until somebody listens on it."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(address)
    bound.setblocking(False)
    return bound
