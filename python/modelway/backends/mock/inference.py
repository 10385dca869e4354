"""One request to one model, from its body to its end, the same for every protocol."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Protocol

import orjson
from aiohttp import web

from modelway.backends.mock.config import MockModelConfig
from modelway.backends.mock.delivery import Delivery, break_off, trickle_headers
from modelway.backends.mock.faults import Fault, FaultKind
from modelway.backends.mock.history import ModelRequest
from modelway.backends.mock.residency import QUEUE_FULL
from modelway.backends.mock.wire import Ask, Refusal, Timing, make_answer

if TYPE_CHECKING:
    from modelway.backends.mock.state import MockState

#: What a server says whose model can't be run, as Ollama words it.
RUNNER_DEAD = (
    "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, "
    "check ollama server logs for details"
)

_MESSAGES = {
    400: "invalid request",
    401: "unauthorized",
    429: "rate limit exceeded",
    500: RUNNER_DEAD,
    503: QUEUE_FULL,
}


class InferenceRoute(Protocol):
    """One inference route: reads bodies, words errors."""

    @property
    def protocol(self) -> str: ...
    def find(self, models: Mapping[str, MockModelConfig], asked: object) -> str: ...
    def understand(self, name: str, config: MockModelConfig, body: dict[str, Any]) -> Ask: ...
    def error(self, status: int, message: str, **extra: Any) -> dict[str, Any]: ...


async def read_body(request: web.Request) -> dict[str, Any]:
    """The JSON object that was sent. Raises Refusal."""
    raw = await request.read()
    if not raw:
        raise Refusal(400, "missing request body")
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise Refusal(400, "invalid character in the request body") from None
    if not isinstance(body, dict):
        raise Refusal(400, f"json: cannot unmarshal {type(body).__name__} into Go value of type api.Request")
    return body


async def serve(backend: MockState, route: InferenceRoute, request: web.Request) -> web.StreamResponse:
    """Answer one request to a model, and keep its record."""
    try:
        body = await read_body(request)
    except Refusal as refusal:
        return _refused(route, refusal)
    asked = body.get("model")
    record = ModelRequest(
        model=asked if isinstance(asked, str) else "",
        asked=asked if isinstance(asked, str) else "",
        protocol=route.protocol,
        path=request.path,
        body=body,
        headers={name.lower(): value for name, value in request.headers.items()},
        started=time.monotonic(),
    )
    backend.request_history.append(record)
    backend.changes.note()
    try:
        return await _answer(backend, route, request, record)
    except Refusal as refusal:
        record.status = refusal.status
        record.finished = True
        return _refused(route, refusal)
    except ConnectionError:
        record.cancelled = backend.is_up
        return web.Response()  # goes nowhere: the connection is gone
    except asyncio.CancelledError:
        record.cancelled = backend.is_up and not record.reset
        raise
    finally:
        record.held = False
        record.ended = time.monotonic()
        backend.changes.note()


async def _answer(
    backend: MockState, route: InferenceRoute, request: web.Request, record: ModelRequest
) -> web.StreamResponse:
    timing = Timing()
    name = route.find(backend.models, record.body.get("model"))
    record.model = name
    config = backend.models[name]
    fault = backend.take_fault(name)
    if fault is not None:
        record.struck = time.monotonic()
    match fault:
        case Fault(kind=FaultKind.RESET_BEFORE_HEADERS):
            await break_off(request, record, reset=True)
        case Fault(kind=FaultKind.STALL_BEFORE_HEADERS):
            await backend.stalled.pass_through(record)
        case Fault(kind=FaultKind.TRICKLE_BEFORE_HEADERS):
            await trickle_headers(request, fault.interval_s)
        case Fault(kind=FaultKind.DELAY):
            await asyncio.sleep(fault.interval_s)
        case Fault(kind=FaultKind.STATUS | FaultKind.PAGE):
            record.status = fault.status if fault.kind is FaultKind.STATUS else 200
            record.finished = True
            return _instead(route, name, fault, record.status)
    if name in backend.unavailable_models:
        raise Refusal(500, RUNNER_DEAD)
    ask = route.understand(name, config, record.body)
    answer = make_answer(name, config, ask, record)
    async with AsyncExitStack() as memory:
        if ask.unloads:
            backend.residency.expire(name)
        else:
            await memory.enter_async_context(backend.residency.use(name, ask.setup, ask.keep_alive_s))
        timing.loaded = time.perf_counter_ns()
        delivery = Delivery(
            request,
            record,
            config,
            ask,
            fault,
            gates=lambda: list(backend.gates),
            stalled=backend.stalled,
            note=backend.changes.note,
            close_after_stream=backend.close_after_stream,
            timing=timing,
        )
        return await delivery.send(answer)


def _refused(route: InferenceRoute, refusal: Refusal) -> web.Response:
    return json_response(route.error(refusal.status, refusal.message, **refusal.extra), refusal.status)


def _instead(route: InferenceRoute, name: str, fault: Fault, status: int) -> web.Response:
    """What comes in the place of an answer."""
    if fault.body is not None or fault.kind is FaultKind.PAGE:
        body, kind = fault.page
        return web.Response(status=status, body=body, content_type=kind, headers=fault.headers)
    default = f"model '{name}' not found" if status == 404 else _MESSAGES.get(status, "error")
    response = json_response(route.error(status, fault.message or default), status)
    response.headers.update(fault.headers)
    return response


def json_response(value: object, status: int = 200) -> web.Response:
    """A JSON body as both protocols send it."""
    body = orjson.dumps(value)
    return web.Response(status=status, body=body, content_type="application/json", charset="utf-8")
