"""What must hold for every backend that speaks HTTP: answers, faults, deadlines, connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

import pytest

from modelway.backends.base import Backend, ChatCall, Deadlines
from modelway.backends.mock import Fault, FaultKind, MockModelConfig, MockToolCall, MultiModelMockBackend
from modelway.backends.ollama import OllamaBackend
from modelway.backends.openai_compat import OpenAICompatBackend
from modelway.errors import BackendError
from modelway.events import BackendEvent, Ended, ModelLoading, TextDelta, ThinkingDelta, ToolCallDelta, Usage
from modelway.pools import ConnectionConfig, PoolManager

SHORT_S = 0.1
REPLY = "The quick brown fox: été, 日本, 😀 — done."
MODELS = {
    "coder": MockModelConfig(reply=REPLY),
    "thinker": MockModelConfig(reply="Yes.", thinking="Hm, well."),
    "caller": MockModelConfig(reply="Sunny.", tool_calls=[MockToolCall("weather", {"city": "Paris"})]),
    "seer": MockModelConfig(reply="A cat.", capabilities=["completion", "vision"]),
}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
PNG = "data:image/png;base64,iVBORw0KGgo="


def call(model: str = "coder", content: object = "Hi", **fields: object) -> ChatCall:
    return ChatCall(model, model, [{"role": "user", "content": content}], **fields)  # type: ignore[arg-type]


@dataclass
class Bench:
    """A mock server and a way to make backends of one kind that ask it."""

    kind: str
    server: MultiModelMockBackend
    pools: PoolManager = field(default_factory=PoolManager)

    def backend(self, **options: object) -> Backend:
        # A model that was never asked counts as not loaded: it has the time for loading, too.
        fields = {"first_token_s": 3.0, "between_tokens_s": 3.0, "load_s": 0.0}
        names = [name for name in options if name.endswith("_s")]
        deadlines = Deadlines(**(fields | {name: options.pop(name) for name in names}))  # type: ignore[arg-type]
        make = OllamaBackend if self.kind == "ollama" else OpenAICompatBackend
        return make("local", self.server.url, pools=self.pools, deadlines=deadlines, **options)  # type: ignore[arg-type]


@pytest.fixture(params=["ollama", "openai"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with MultiModelMockBackend(MODELS) as server:
        bench = Bench(request.param, server)
        yield bench
        server.release()
        await server.wait_for(lambda: not any(record.running for record in server.request_history))
        await bench.pools.aclose()
        assert not [task for task in asyncio.all_tasks() if "ConnectionPool" in str(task.get_coro())]


async def collect(backend: Backend, call: ChatCall) -> tuple[list[BackendEvent], BackendError | None]:
    events: list[BackendEvent] = []
    try:
        async with aclosing(backend.stream(call)) as stream:
            async for event in stream:
                if not isinstance(event, ModelLoading):
                    events.append(event)  # noqa: PERF401  (what came before an error counts)
    except BackendError as error:
        return events, error
    return events, None


def text_of(events: list[BackendEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def test_an_answer_comes_in_pieces_and_ends_once(bench):
    events, error = await collect(bench.backend(), call())
    assert error is None
    assert text_of(events) == REPLY
    *deltas, ended = events
    assert len(deltas) > 5
    assert isinstance(ended, Ended)
    assert ended.finish_reason == "stop"
    assert isinstance(ended.usage, Usage)
    assert ended.usage.completion_tokens == len(deltas)
    assert not any(isinstance(delta, Ended) for delta in deltas)


async def test_an_answer_cut_at_the_limit_says_so(bench):
    events, error = await collect(bench.backend(), call(options={"max_tokens": 3}))
    assert error is None
    assert len(events) == 4
    assert isinstance(events[-1], Ended)
    assert events[-1].finish_reason == "length"


async def test_thinking_is_kept_apart(bench):
    events, error = await collect(bench.backend(), call("thinker"))
    assert error is None
    assert "".join(event.text for event in events if isinstance(event, ThinkingDelta)) == "Hm, well."
    assert text_of(events) == "Yes."


async def test_a_tool_is_called(bench):
    events, error = await collect(bench.backend(), call("caller", tools=TOOLS))
    assert error is None
    deltas = [event for event in events if isinstance(event, ToolCallDelta)]
    assert deltas[0].name == "weather"
    assert deltas[0].id
    assert "".join(delta.arguments for delta in deltas).replace(" ", "") == '{"city":"Paris"}'
    assert isinstance(events[-1], Ended)
    assert events[-1].finish_reason == "tool_calls"


async def test_a_tool_result_and_a_picture_are_understood(bench):
    function = {"name": "weather", "arguments": '{"city":"Paris"}'}
    messages = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    ]
    events, error = await collect(bench.backend(), ChatCall("caller", "caller", messages, tools=TOOLS))
    assert (text_of(events), error) == ("Sunny.", None)
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": PNG}}]
    events, error = await collect(bench.backend(), call("seer", parts))
    assert (text_of(events), error) == ("A cat.", None)


@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_packets_of_any_size_give_the_same_answer(bench, size):
    bench.server.fail("coder", Fault(FaultKind.REPACKETED, size=size))
    events, error = await collect(bench.backend(), call())
    assert (text_of(events), error) == (REPLY, None)


BEFORE = [
    (Fault(FaultKind.RESET_BEFORE_HEADERS), "reset"),
    (Fault(FaultKind.EMPTY_ANSWER), "empty"),
    (Fault(FaultKind.END_WITHOUT_DONE, after=0), "interrupted"),
    (Fault(FaultKind.RESET_MID_STREAM, after=0), "interrupted"),
    (Fault(FaultKind.ERROR_RECORD, after=0), "server_error"),
    (Fault(FaultKind.MALFORMED_RECORD, after=0), "malformed"),
    (Fault(FaultKind.WRONG_TYPE, after=0), "malformed"),
    (Fault(FaultKind.CUT_UTF8, after=0), "interrupted"),
    (Fault(FaultKind.GIANT_RECORD, after=0), "malformed"),
    (Fault.html(502), "server_error"),
    (Fault.http(500), "server_error"),
    (Fault.http(503), "busy"),
    (Fault.http(404), "missing"),
    (Fault.http(400), "rejected"),
    (Fault.http(401), "unauthorized"),
    (Fault.http(403), "unauthorized"),
    (Fault.http(500, 'option "temperature" must be of type float32'), "rejected"),
]


@pytest.mark.parametrize(("fault", "kind"), BEFORE, ids=lambda value: getattr(value, "kind", value))
async def test_m18_m20_a_failure_before_the_first_token(bench, fault, kind):
    bench.server.fail("coder", fault)
    backend = bench.backend()
    events, error = await collect(backend, call())
    assert events == []
    assert error is not None
    assert (error.kind, error.model, error.backend) == (kind, "coder", "local")
    bench.server.heal("coder")
    events, error = await collect(backend, call())
    assert (text_of(events), error) == (REPLY, None)


MIDDLE = [
    (FaultKind.END_WITHOUT_DONE, "interrupted"),
    (FaultKind.RESET_MID_STREAM, "interrupted"),
    (FaultKind.ERROR_RECORD, "server_error"),
    (FaultKind.MALFORMED_RECORD, "malformed"),
    (FaultKind.WRONG_TYPE, "malformed"),
    (FaultKind.CUT_UTF8, "interrupted"),
    (FaultKind.GIANT_RECORD, "malformed"),
]


@pytest.mark.parametrize(("fault", "kind"), MIDDLE)
async def test_m17_a_failure_in_mid_stream_comes_after_what_was_said(bench, fault, kind):
    bench.server.fail("coder", Fault(fault, after=3), times=1)
    events, error = await collect(bench.backend(), call())
    assert text_of(events) == "The quick brown"
    assert error is not None
    assert error.kind == kind


async def test_a_character_that_is_none_is_replaced(bench):
    bench.server.fail("coder", Fault(FaultKind.INVALID_UTF8, after=1), times=1)
    events, error = await collect(bench.backend(), call())
    assert error is None
    assert text_of(events).startswith("The\ufffd brown")


async def test_nothing_after_the_end_counts(bench):
    bench.server.fail("coder", Fault(FaultKind.DATA_AFTER_DONE))
    backend = bench.backend()
    for _ in range(2):
        events, error = await collect(backend, call())
        assert (text_of(events), error) == (REPLY, None)


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("1000000000", 300.0), ("-1", None), ("soon", None)])
async def test_retry_after_is_kept(bench, header, seconds):
    bench.server.fail("coder", Fault.http(429, retry_after=header), times=1)
    _, error = await collect(bench.backend(), call())
    assert error is not None
    assert (error.kind, error.status, error.retry_after_s) == ("rate_limited", 429, seconds)


async def test_what_a_model_lacks_is_named(bench):
    _, error = await collect(bench.backend(), call(tools=TOOLS))
    assert error is not None
    assert (error.kind, error.lacks) == ("rejected", "tools")
    _, error = await collect(bench.backend(), call(content=[{"type": "image_url", "image_url": {"url": PNG}}]))
    assert error is not None
    assert (error.kind, error.lacks) == ("rejected", "vision")


async def test_a_missing_model_and_a_dead_runner(bench):
    _, error = await collect(bench.backend(), call("nobody"))
    assert error is not None
    assert (error.kind, error.status) == ("missing", 404)
    bench.server.unavailable_models.add("coder")
    _, error = await collect(bench.backend(), call())
    assert error is not None
    assert (error.kind, error.status) == ("server_error", 500)


async def test_a_server_that_is_down_and_comes_back(bench):
    backend = bench.backend()
    await collect(backend, call())
    await bench.server.down()
    _, error = await collect(backend, call())
    assert error is not None
    assert error.kind == "connect"
    assert bench.server.url in str(error)
    await bench.server.up()
    events, error = await collect(backend, call())
    assert (text_of(events), error) == (REPLY, None)


@pytest.mark.parametrize("fault", [FaultKind.STALL_BEFORE_HEADERS, FaultKind.STALL_MID_STREAM])
async def test_m19_no_first_token_in_time(bench, fault):
    bench.server.fail("coder", Fault(fault, after=0))
    events, error = await collect(bench.backend(first_token_s=SHORT_S), call())
    assert events == []
    assert error is not None
    assert error.kind == "timeout"
    assert "0.1 s" in str(error)
    await bench.server.wait_for(lambda: bench.server.request_history[-1].cancelled)


async def test_m19_no_further_token_in_time(bench):
    bench.server.fail("coder", Fault(FaultKind.STALL_MID_STREAM, after=2))
    events, error = await collect(bench.backend(between_tokens_s=SHORT_S), call())
    assert text_of(events) == "The quick"
    assert error is not None
    assert error.kind == "timeout"
    await bench.server.wait_for(lambda: bench.server.request_history[-1].cancelled)


async def test_m19_bytes_that_complete_no_record_do_not_count(bench):
    bench.server.fail("coder", Fault(FaultKind.TRICKLE, after=1, interval_s=0.01))
    events, error = await collect(bench.backend(between_tokens_s=SHORT_S), call())
    assert text_of(events) == "The"
    assert error is not None
    assert error.kind == "timeout"


async def test_time_in_which_nobody_asks_for_more_does_not_count(bench):
    gate = bench.server.hold("coder", after=1)
    async with aclosing(bench.backend(between_tokens_s=SHORT_S).stream(call())) as stream:
        async for event in stream:
            if isinstance(event, TextDelta):
                break
        late = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(2 * SHORT_S, late.set_result, None)
        await late
        gate.release()
        rest = [event async for event in stream]
    assert "The" + text_of(rest) == REPLY


Leave = Callable[[Backend, MultiModelMockBackend], Awaitable[None]]


async def _close_in_mid_stream(backend: Backend, server: MultiModelMockBackend) -> None:
    server.hold("coder", after=2)
    stream = backend.stream(call())
    async for event in stream:
        if isinstance(event, TextDelta):
            break
    await stream.aclose()


async def _cancel(backend: Backend, server: MultiModelMockBackend, after: int) -> None:
    server.hold("coder", after=after)
    task = asyncio.create_task(collect(backend, call()))
    await server.wait_for(lambda: bool(server.request_history) and server.request_history[-1].held)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    "leave",
    [
        _close_in_mid_stream,
        lambda backend, server: _cancel(backend, server, after=0),
        lambda backend, server: _cancel(backend, server, after=2),
    ],
    ids=["aclose", "cancelled before the first token", "cancelled in mid-stream"],
)
async def test_m24_leaving_closes_upstream_at_once(bench, leave: Leave):
    backend = bench.backend(connections=ConnectionConfig(max_connections=1))
    await leave(backend, bench.server)
    await bench.server.wait_for(lambda: bench.server.request_history[-1].cancelled, timeout_s=1.0)
    bench.server.release()
    # The slot came back, and the closed connection is not used again.
    events, error = await collect(backend, call())
    assert (text_of(events), error) == (REPLY, None)


async def test_a_generator_that_was_never_begun_opens_nothing(bench):
    await bench.backend().stream(call()).aclose()
    assert bench.server.connections == 0


async def test_connections_are_kept(bench):
    backend = bench.backend()
    for _ in range(10):
        _, error = await collect(backend, call())
        assert error is None
    assert bench.server.connections == 1


async def test_a_server_that_closes_after_each_answer_costs_no_failure(bench):
    bench.server.close_after_stream = True
    backend = bench.backend()
    for _ in range(20):
        events, error = await collect(backend, call())
        assert (text_of(events), error) == (REPLY, None)
    assert len(bench.server.request_history) == 20


async def test_max_connections_bounds_the_streams_and_says_busy(bench):
    gate = bench.server.hold("coder", after=1)
    backend = bench.backend(connections=ConnectionConfig(max_connections=1), first_token_s=SHORT_S)
    stream = backend.stream(call())
    async for event in stream:
        if isinstance(event, TextDelta):
            break
    _, error = await collect(backend, call())
    assert error is not None
    assert error.kind == "busy"
    assert len(bench.server.request_history) == 1
    gate.release()
    rest = [event async for event in stream]
    assert "The" + text_of(rest) == REPLY
    events, error = await collect(backend, call())
    assert (text_of(events), error) == (REPLY, None)


async def test_streams_at_once_do_not_mix(bench):
    backend = bench.backend()
    results = await asyncio.gather(*(collect(backend, call(model)) for model in ["coder", "thinker"] * 10))
    assert [text_of(events) for events, _ in results] == [REPLY, "Yes."] * 10


async def test_no_content_in_any_error(bench):
    canary = "CANARY-7f3a"
    bench.server.models["coder"] = MockModelConfig(reply=f"{canary} {canary} {canary}")
    for fault, _ in BEFORE:
        bench.server.fail("coder", fault)
        _, error = await collect(bench.backend(), call(content=f"Say {canary}"))
        assert error is not None
        assert canary not in f"{error!r} {error.detail} {error.__cause__!r} {error.__context__!r}"
    for kind, _ in MIDDLE:
        bench.server.fail("coder", Fault(kind, after=1))
        _, error = await collect(bench.backend(), call(content=f"Say {canary}"))
        assert error is not None
        assert canary not in f"{error!r} {error.detail} {error.__cause__!r} {error.__context__!r}"
