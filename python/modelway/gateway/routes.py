"""The gateway's routes, what every request passes before them, and the shape that errors get."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web

import modelway
from modelway.conductor import Conductor
from modelway.config.in_force import MAX_BODY_BYTES
from modelway.gateway import guard, ollama, ollama_lines, openai
from modelway.gateway.alerts import stream_alerts
from modelway.gateway.asked import Asked
from modelway.gateway.body import read_json
from modelway.gateway.facts import Facts
from modelway.gateway.limits import LimitsHeader
from modelway.gateway.listing import ollama_tags, openai_model, openai_models
from modelway.gateway.problems import problem_of
from modelway.gateway.ready import ready_document
from modelway.gateway.relay import Framing, relay
from modelway.gateway.status import status_document

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CONDUCTOR = web.AppKey("conductor", Conductor)
LIMITS = web.AppKey("limits", LimitsHeader)
STARTED = web.AppKey("started", datetime)
#: Set when the gateway stops: streams that never end by themselves end then.
STOPPING = web.AppKey("stopping", asyncio.Event)


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one inference route reads its bodies and writes its answers."""

    parse: Callable[[Mapping[str, Any]], Asked]
    framing: Callable[[Asked, Facts], Framing]


def make_app(conductor: Conductor) -> web.Application:
    """The application that serves ``conductor``, which stays its caller's to close."""
    app = web.Application(middlewares=[_shape_errors, _guard], client_max_size=MAX_BODY_BYTES)
    app[CONDUCTOR] = conductor
    app[LIMITS] = LimitsHeader(conductor.router)
    app[STARTED] = datetime.now(UTC)
    app[STOPPING] = asyncio.Event()
    app.on_shutdown.append(_stop_streams)
    app.add_routes(
        [
            web.get("/", _greet),
            web.get("/health", _health),
            web.post("/v1/chat/completions", _inference(Dialect(openai.parse, openai.ChatFraming))),
            web.get("/v1/models", _openai_models),
            web.get("/v1/models/{name:(?s:.+)}", _openai_model),  # slashes, and line ends to be refused
            web.post("/api/chat", _inference(Dialect(ollama.parse_chat, ollama_lines.ChatLines))),
            web.post("/api/generate", _inference(Dialect(ollama.parse_generate, ollama_lines.GenerateLines))),
            web.get("/api/tags", _ollama_tags),
            web.get("/api/version", _ollama_version),
            web.get("/ready", _ready),
            web.get("/modelway/status", _status),
            web.get("/modelway/events", _events),
        ]
    )
    return app


async def _stop_streams(app: web.Application) -> None:
    app[STOPPING].set()


@web.middleware
async def _shape_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Exception as error:
        return _refusal(request, error, {})


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    guard.check_target(request.raw_path)
    guard.check_host(request.headers.getall("Host", []))
    guard.check_origin(request.headers.getall("Origin", []))
    guard.check_header_names(request.headers)
    return await handler(request)


def _inference(dialect: Dialect) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        conductor = request.app[CONDUCTOR]

        def place_of(model: str) -> tuple[str, str]:
            profile = conductor.router.profiles.get(model)
            if profile is None:  # the configuration was replaced since the decision
                return "unknown", "unknown"
            return profile.backend_id, str(profile.location)

        facts = Facts(place_of, conductor.router.standing, request.app[LIMITS].of)
        try:
            asked = dialect.parse(await read_json(request))
            facts.user = asked.user
            facts.warn(asked.warnings)
            return await relay(request, conductor, asked, dialect.framing(asked, facts), facts)
        except Exception as error:
            return _refusal(request, error, facts.headers())

    return handle


def _refusal(request: web.Request, error: Exception, headers: dict[str, str]) -> web.Response:
    """The answer to a request that failed before anything of an answer was sent."""
    problem = problem_of(error)
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(problem.retry_after_s)
    if isinstance(error, web.HTTPMethodNotAllowed):
        headers["Allow"] = ", ".join(sorted(error.allowed_methods))
    if request.path.startswith("/v1/"):
        body = openai.error_body(problem)
    elif request.path.startswith("/api/"):
        body = ollama_lines.error_body(problem)
    else:
        return web.Response(status=problem.status, text=f"{problem.message}\n", headers=headers)
    return _json(body, problem.status, headers)


def _json(body: dict[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json", headers=headers)


async def _greet(_: web.Request) -> web.Response:
    return web.Response(text="modelway is running")


async def _health(_: web.Request) -> web.Response:
    """Whether the process answers; says nothing of models, and touches none."""
    return _json({"status": "ok"})


async def _status(request: web.Request) -> web.Response:
    return _json(status_document(request.app[CONDUCTOR]))


async def _ready(request: web.Request) -> web.Response:
    document = ready_document(request.app[CONDUCTOR])
    return _json(document, 200 if document["ready"] else 503)


async def _events(request: web.Request) -> web.StreamResponse:
    return await stream_alerts(request, request.app[CONDUCTOR], request.app[STOPPING])


async def _openai_models(request: web.Request) -> web.Response:
    return _json(openai_models(request.app[CONDUCTOR].router, request.app[STARTED]))


async def _openai_model(request: web.Request) -> web.Response:
    return _json(openai_model(request.app[CONDUCTOR].router, request.match_info["name"], request.app[STARTED]))


async def _ollama_tags(request: web.Request) -> web.Response:
    return _json(ollama_tags(request.app[CONDUCTOR].router, request.app[STARTED]))


async def _ollama_version(_: web.Request) -> web.Response:
    return _json({"version": modelway.__version__})
