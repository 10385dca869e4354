"""Ollama's native protocol: the only one of its routes that reports failures in mid-answer.

Two traps decide how it is asked. A "local" server hands some names to its cloud, so a model is called
in the form that only a local one answers to. And it neither says that it loads a model nor refuses while
it does, so a request that gets no answer for a while looks into ``/api/ps``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from modelway.backends.base import ChatCall, Deadlines, ServedModel
from modelway.backends.ollama.answer import OllamaAnswer
from modelway.backends.ollama.request import chat_body, left_out
from modelway.backends.wire.exchange import sent
from modelway.backends.wire.lines import LineFramer
from modelway.backends.wire.records import count, encode, mapping, objects, parse_object, text
from modelway.backends.wire.refusals import refusal
from modelway.errors import BackendError
from modelway.events import BackendEvent, ModelLoading
from modelway.origin import Origin
from modelway.pools import ConnectionConfig, PoolManager

#: Since this version ``:local`` behind a name means "never the cloud"; older ones read it as a tag.
_LOCAL_SUFFIX_SINCE = (0, 17, 6)
#: A warm model's first token is usually there by then; a cold one's is not.
_LOADING_SIGN_S = 1.0
#: For requests that ask nothing of a model.
_CONTROL_S = 5.0
#: ``/api/show`` requests at once: each reads a file there.
_SHOWN_AT_ONCE = 8
#: What is kept of a licence text: its name stands at the top.
_LICENSE_CHARS = 2_000
_STREAM_TYPES = ("application/x-ndjson", "application/json")
_HEADERS = {"Content-Type": "application/json"}


class OllamaBackend:
    """An Ollama server at ``url``, local models only.

    ``ServedModel.capabilities`` are Ollama's own words (completion, tools, vision, thinking, embedding).
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        pools: PoolManager,
        deadlines: Deadlines,
        connections: ConnectionConfig | None = None,
    ):
        self.name = name
        self._url = url.rstrip("/")
        self._pool = pools.pool(name, connections or ConnectionConfig(connect_s=deadlines.connect_s))
        self._deadlines = deadlines
        self._local_suffix: bool | None = None
        self._asking_version = asyncio.Lock()

    def unsupported_options(self, call: ChatCall) -> tuple[str, ...]:
        return left_out(call)

    async def stream(self, call: ChatCall) -> AsyncGenerator[BackendEvent, None]:
        origin = Origin(self.name, call.model_id)
        try:
            async with aclosing(self._ask_model(call, origin)) as events:
                async for event in events:
                    yield event
        except BackendError as error:
            if error.kind in ("connect", "reset", "missing"):
                # It may come back as another version, to which the name says something else.
                self._local_suffix = None
            raise

    async def _ask_model(self, call: ChatCall, origin: Origin) -> AsyncGenerator[BackendEvent, None]:
        name = await self._called(call.model, origin)
        body = encode(chat_body(call, name, origin), origin)
        url = f"{self._url}/api/chat"
        request = sent(self._pool, origin, self._deadlines, LineFramer(), url=url, body=body, headers=_HEADERS)
        async with request as exchange:
            patience_s = min(_LOADING_SIGN_S, self._deadlines.first_token_s / 2)
            if not await exchange.answers_within(patience_s) and await self._is_cold(call.model, origin):
                exchange.allow_load()
                yield ModelLoading(call.model_id, self.name)
            await exchange.answer(_STREAM_TYPES)
            async with aclosing(exchange.events(OllamaAnswer(origin))) as events:
                async for event in events:
                    yield event

    async def served(self) -> list[ServedModel]:
        origin = Origin(self.name)
        tags = await self._ask("GET", "/api/tags", origin)
        gate = asyncio.Semaphore(_SHOWN_AT_ONCE)
        return await asyncio.gather(*(self._served(entry, gate) for entry in objects(tags, "models", origin)))

    async def aclose(self) -> None:
        await self._pool.aclose()

    async def _served(self, entry: dict[str, Any], gate: asyncio.Semaphore) -> ServedModel:
        """One entry of the list, completed: the list is silent on the context and lists only some abilities."""
        origin = Origin(self.name)
        name = text(entry, "name", origin)
        host = text(entry, "remote_host", origin) or None
        shown: dict[str, Any] = {}
        if host is None:
            try:
                async with gate:
                    shown = await self._ask("POST", "/api/show", origin, {"model": name})
            except BackendError:
                # Removed since, or unreadable: the list's own facts remain.
                shown = {}
        return ServedModel(
            name=name,
            capabilities=_words(entry) | _words(shown),
            max_context=_context_length(shown, origin),
            size_bytes=count(entry, "size"),
            license=text(shown, "license", origin)[:_LICENSE_CHARS] or None,
            remote_host=host or text(shown, "remote_host", origin) or None,
        )

    async def _called(self, name: str, origin: Origin) -> str:
        """The name in the form that never reaches the cloud."""
        if self._local_suffix is None:
            async with self._asking_version:
                if self._local_suffix is None:
                    version = text(await self._ask("GET", "/api/version", origin), "version", origin)
                    self._local_suffix = _numbers(version) >= _LOCAL_SUFFIX_SINCE
        return f"{with_tag(name)}:local" if self._local_suffix else name

    async def _is_cold(self, name: str, origin: Origin) -> bool:
        """Whether the model is not in memory; a model that is being loaded is not listed yet."""
        try:
            running = objects(await self._ask("GET", "/api/ps", origin), "models", origin)
        except BackendError:
            return False
        return with_tag(name).lower() not in {text(entry, "name", origin).lower() for entry in running}

    async def _ask(
        self, method: str, path: str, origin: Origin, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        fetched = await self._pool.fetch(
            method,
            self._url + path,
            origin,
            timeout_s=_CONTROL_S,
            body=None if body is None else encode(body, origin),
            headers=_HEADERS,
        )
        if fetched.status != 200:
            raise refusal(origin, fetched.status, fetched.body, fetched.headers)
        return parse_object(fetched.body, origin)


def with_tag(name: str) -> str:
    """The name as Ollama lists it: without a tag, ``:latest``."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _words(entry: Mapping[str, Any]) -> frozenset[str]:
    given = entry.get("capabilities")
    return frozenset(word for word in given if isinstance(word, str)) if isinstance(given, list) else frozenset()


def _context_length(shown: Mapping[str, Any], origin: Origin) -> int | None:
    info = mapping(shown, "model_info", origin)
    return count(info, f"{info.get('general.architecture')}.context_length")


def _numbers(version: str) -> tuple[int, ...]:
    """``0.32.15`` as numbers; a release candidate counts as its release, rubbish as older than all."""
    match = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    return tuple(map(int, match.groups())) if match else (0,)
