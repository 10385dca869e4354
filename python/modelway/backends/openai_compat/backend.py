"""Any server with OpenAI's chat route: llama.cpp, vLLM, LM Studio, providers."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing

from modelway.backends.base import PROBE_S, ChatCall, Deadlines, LoadCall, RunningModel, ServedModel
from modelway.backends.openai_compat.answer import OpenAIAnswer
from modelway.backends.openai_compat.listing import served_models
from modelway.backends.openai_compat.request import Dialect, chat_body, left_out
from modelway.backends.wire.exchange import sent
from modelway.backends.wire.lines import SseFramer
from modelway.backends.wire.records import encode, parse_object
from modelway.backends.wire.refusals import refusal
from modelway.errors import BackendError
from modelway.events import BackendEvent
from modelway.origin import Origin
from modelway.pools import ConnectionConfig, Door, PoolManager

#: For the list of models.
_CONTROL_S = 5.0


class OpenAICompatBackend:
    """A server at ``url``, given with or without its version path (``/v1``).

    The key is read from the environment variable ``api_key_env`` at each request, or is ``api_key``, for
    servers that modelway itself started.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        pools: PoolManager,
        deadlines: Deadlines,
        connections: ConnectionConfig | None = None,
        api_key_env: str | None = None,
        api_key: str | None = None,
        dialect: Dialect = "openai",
        pool_name: str | None = None,
        door: Door | None = None,
    ):
        self.name = name
        base = url.rstrip("/")
        self._base = base if re.fullmatch(r"v\d+\w*", base.rpartition("/")[2]) else f"{base}/v1"
        self._pool = pools.pool(pool_name or name, connections or ConnectionConfig(connect_s=deadlines.connect_s), door)
        self._deadlines = deadlines
        self._api_key_env = api_key_env
        self._api_key = api_key
        self._dialect: Dialect = dialect

    def unsupported_options(self, call: ChatCall) -> tuple[str, ...]:
        return left_out(call, self._dialect)

    async def stream(self, call: ChatCall) -> AsyncGenerator[BackendEvent, None]:
        origin = Origin(self.name, call.model_id)
        body = encode(chat_body(call, self._dialect), origin)
        headers = self._headers(origin)
        url = f"{self._base}/chat/completions"
        request = sent(
            self._pool, origin, self._deadlines, SseFramer(), url=url, body=body, headers=headers, egress=call.egress
        )
        async with request as exchange:
            await exchange.answer(("text/event-stream",))
            async with aclosing(exchange.events(OpenAIAnswer(origin))) as events:
                async for event in events:
                    yield event

    async def served(self) -> list[ServedModel]:
        origin = Origin(self.name)
        return served_models(parse_object(await self._list(origin, _CONTROL_S), origin), origin)

    async def running(self) -> list[RunningModel]:
        return []

    async def load(self, call: LoadCall) -> None:
        raise self._loads_by_itself(call)

    async def unload(self, call: LoadCall) -> None:
        raise self._loads_by_itself(call)

    async def probe(self) -> None:
        await self._list(Origin(self.name), PROBE_S)

    async def aclose(self) -> None:
        await self._pool.aclose()

    def _loads_by_itself(self, call: LoadCall) -> BackendError:
        what = "OpenAI's protocol has no request that loads or unloads a model"
        return Origin(self.name, call.model_id).error("rejected", what)

    async def _list(self, origin: Origin, timeout_s: float) -> bytes:
        fetched = await self._pool.fetch(
            "GET", f"{self._base}/models", origin, timeout_s=timeout_s, headers=self._headers(origin)
        )
        if fetched.status != 200:
            raise refusal(origin, fetched.status, fetched.body, fetched.headers)
        return fetched.body

    def _headers(self, origin: Origin) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        key = self._api_key
        if self._api_key_env is not None:
            key = os.environ.get(self._api_key_env, "").strip()
            if not key or not key.isascii() or not key.isprintable():
                state = "holds no usable key" if key else "is not set"
                remedy = f"the environment variable {self._api_key_env} {state}; set it to the server's key"
                raise origin.error("unauthorized", remedy)
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        return headers
