"""The conductor's books: every attempt recorded once, every stream closed, on every path and at every await."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

import pytest
from conductor_kit import CODE, BookkeepingRouter, OpenConductor, config_text

from modelway.backends.base import ChatCall
from modelway.conductor import Conductor
from modelway.config import Config
from modelway.errors import BackendError, ModelwayError, NoModelAvailable, StreamInterrupted
from modelway.events import (
    BackendEvent,
    Ended,
    FallingBack,
    Finished,
    ModelLoading,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
)
from modelway.router import ModelRouter
from modelway.types import RequestOutcome

DONE = Ended("stop", Usage(7, 2))
#: A step of a script at which the loop turns once.
PAUSE = object()

Step = object


class ScriptedBackend:
    """Plays a script a model: events are yielded, errors raised, events of asyncio waited for."""

    name = "local"

    def __init__(self, scripts: dict[str, Sequence[Step]]) -> None:
        self.scripts = scripts
        self.calls: list[ChatCall] = []
        self.running = 0
        self.closed = 0

    def unsupported_options(self, call: ChatCall) -> tuple[str, ...]:
        return tuple(name for name in call.options if name == "min_p")

    async def stream(self, call: ChatCall) -> AsyncGenerator[BackendEvent, None]:
        self.calls.append(call)
        self.running += 1
        try:
            for step in self.scripts[call.model_id]:
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif step is PAUSE:
                    await asyncio.sleep(0)
                else:
                    yield step
        finally:
            self.running -= 1

    async def aclose(self) -> None:
        self.closed += 1


Script = Callable[..., tuple[Conductor, ScriptedBackend]]


@pytest.fixture
def scripted(open_conductor: OpenConductor, monkeypatch: pytest.MonkeyPatch) -> Script:
    """A conductor over scripts by model; those without one say hello."""

    def open_(**scripts: Sequence[Step]) -> tuple[Conductor, ScriptedBackend]:
        hello = [TextDelta("hello"), DONE]
        models = ("general", "code", "math", "quick", "deep", "creative", "tool")
        backend = ScriptedBackend({f"{name}-model": scripts.get(name, hello) for name in models})
        monkeypatch.setattr("modelway.conductor.lineup.make_backend", lambda *_: backend)
        named = 'id = "code-model"\nname = "server-side-name"'
        text = config_text("http://127.0.0.1:9").replace('id = "code-model"', named)
        return open_conductor(text), backend

    return open_


def failure(kind: str) -> BackendError:
    return BackendError(f"scripted {kind}", kind=kind, model="code-model", backend="local")


@pytest.mark.parametrize("turns", range(24))
async def test_cancelled_at_any_await_each_attempt_is_recorded_once_and_closed(scripted, turns):
    steps = [PAUSE, ModelLoading("x", "local"), PAUSE, TextDelta("a"), PAUSE, PAUSE, TextDelta("b"), PAUSE, DONE]
    conductor, backend = scripted(code=[PAUSE, failure("reset")], deep=[PAUSE, failure("connect")], general=steps)
    task = asyncio.create_task(conductor.complete(CODE))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    (result,) = await asyncio.gather(task, return_exceptions=True)
    router = conductor.router
    assert isinstance(router, BookkeepingRouter)
    router.check_books()
    assert backend.running == 0
    if isinstance(result, asyncio.CancelledError):
        assert [kind for _, kind in router.outcomes][2:] in ([], ["cancelled"])
        assert len(conductor.history) == (1 if turns else 0)
        assert all(record.outcome == "cancelled" for record in conductor.history)
    else:
        assert result.text == "ab"
        assert router.outcomes[-1] == ("general-model", "success")


async def test_the_cancellations_above_reach_from_the_start_to_the_end(scripted):
    steps = [PAUSE, ModelLoading("x", "local"), PAUSE, TextDelta("a"), PAUSE, PAUSE, TextDelta("b"), PAUSE, DONE]
    conductor, _ = scripted(code=[PAUSE, failure("reset")], deep=[PAUSE, failure("connect")], general=steps)
    task = asyncio.create_task(conductor.complete(CODE))
    turns = 0
    while not task.done():
        turns += 1
        await asyncio.sleep(0)
    assert 8 <= turns < 24


@pytest.mark.parametrize(
    "kind",
    [
        "connect",
        "reset",
        "timeout",
        "server_error",
        "malformed",
        "empty",
        "interrupted",
        "rate_limited",
        "busy",
        "missing",
    ],
)
async def test_each_kind_of_failure_before_the_first_token_moves_on_with_a_plain_sentence(scripted, kind):
    conductor, backend = scripted(code=[TextDelta(""), ThinkingDelta(""), failure(kind)])
    events = [event async for event in conductor.stream(CODE)]
    (notice,) = [event for event in events if isinstance(event, FallingBack)]
    assert (notice.from_model, notice.to_model) == ("code-model", "deep-model")
    assert notice.why.startswith(("it", "its", "the"))
    assert "scripted" not in notice.why
    assert [call.model_id for call in backend.calls] == ["code-model", "deep-model"]
    assert conductor.router.outcomes == [("code-model", kind), ("deep-model", "success")]


@pytest.mark.parametrize(
    "first",
    [TextDelta("x"), ThinkingDelta("x"), ToolCallDelta(0, "1", "f", "{}")],
    ids=lambda event: type(event).__name__,
)
async def test_after_any_first_piece_there_is_no_way_back(scripted, first):
    conductor, backend = scripted(code=[first, failure("reset")])
    with pytest.raises(StreamInterrupted) as caught:
        await conductor.complete(CODE)
    assert caught.value.partial == ("x" if isinstance(first, TextDelta) else "")
    assert caught.value.kind == "reset"
    assert isinstance(caught.value.__cause__, BackendError)
    assert len(backend.calls) == 1


async def test_m17_a_stream_that_ends_without_saying_so_is_no_answer(scripted):
    conductor, _ = scripted(code=[], deep=[TextDelta("half")])
    with pytest.raises(StreamInterrupted) as caught:
        await conductor.complete(CODE)
    assert caught.value.partial == "half"
    assert conductor.router.outcomes == [("code-model", "interrupted"), ("deep-model", "interrupted")]


async def test_an_error_of_our_own_is_not_held_against_the_model(scripted):
    conductor, backend = scripted(code=[ZeroDivisionError()])
    with pytest.raises(ZeroDivisionError):
        await conductor.complete(CODE)
    assert conductor.router.outcomes == [("code-model", "cancelled")]
    assert backend.running == 0


async def test_the_health_of_a_model_keeps_its_warm_times(scripted):
    loaded = asyncio.Event()
    steps = [ModelLoading("code-model", "local"), loaded, TextDelta("a"), Ended("stop", Usage(7, 2), load_ms=1e6)]
    conductor, _ = scripted(code=steps)
    stream = conductor.stream(CODE)
    events = [await anext(stream), await anext(stream)]
    loaded.set()
    events += [event async for event in stream]
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.load_ms == 1e6
    assert conductor.router.health("code-model").ttft_ms == 0.0


async def test_loading_that_the_backend_does_not_time_lasts_until_the_first_token(scripted):
    conductor, _ = scripted(code=[ModelLoading("code-model", "local"), PAUSE, TextDelta("a"), DONE])
    reply = await conductor.complete(CODE)
    finished = reply.events[-1]
    assert isinstance(finished, Finished)
    assert 0 < finished.load_ms <= finished.ttft_ms


async def test_tool_calls_are_put_together_in_order(scripted):
    deltas = [
        ToolCallDelta(1, None, "g", '{"b":'),
        ToolCallDelta(0, "a1", "f", '{"a"'),
        ToolCallDelta(1, None, None, "2}"),
        ToolCallDelta(0, None, None, ":1}"),
    ]
    conductor, _ = scripted(code=[*deltas, Ended("tool_calls")])
    reply = await conductor.complete(CODE)
    assert reply.tool_calls == (
        {"id": "a1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
        {"id": "call_1", "type": "function", "function": {"name": "g", "arguments": '{"b":2}'}},
    )
    assert (reply.text, reply.finish_reason) == ("", "tool_calls")


async def test_the_call_names_the_model_as_its_server_does_and_passes_foreign_fields_on(scripted):
    conductor, backend = scripted()
    await conductor.complete(CODE, extra={"suffix": "x"}, extra_protocol="ollama")
    (call,) = backend.calls
    assert (call.model, call.model_id) == ("server-side-name", "code-model")
    assert (dict(call.extra), call.extra_protocol) == ({"suffix": "x"}, "ollama")


async def test_a_written_context_is_loaded_and_a_discovered_one_is_not(scripted):
    conductor, backend = scripted()
    config = Config.from_toml(config_text("http://127.0.0.1:9"))
    await conductor.complete(CODE)
    found = {f"models[{index}].max_context": "discovered" for index in range(len(config.models))}
    conductor.router.replace_config(config.with_found_models(config.models, found))
    await conductor.complete(CODE)
    assert [call.num_ctx for call in backend.calls] == [4096, None]
    assert {model.max_context for model in conductor.settings.models} == {4096}


async def test_options_that_the_serving_model_cannot_honour_are_told(scripted):
    conductor, _ = scripted(code=[failure("connect")])
    reply = await conductor.complete(CODE, options={"min_p": 0.1, "seed": 1})
    assert reply.warnings[1:] == ("deep-model can't honour min_p.",)
    assert isinstance(reply.events[-2], TextDelta)


async def test_a_model_that_was_set_aside_since_the_decision_is_passed_over_with_a_notice(scripted):
    conductor, backend = scripted()
    stream = conductor.stream(CODE)
    await anext(stream)
    # By some other request, whose books are not ours.
    limited = RequestOutcome(False, kind="rate_limited", retry_after_s=60)
    ModelRouter.record_outcome(conductor.router, "code-model", limited)
    events = [event async for event in stream]
    assert events[0].announce() == (
        "code-model could not answer (its server asked us to wait); asking deep-model instead."
    )
    assert [call.model_id for call in backend.calls] == ["deep-model"]
    assert [attempt.model for attempt in conductor.history[-1].attempts] == ["deep-model"]


@pytest.mark.parametrize("moment", ["before the decision", "after it"])
async def test_a_configuration_replaced_from_another_thread_in_the_midst_of_routing(scripted, moment):
    conductor, _ = scripted()
    select = conductor.router.select
    newer = Config.from_toml(config_text("http://127.0.0.1:9").replace("code-model", "newer-model"))

    def select_while_it_is_replaced(request):
        if moment == "before the decision":
            conductor.router.replace_config(newer)
        decision = select(request)
        conductor.router.replace_config(newer)
        return decision

    conductor.router.select = select_while_it_is_replaced
    reply = await conductor.complete(CODE)
    if moment == "before the decision":
        assert reply.model == "deep-model"
        assert reply.warnings == (
            "newer-model could not answer (the configuration was replaced meanwhile); asking deep-model instead.",
        )
    else:
        assert (reply.model, reply.warnings) == ("code-model", ())


@pytest.mark.parametrize("tokens", [2**53 + 1, 2**64 - 1])
async def test_a_count_that_no_server_could_mean_changes_nothing(scripted, tokens):
    conductor, _ = scripted(code=[TextDelta("a"), Ended("stop", Usage(1, tokens))])
    reply = await conductor.complete(CODE)
    assert reply.usage.completion_tokens == tokens
    assert conductor.router.outcomes == [("code-model", "success")]


async def test_a_replaced_configuration_serves_the_next_request_and_lets_the_running_one_end(scripted):
    go_on = asyncio.Event()
    conductor, backend = scripted(code=[TextDelta("a"), go_on, TextDelta("b"), DONE])
    stream = conductor.stream(CODE)
    events = [await anext(stream), await anext(stream)]
    smaller = (
        '[defaults]\ngeneral = "other"\n[[backends]]\nname = "local"\nkind = "ollama"\nurl = "http://127.0.0.1:10"\n'
    )
    conductor.router.replace_config(Config.from_toml(smaller))
    backend.scripts["other"] = [TextDelta("other"), DONE]
    assert (await conductor.complete(CODE)).model == "other"
    assert backend.closed == 0, "still in use by the first request"
    go_on.set()
    events += [event async for event in stream]
    assert isinstance(events[-1], Finished)
    assert backend.closed == 1
    assert conductor.router.outcomes == [("other", "success"), ("code-model", "success")]


async def test_models_that_left_the_configuration_have_no_next_try(scripted):
    models = ("general", "code", "math", "quick", "deep", "creative", "tool")
    conductor, _ = scripted(**{model: [failure("connect")] for model in models})
    stream = conductor.stream(CODE)
    await anext(stream)
    conductor.router.replace_config(Config.from_toml('[defaults]\ngeneral = "deep-model"\n'))
    with pytest.raises(NoModelAvailable) as caught:
        [event async for event in stream]
    next_try = {attempt.model: attempt.next_try_s for attempt in caught.value.attempts}
    assert (next_try["code-model"], next_try["deep-model"]) == (None, 0.0)


async def test_a_closed_conductor_asks_nobody(scripted):
    conductor, backend = scripted(code=[PAUSE, failure("connect")])
    stream = conductor.stream(CODE)
    await anext(stream)
    await conductor.aclose()
    with pytest.raises(ModelwayError, match="closed"):
        [event async for event in stream]
    with pytest.raises(ModelwayError, match="closed"):
        await conductor.complete(CODE)
    assert backend.calls == []


async def test_history_is_bounded(scripted, monkeypatch):
    conductor, _ = scripted()
    assert conductor.history.maxlen == 1000
    for number in range(1005):
        await conductor.complete("hi", model="quick-model", request_id=str(number))
    assert len(conductor.history) == 1000
    assert (conductor.history[0].request_id, conductor.history[-1].request_id) == ("5", "1004")


async def test_a_configuration_without_models_is_completed_by_discovery(monkeypatch):
    async def discover(config: Config) -> Config:
        assert not config.models
        return Config.from_toml('[defaults]\ngeneral = "found"\n')

    monkeypatch.setattr("modelway.discovery.discover", discover)
    monkeypatch.setattr(
        "modelway.conductor.lineup.make_backend", lambda *_: ScriptedBackend({"found": [TextDelta("hi"), DONE]})
    )
    async with Conductor(Config()) as conductor:
        assert [model.id for model in conductor.settings.models] == ["found"]
        assert (await conductor.complete("hello")).model == "found"


async def test_without_any_model_the_error_names_the_remedy():
    conductor = Conductor(Config())
    with pytest.raises(NoModelAvailable, match="discover"):
        await conductor.complete("hello")
    await conductor.aclose()


async def test_without_a_configuration_the_one_that_is_found_is_used(monkeypatch, tmp_path):
    (tmp_path / "modelway.toml").write_text('[defaults]\ngeneral = "mine"\n')
    monkeypatch.setenv("MODELWAY_CONFIG", str(tmp_path / "modelway.toml"))
    conductor = Conductor()
    assert [model.id for model in conductor.settings.models] == ["mine"]
    await conductor.aclose()
