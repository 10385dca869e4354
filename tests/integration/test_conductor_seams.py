"""M17: an answer that breaks off ends with what came, or goes on with the next model behind a seam that is told."""

from __future__ import annotations

import asyncio

import pytest
from conductor_kit import CODE, asked, collect, going_on, notices, text_of
from scripted_backend import DONE, PAUSE, failure

from modelway.backends.mock import Fault, FaultKind
from modelway.errors import StreamInterrupted
from modelway.events import (
    Ended,
    Failed,
    FallingBack,
    Finished,
    ModelSelected,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
)


@pytest.fixture(params=["ollama", "openai"])
def going(request, server, open_conductor):
    """A conductor over either protocol that goes on with answers that break off."""
    from conductor_kit import SHORT, config_text

    return open_conductor(going_on(config_text(server.url, request.param, SHORT)))


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (FaultKind.RESET_MID_STREAM, "the connection broke"),
        (FaultKind.END_WITHOUT_DONE, "the connection broke"),
        (FaultKind.STALL_MID_STREAM, "nothing more came in time"),
        (FaultKind.ERROR_RECORD, "its server reported an error"),
        (FaultKind.MALFORMED_RECORD, "its server sent something that is no answer"),
    ],
)
async def test_m17_the_next_model_goes_on_behind_a_seam(server, going, fault, why):
    server.fail("code-model", Fault(fault, after=2))
    events, error = await collect(going, CODE)
    assert error is None
    (seam,) = [event for event in events if isinstance(event, FallingBack)]
    assert seam == FallingBack("code-model", "deep-model", why, continues_after=len("code-model says"))
    assert seam.announce() == (
        f"The answer of code-model broke off ({why}); from here on, after 15 characters, deep-model answers."
    )
    place = events.index(seam)
    assert text_of(events[:place]) == "code-model says"
    assert text_of(events[place:]) == "deep-model says so"
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.model == "deep-model"
    assert asked(server) == ["code-model", "deep-model"]
    messages = server.request_history[1].body["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert (messages[0]["content"], messages[1]["content"]) == (CODE, "code-model says")


async def test_m17_the_reply_is_the_whole_and_warns_of_the_seam(server, going):
    server.fail("code-model", Fault(FaultKind.RESET_MID_STREAM, after=2))
    reply = await going.complete(CODE)
    assert (reply.text, reply.model) == ("code-model saysdeep-model says so", "deep-model")
    (warning,) = reply.warnings
    assert warning.startswith("The answer of code-model broke off")
    record = going.history[-1]
    assert [(attempt.model, attempt.outcome) for attempt in record.attempts][1:] == [("deep-model", "success")]
    assert record.attempts[0].outcome != "success"
    assert record.ttft_ms is not None
    assert record.ttft_ms <= record.duration_ms - record.attempts[1].duration_ms, (
        "that of the first model's first token"
    )


async def test_m17_where_none_is_left_the_interruption_holds_everything(server, going):
    for model in server.models:
        server.fail(model, Fault(FaultKind.RESET_MID_STREAM, after=1))
    events, error = await collect(going, CODE)
    assert isinstance(error, StreamInterrupted)
    seams = [event.continues_after for event in events if isinstance(event, FallingBack)]
    assert len(seams) == len(asked(server)) - 1 > 1
    assert seams == sorted(seams)
    said = {model: "sunny" if model == "tool-model" else model for model in asked(server)}
    assert error.partial == text_of(events) == "".join(said.values())
    assert isinstance(events[-1], Failed)
    assert events[-1].partial == error.partial
    assert going.history[-1].outcome == "interrupted"
    assert going.history[-1].model is None


async def test_a_model_that_can_not_go_on_is_passed_over_and_the_last_word_is_the_interruption(scripted):
    refused = [failure("rejected")]  # for a caller's own request this would be the end
    scripts = dict.fromkeys(("deep", "general", "math", "quick", "creative", "tool"), refused)
    conductor, backend = scripted(edit=going_on, code=[TextDelta("half"), failure("reset")], **scripts)
    events, error = await collect(conductor, CODE)
    assert isinstance(error, StreamInterrupted)
    assert (error.partial, error.model, error.kind) == ("half", "code-model", "reset")
    assert {event.continues_after for event in events if isinstance(event, FallingBack)} == {4}
    asked_of = [call.model_id for call in backend.calls]
    assert len(asked_of) == len(set(asked_of)) > 3, "behind a seam nobody is asked again"


async def test_a_seam_after_a_seam_hands_on_both_pieces(scripted):
    conductor, backend = scripted(
        edit=going_on,
        code=[TextDelta("one "), failure("reset")],
        deep=[TextDelta("two "), failure("interrupted")],
        general=[TextDelta("three"), DONE],
    )
    reply = await conductor.complete(CODE)
    assert reply.text == "one two three"
    assert [event.continues_after for event in reply.events if isinstance(event, FallingBack)] == [4, 8]
    assert [message["content"] for message in backend.calls[2].messages[:2]] == [CODE, "one two "]
    assert len(reply.warnings) == 2


async def test_an_answer_of_thinking_alone_begins_anew_behind_the_seam(scripted):
    conductor, backend = scripted(edit=going_on, code=[ThinkingDelta("hm"), failure("reset")])
    reply = await conductor.complete(CODE)
    assert (reply.thinking, reply.text) == ("hm", "hello")
    assert [event.continues_after for event in reply.events if isinstance(event, FallingBack)] == [0]
    assert len(backend.calls[1].messages) == 1


@pytest.mark.parametrize(
    ("begin", "options"),
    [
        ([TextDelta("a"), ToolCallDelta(0, "1", "f", "{")], {}),
        ([ToolCallDelta(0, "1", "f", "{")], {}),
        ([TextDelta("{")], {"response_format": {"type": "json_object"}}),
    ],
    ids=["text and a tool call", "a tool call", "a format"],
)
async def test_what_no_other_model_could_go_on_with_ends(scripted, begin, options):
    conductor, backend = scripted(edit=going_on, code=[*begin, failure("reset")])
    events, error = await collect(conductor, CODE, options=options)
    assert isinstance(error, StreamInterrupted)
    assert len(backend.calls) == 1
    assert notices(events) == []


async def test_m17_without_the_key_there_is_never_a_seam(scripted):
    conductor, backend = scripted(code=[TextDelta("half"), failure("reset")])
    events, error = await collect(conductor, CODE)
    assert isinstance(error, StreamInterrupted)
    assert (error.partial, notices(events), len(backend.calls)) == ("half", [], 1)


async def test_a_fallback_before_the_first_token_is_no_seam(scripted):
    conductor, _ = scripted(edit=going_on, code=[PAUSE, failure("reset")])
    events, _ = await collect(conductor, CODE)
    assert [type(event) for event in events] == [ModelSelected, FallingBack, TextDelta, Finished]
    assert events[1] == FallingBack("code-model", "deep-model", "the connection broke before it answered", None)


async def test_the_callers_deadline_ends_with_the_first_token_also_behind_a_seam(scripted):
    go_on = asyncio.Event()
    conductor, _ = scripted(edit=going_on, code=[TextDelta("a"), failure("reset")], deep=[go_on, TextDelta("b"), DONE])
    stream = conductor.stream(CODE, deadline_ms=30)
    events = [await anext(stream) for _ in range(3)]
    assert isinstance(events[-1], FallingBack)
    asyncio.get_running_loop().call_later(0.06, go_on.set)
    events += [event async for event in stream]
    assert text_of(events) == "ab"


async def test_what_a_seam_cost_is_the_last_models_own(scripted):
    conductor, _ = scripted(
        edit=going_on, code=[TextDelta("a"), failure("reset")], deep=[TextDelta("b"), Ended("length", DONE.usage)]
    )
    reply = await conductor.complete(CODE)
    assert (reply.finish_reason, reply.usage) == ("length", DONE.usage)
