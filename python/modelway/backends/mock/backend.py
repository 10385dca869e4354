"""A dry run of a configuration: its models answered by the mock server, in this process, on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from modelway.backends.base import ChatCall, Deadlines, LoadCall, RunningModel, ServedModel
from modelway.backends.ollama import OllamaBackend
from modelway.backends.ollama.request import left_out
from modelway.events import BackendEvent
from modelway.pools import ConnectionConfig, Door, PoolManager

if TYPE_CHECKING:
    from modelway.backends.mock import MultiModelMockBackend
    from modelway.config.settings import ResolvedModel


class MockBackend:
    """Each of ``models`` answers with its name. With ``url``: a mock server that somebody else runs there."""

    def __init__(
        self,
        name: str,
        models: Sequence[ResolvedModel],
        *,
        pools: PoolManager,
        deadlines: Deadlines,
        connections: ConnectionConfig | None = None,
        url: str | None = None,
        door: Door | None = None,
    ):
        self.name = name
        self._models = tuple(models)
        self._pools = pools
        self._deadlines = deadlines
        self._connections = connections
        self._url = url
        self._door = door
        self._server: MultiModelMockBackend | None = None
        self._client: OllamaBackend | None = None
        self._starting = asyncio.Lock()

    def unsupported_options(self, call: ChatCall) -> tuple[str, ...]:
        return left_out(call)

    async def stream(self, call: ChatCall) -> AsyncGenerator[BackendEvent, None]:
        client = await self._started()
        async with aclosing(client.stream(call)) as events:
            async for event in events:
                yield event

    async def served(self) -> list[ServedModel]:
        if self._url is not None:
            return await (await self._started()).served()
        return [
            ServedModel(model.name, capabilities=frozenset(_capabilities(model)), max_context=model.max_context)
            for model in self._models
        ]

    async def running(self) -> list[RunningModel]:
        if self._url is None and self._client is None:
            return []  # nobody has asked for anything yet
        return await (await self._started()).running()

    async def load(self, call: LoadCall) -> None:
        await (await self._started()).load(call)

    async def unload(self, call: LoadCall) -> None:
        await (await self._started()).unload(call)

    async def probe(self) -> None:
        if self._url is not None:
            await (await self._started()).probe()

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()
        if self._server is not None:
            await self._server.aclose()
        self._client = self._server = None

    async def _started(self) -> OllamaBackend:
        async with self._starting:
            if self._client is None:
                url = self._url or await self._start_server()
                self._client = OllamaBackend(
                    self.name,
                    url,
                    pools=self._pools,
                    deadlines=self._deadlines,
                    connections=self._connections,
                    door=self._door,
                )
        return self._client

    async def _start_server(self) -> str:
        from modelway.backends.mock import MockModelConfig, MultiModelMockBackend

        configs = {model.name: MockModelConfig(capabilities=_capabilities(model)) for model in self._models}
        for model in self._models:
            if model.max_context is not None:
                configs[model.name] = replace(configs[model.name], max_context=model.max_context)
        self._server = MultiModelMockBackend(configs)
        await self._server.start()
        return self._server.url


def _capabilities(model: ResolvedModel) -> tuple[str, ...]:
    """Ollama's words for what a configured model can do."""
    tools = ("tools",) if model.supports_tools else ()
    vision = ("vision",) if "VisionInput" in model.capabilities else ()
    return ("completion", *tools, *vision)
