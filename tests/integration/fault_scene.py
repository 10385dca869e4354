"""The scene of the fault table: a server whose first model fails, a second server that serves, and who looks on.

The chain is ``first-model``, ``second-model``, ``spare-model``. The second stands on a backend of its own. The spare
one shares the first's, comes last because it is weak in what is asked here, and tells whether the fault counted against
that backend, too. A circuit opens here after one hard failure, or when less than half of two answers or more were good.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from conductor_kit import BookkeepingRouter

from modelway.backends.mock import MockModelConfig, MultiModelMockBackend
from modelway.conductor import Conductor
from modelway.config import Config

Protocol = Literal["ollama", "openai", "closing"]
#: The third is OpenAI's from a server that closes each connection after its answer, as llama.cpp's does.
PROTOCOLS: tuple[Protocol, ...] = ("ollama", "openai", "closing")

FIRST, SECOND = "one two three 😀", "served by the second"
#: Long enough for a busy machine, short enough for a test. Loading adds nothing worth waiting for.
DEADLINE_S = 0.3
DEADLINES = "connect_ms = 200\nload_ms = 1\nfirst_token_ms = 300\nbetween_tokens_ms = 300\n"


@dataclass
class Scene:
    """Both servers and the conductor over them."""

    protocol: Protocol
    first: MultiModelMockBackend
    second: MultiModelMockBackend
    conductor: Conductor

    @property
    def router(self) -> BookkeepingRouter:
        router = self.conductor.router
        assert isinstance(router, BookkeepingRouter)
        return router

    def asked(self) -> list[str]:
        """The models that were asked, in order."""
        records = [*self.first.request_history, *self.second.request_history]
        return [record.model for record in sorted(records, key=lambda record: record.started)]

    async def at_rest(self) -> None:
        """Return once no request runs at a server; then each permit and each connection must be back, exactly once."""
        for server in (self.first, self.second):
            await server.wait_for(lambda server=server: not any(record.running for record in server.request_history))
        self.router.check_books()
        pools = self.conductor.pool_stats()
        assert [(pool.in_use, pool.waiting) for pool in pools] == [(0, 0)] * len(pools)
        assert [pool.open for pool in pools] == [pool.idle for pool in pools]


def config_text(
    first_url: str,
    second_url: str,
    protocol: Protocol,
    *,
    more: str = "",
    model: str = "",
    backend: str = "",
    health: str = "",
) -> str:
    """``more`` is TOML put in front; ``model``, ``backend`` and ``health`` belong to the tables of the first model, of
    the first backend and to ``[health]``."""
    kind = "ollama" if protocol == "ollama" else "openai"
    return f"""{more}
[health]
failures_to_open = 1
samples_to_judge = 2
least_success_percent = 50
{health}
[defaults]
quick = "first-model"
tool_use = "first-model"
[fallbacks]
quick = ["second-model"]
tool_use = ["second-model"]
[[backends]]
name = "first"
kind = "{kind}"
url = "{first_url}"
{backend}
[[backends]]
name = "second"
kind = "{kind}"
url = "{second_url}"
[[models]]
id = "first-model"
backend = "first"
supports_tools = true
{model}
[[models]]
id = "second-model"
backend = "second"
supports_tools = true
[[models]]
id = "spare-model"
backend = "first"
weaknesses = ["QuickResponse", "ToolUse"]
"""


@asynccontextmanager
async def scene(
    protocol: Protocol,
    *,
    hasty: bool = False,
    more: str = "",
    model: str = "",
    backend: str = "",
    health: str = "",
    url: str | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Scene]:
    """A scene from beginning to end. ``hasty``: with deadlines that a test can wait for.

    ``url`` is the first backend's where it is not the server's own; ``PORT`` in it stands for the server's port.
    """
    closes = protocol == "closing"
    able = ["completion", "tools"]
    models = {"first-model": MockModelConfig(reply=FIRST, capabilities=able), "spare-model": MockModelConfig()}
    others = {"second-model": MockModelConfig(reply=SECOND, capabilities=able)}
    async with (
        MultiModelMockBackend(models, close_after_stream=closes, tls=tls) as first,
        MultiModelMockBackend(others, close_after_stream=closes) as second,
    ):
        port = first.url.rpartition(":")[2]
        deadlines = f"[deadlines]\n{DEADLINES}" if hasty else ""
        text = config_text(
            (url or first.url).replace("PORT", port),
            second.url,
            protocol,
            more=deadlines + more,
            model=model,
            backend=backend,
            health=health,
        )
        conductor = Conductor(router=BookkeepingRouter(Config.from_toml(text)))
        try:
            yield Scene(protocol, first, second, conductor)
        finally:
            for server in (first, second):
                server.release()
            await conductor.aclose()
            await asyncio.sleep(0)


async def until(holds: Callable[[], bool]) -> None:
    """Return once ``holds()``, for facts that nobody tells."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0)
