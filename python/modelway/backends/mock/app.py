"""The web application of the mock server: its routes, and what it says to requests that fit none."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import web

from modelway.backends.mock import ollama, openai
from modelway.backends.mock.inference import json_response, read_body, serve
from modelway.backends.mock.wire import Refusal

if TYPE_CHECKING:
    from modelway.backends.mock.state import MockState

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: Images come inside the body as base64.
_BODY_LIMIT_BYTES = 64 * 1024 * 1024


def make_app(backend: MockState) -> web.Application:
    """All routes of both protocols, served from the state of ``backend``."""

    async def chat(request: web.Request) -> web.StreamResponse:
        return await serve(backend, ollama.OllamaRoute(), request)

    async def generate(request: web.Request) -> web.StreamResponse:
        return await serve(backend, ollama.OllamaRoute(generates=True), request)

    async def completions(request: web.Request) -> web.StreamResponse:
        return await serve(backend, openai.OpenAIRoute(), request)

    async def tags(_: web.Request) -> web.Response:
        return json_response({"models": [ollama.tags_entry(*item) for item in backend.models.items()]})

    async def show(request: web.Request) -> web.Response:
        try:
            body = await read_body(request)
            name = ollama.find(backend.models, body.get("model") or body.get("name"))
        except Refusal as refusal:
            return json_response({"error": refusal.message}, refusal.status)
        return json_response(ollama.show_entry(name, backend.models[name]))

    async def ps(_: web.Request) -> web.Response:
        memory = backend.residency
        entries = [
            ollama.ps_entry(name, backend.models[name], left_s, memory.context_of(name))
            for name, left_s in memory.loaded().items()
            if name in backend.models
        ]
        return json_response({"models": entries})

    async def version(_: web.Request) -> web.Response:
        return json_response({"version": backend.version})

    async def models(_: web.Request) -> web.Response:
        data = [openai.models_entry(*item) for item in backend.models.items()]
        return json_response({"object": "list", "data": data})

    async def health(_: web.Request) -> web.Response:
        return json_response({"status": "ok"})

    async def root(_: web.Request) -> web.Response:
        return web.Response(text="Ollama is running")

    @web.middleware
    async def gatekeeper(request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Counts every request; refuses foreign hosts, unknown paths and wrong methods as Ollama does."""
        backend.path_counts[request.path] += 1
        if not is_local_host(request.headers.get("Host", "")):
            return web.Response(status=403)
        try:
            return await handler(request)
        except web.HTTPNotFound:
            return web.Response(status=404, text="404 page not found")
        except web.HTTPMethodNotAllowed:
            return web.Response(status=405, text="405 method not allowed")

    app = web.Application(middlewares=[gatekeeper], client_max_size=_BODY_LIMIT_BYTES)
    app.router.add_post("/api/chat", chat)
    app.router.add_post("/api/generate", generate)
    app.router.add_post("/api/show", show)
    app.router.add_post("/v1/chat/completions", completions)
    for path, handler in {"/": root, "/api/version": version, "/api/tags": tags}.items():
        app.router.add_get(path, handler, allow_head=True)
    for path, handler in {"/api/ps": ps, "/v1/models": models, "/health": health}.items():
        app.router.add_get(path, handler, allow_head=False)
    return app


def is_local_host(header: str) -> bool:
    """Whether a ``Host`` header names this machine or its network: the guard against DNS rebinding."""
    host = header.rpartition("]")[0].lstrip("[") or header.partition(":")[0]
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_private or address.is_unspecified
