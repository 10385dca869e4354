"""Ollama's native protocol: the only one of its routes that reports failures in mid-answer.

Two traps decide how it is asked. A "local" server hands some names to its cloud, so a model is called
in the form that only a local one answers to. And it neither says that it loads a model nor refuses while
it does, so a request that gets no answer for a while looks into ``/api/ps``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any

from modelway.backends.base import PROBE_S, ChatCall, Deadlines, LoadCall, RunningModel, ServedModel, same_name
from modelway.backends.ollama.answer import OllamaAnswer
from modelway.backends.ollama.listing import Shown, described, named, remote_host, running_model, shown_of
from modelway.backends.ollama.request import chat_body, left_out, load_body, unload_body
from modelway.backends.wire.exchange import sent
from modelway.backends.wire.lines import LineFramer
from modelway.backends.wire.records import encode, objects, parse_object, text, told
from modelway.backends.wire.refusals import refusal
from modelway.errors import BackendError
from modelway.events import BackendEvent, ModelLoading
from modelway.origin import Origin
from modelway.pools import ConnectionConfig, Door, Pass, PoolManager

#: Since this version ``:local`` behind a name means "never the cloud"; older ones read it as a tag.
_LOCAL_SUFFIX_SINCE = (0, 17, 6)
#: A warm model's first token is usually there by then; a cold one's is not.
_LOADING_SIGN_S = 1.0
#: For requests that ask nothing of a model.
_CONTROL_S = 5.0
#: An unload is done in some milliseconds, or as soon as the last request has ended; from one look to the next the pause
#: doubles between these bounds.
_UNLOAD_S = 10.0
_FIRST_LOOK_S, _LAST_LOOK_S = 0.005, 0.25
#: ``/api/show`` requests at once: each reads a file there.
_SHOWN_AT_ONCE = 8
_STREAM_TYPES = ("application/x-ndjson", "application/json")
_HEADERS = {"Content-Type": "application/json"}


class OllamaBackend:
    """An Ollama server at ``url``. What it would hand on to its cloud is asked for only with a pass."""

    def __init__(
        self,
        name: str,
        url: str,
        *,
        pools: PoolManager,
        deadlines: Deadlines,
        connections: ConnectionConfig | None = None,
        door: Door | None = None,
    ):
        self.name = name
        self._url = url.rstrip("/")
        self._pool = pools.pool(name, connections or ConnectionConfig(connect_s=deadlines.connect_s), door)
        self._deadlines = deadlines
        self._is_here = connections is None or connections.place == "device"
        self._local_suffix: bool | None = None
        self._asking_version = asyncio.Lock()
        #: What ``/api/show`` said, by name and digest of the models that were there at the last look.
        self._shown: dict[tuple[str, str], Shown] = {}

    def unsupported_options(self, call: ChatCall) -> tuple[str, ...]:
        return left_out(call)

    async def stream(self, call: ChatCall) -> AsyncGenerator[BackendEvent, None]:
        origin = Origin(self.name, call.model_id)
        with self._as_this_version():
            async with aclosing(self._ask_model(call, origin)) as events:
                async for event in events:
                    yield event

    async def _ask_model(self, call: ChatCall, origin: Origin) -> AsyncGenerator[BackendEvent, None]:
        # Only by a name that the server hands on to its cloud, and only with a pass, does it do that.
        is_of_cloud = call.egress is not None and self._is_here
        name = with_tag(call.model) if is_of_cloud else await self._called(call.model, origin, call.egress)
        body = encode(chat_body(call, name, origin), origin)
        url = f"{self._url}/api/chat"
        request = sent(
            self._pool, origin, self._deadlines, LineFramer(), url=url, body=body, headers=_HEADERS, egress=call.egress
        )
        async with request as exchange:
            patience_s = min(_LOADING_SIGN_S, self._deadlines.first_token_s / 2)
            is_late = not is_of_cloud and not await exchange.answers_within(patience_s)
            if is_late and await self._is_cold(call):
                exchange.allow_load(call.load_s)
                yield ModelLoading(call.model_id, self.name)
            await exchange.answer(_STREAM_TYPES)
            async with aclosing(exchange.events(OllamaAnswer(origin, may_be_handed_on=is_of_cloud))) as events:
                async for event in events:
                    yield event

    async def served(self) -> list[ServedModel]:
        origin = Origin(self.name)
        listed = named(objects(await self._ask("GET", "/api/tags", origin), "models", origin))
        gate = asyncio.Semaphore(_SHOWN_AT_ONCE)
        shown = await asyncio.gather(*(self._show(entry, gate) for entry in listed))
        self._shown = {
            (entry["name"], digest): page
            for entry, page in zip(listed, shown, strict=True)
            if page is not None and (digest := told(entry, "digest"))
        }
        return [described(entry, page or Shown()) for entry, page in zip(listed, shown, strict=True)]

    async def running(self) -> list[RunningModel]:
        return await self._running()

    async def load(self, call: LoadCall) -> None:
        origin = Origin(self.name, call.model_id)
        load_s = self._deadlines.load_s if call.load_s is None else call.load_s
        with self._as_this_version():
            body = load_body(call, await self._called(call.model, origin))
            await self._ask("POST", "/api/chat", origin, body, timeout_s=load_s)

    async def unload(self, call: LoadCall) -> None:
        """The server says yes at once and unloads when nobody uses the model, so it is looked at until it is gone."""
        origin = Origin(self.name, call.model_id)
        with self._as_this_version():
            await self._ask("POST", "/api/chat", origin, unload_body(await self._called(call.model, origin)))
        pause_s = _FIRST_LOOK_S
        try:
            async with asyncio.timeout(_UNLOAD_S):
                while await self._is_listed(call.model):
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, _LAST_LOOK_S)
        except TimeoutError:
            raise origin.error("busy", f"it was not unloaded within {_UNLOAD_S:g} s; somebody uses it") from None

    async def probe(self) -> None:
        await self._ask("GET", "/api/version", Origin(self.name), timeout_s=PROBE_S)

    async def aclose(self) -> None:
        await self._pool.aclose()

    async def _show(self, entry: Mapping[str, Any], gate: asyncio.Semaphore) -> Shown | None:
        """What the list leaves out: the context, the licence, some abilities. None: not to be had.

        A digest stands for the whole model, so what was shown of it stays true; a model that is elsewhere is not asked.
        """
        if remote_host(entry):
            return None
        kept = self._shown.get((entry["name"], told(entry, "digest") or ""))
        if kept is not None:
            return kept
        try:
            async with gate:
                return shown_of(await self._ask("POST", "/api/show", Origin(self.name), {"model": entry["name"]}))
        except BackendError:  # removed since, or unreadable: the list's own facts remain
            return None

    async def _called(self, name: str, origin: Origin, egress: Pass | None = None) -> str:
        """The name in the form that never reaches the cloud."""
        if self._local_suffix is None:
            async with self._asking_version:
                if self._local_suffix is None:
                    version = text(await self._ask("GET", "/api/version", origin, egress=egress), "version", origin)
                    self._local_suffix = _numbers(version) >= _LOCAL_SUFFIX_SINCE
        return f"{with_tag(name)}:local" if self._local_suffix else name

    @contextmanager
    def _as_this_version(self) -> Iterator[None]:
        """After a failure in which the server may have gone it may come back as another version, to which a name says
        something else."""
        try:
            yield
        except BackendError as error:
            if error.kind in ("connect", "reset", "missing"):
                self._local_suffix = None
            raise

    async def _is_cold(self, call: ChatCall) -> bool:
        """Whether the model is not in memory; a model that is being loaded is not listed yet."""
        try:
            return not await self._is_listed(call.model, call.egress)
        except BackendError:
            return False

    async def _running(self, egress: Pass | None = None) -> list[RunningModel]:
        origin = Origin(self.name)
        listed = objects(await self._ask("GET", "/api/ps", origin, egress=egress), "models", origin)
        return list(map(running_model, named(listed)))

    async def _is_listed(self, name: str, egress: Pass | None = None) -> bool:
        return same_name(name) in {same_name(model.name) for model in await self._running(egress)}

    async def _ask(
        self,
        method: str,
        path: str,
        origin: Origin,
        body: Mapping[str, Any] | None = None,
        timeout_s: float = _CONTROL_S,
        *,
        egress: Pass | None = None,
    ) -> dict[str, Any]:
        fetched = await self._pool.fetch(
            method,
            self._url + path,
            origin,
            timeout_s=timeout_s,
            body=None if body is None else encode(body, origin),
            headers=_HEADERS,
            egress=egress,
        )
        if fetched.status != 200:
            raise refusal(origin, fetched.status, fetched.body, fetched.headers)
        return parse_object(fetched.body, origin)


def with_tag(name: str) -> str:
    """The name as Ollama lists it: without a tag, ``:latest``."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _numbers(version: str) -> tuple[int, ...]:
    """``0.32.15`` as numbers; a release candidate counts as its release, rubbish as older than all."""
    match = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    return tuple(map(int, match.groups())) if match else (0,)
