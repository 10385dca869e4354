"""A mock server with an event loop of its own, for tests that are not async or drive a subprocess."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from modelway.backends.mock.server import MultiModelMockBackend

T = TypeVar("T")

#: Longer than any single wait of the server itself.
_CALL_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class ServerThread:
    """A running server seen from another thread. Reading ``server``'s history and counts is safe."""

    server: MultiModelMockBackend
    loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        return self.server.url

    def wait_for(self, predicate: Callable[[], bool], timeout_s: float = 3.0) -> None:
        """As the server's ``wait_for``, blocking. ``predicate`` runs in the server's thread."""
        self.run(self.server.wait_for(predicate, timeout_s))

    def call(self, action: Callable[[], T]) -> T:
        """Run ``action`` in the server's thread: ``fail``, ``hold``, ``release`` and the like."""

        async def act() -> T:
            return action()

        return self.run(act())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the server's loop: ``server.down()``, ``server.up()``."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(_CALL_TIMEOUT_S)


@contextlib.contextmanager
def run_in_thread(server: MultiModelMockBackend) -> Iterator[ServerThread]:
    """Start ``server`` in a daemon thread; it has stopped, and the thread ended, when the block is left."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="modelway-mock-server", daemon=True)
    thread.start()
    handle = ServerThread(server, loop)
    try:
        handle.run(server.start())
        yield handle
    finally:
        handle.run(server.aclose())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
