"""Scenarios through the public API: which model is asked, which one serves, what the caller sees."""

from __future__ import annotations

import tomllib

import pytest
from conductor_kit import (
    CODE,
    DEFAULTS,
    MATH,
    PNG,
    TOOLS,
    VAGUE,
    VISION,
    asked,
    collect,
    config_text,
    notices,
    text_of,
)

from modelway.backends.mock import Fault, MockModelConfig
from modelway.config import Config
from modelway.errors import (
    ContextTooLong,
    InvalidRequest,
    NoModelAvailable,
    UnknownModel,
)
from modelway.events import Degraded, Failed, FallingBack, Finished, ModelSelected, ThinkingDelta

# --- which model serves


@pytest.mark.parametrize(
    ("prompt", "task", "model"),
    [
        pytest.param(CODE, "code", "code-model", id="s1"),
        pytest.param(MATH, "math", "math-model", id="s2"),
    ],
)
async def test_s1_s2_a_special_question_is_one_request_to_the_special_model(server, conductor, prompt, task, model):
    reply = await conductor.complete(prompt)
    assert (reply.text, reply.model, reply.finish_reason) == (f"{model} says so", model, "stop")
    assert str(reply.decision.task) == task
    assert reply.warnings == ()
    assert server.request_counts == {model: 1}


async def test_s3_an_ambiguous_question_goes_to_a_general_model_and_says_why(server, conductor):
    reply = await conductor.complete(VAGUE)
    assert reply.decision.confidence < 0.7
    assert reply.model in {"general-model", "quick-model"}
    assert reply.decision.explanation
    assert server.request_counts == {reply.model: 1}


async def test_s4_the_next_of_the_chain_serves_when_the_first_is_unavailable(server, conductor):
    server.unavailable_models.add("code-model")
    events, error = await collect(conductor, CODE)
    assert error is None
    assert asked(server) == ["code-model", "deep-model"]
    assert [type(event) for event in events[:2]] == [ModelSelected, FallingBack]
    assert events[1].announce() == (
        "code-model could not answer (its server reported an error); asking deep-model instead."
    )
    assert isinstance(events[-1], Finished)
    assert events[-1].model == "deep-model"
    record = conductor.history[-1]
    assert [(attempt.model, attempt.outcome) for attempt in record.attempts] == [
        ("code-model", "server_error"),
        ("deep-model", "success"),
    ]
    assert (record.model, record.outcome) == ("deep-model", "success")


async def test_the_decision_of_a_reply_stays_what_was_decided(server, conductor):
    server.fail("code-model", Fault.http(500))
    reply = await conductor.complete(CODE)
    assert (reply.decision.model, reply.model, reply.text) == ("code-model", "deep-model", "deep-model says so")
    assert reply.warnings == ("code-model could not answer (its server reported an error); asking deep-model instead.",)


async def test_s7_the_model_that_was_asked_for_serves_whatever_the_prompt_says(server, conductor):
    reply = await conductor.complete(CODE, model="creative-model")
    assert (reply.model, str(reply.decision.reason)) == ("creative-model", "explicit_model")
    assert server.request_counts == {"creative-model": 1}


async def test_the_task_that_was_named_wins_over_the_words(server, conductor):
    reply = await conductor.complete(CODE, task="math")
    assert (reply.model, str(reply.decision.reason)) == ("math-model", "explicit_task")


async def test_s9_history_knows_models_times_and_outcomes_but_no_words(server, conductor):
    await conductor.complete(CODE, request_id="first")
    await conductor.complete(CODE)
    await conductor.complete(MATH)
    first, second, third = conductor.history
    assert (first.request_id, first.task, first.model, first.outcome) == ("first", "code", "code-model", "success")
    assert len(second.request_id) == 32
    assert first.prompt_hash == second.prompt_hash != third.prompt_hash
    assert len(first.prompt_hash) == 64
    assert first.started_at.tzinfo is not None
    assert first.started_at <= second.started_at <= third.started_at
    assert first.ttft_ms is not None
    assert 0 < first.ttft_ms <= first.duration_ms
    attempt = first.attempts[0]
    assert attempt.ttft_ms is not None
    assert 0 < attempt.ttft_ms <= attempt.duration_ms <= first.duration_ms
    assert "Rust" not in repr(conductor.history)
    assert "says so" not in repr(conductor.history)
    assert first.prompt is None


async def test_history_has_words_only_while_the_user_wants_them_and_says_so(server, open_conductor, caplog):
    silent = config_text(server.url)
    telling = f"{silent}\n[privacy]\nhistory_text = true\n"
    conductor = open_conductor(silent)
    for text in (silent, telling, telling, silent, telling):
        conductor.router.replace_config(Config.model_validate(tomllib.loads(text)))
        await conductor.complete(CODE)
    assert [record.prompt for record in conductor.history] == [None, CODE, CODE, None, CODE]
    assert CODE not in repr(conductor.history)
    told = [record.getMessage() for record in caplog.records if "history_text" in record.getMessage()]
    assert len(told) == 2, "once each time it is switched on"
    assert CODE not in "".join(told)


async def test_s10_a_general_model_serves_when_all_specialists_are_down(server, conductor):
    server.unavailable_models.update(set(DEFAULTS.values()) - {"general-model"})
    events, error = await collect(conductor, CODE)
    assert error is None
    assert notices(events) == [("code-model", "deep-model"), ("deep-model", "general-model")]
    assert text_of(events) == "general-model says so"


async def test_m15_all_models_down_is_an_error_that_names_each_with_why_and_when(server, conductor):
    server.unavailable_models.update(server.models)
    server.fail("general-model", Fault.http(429, retry_after="7"))
    server.unavailable_models.discard("general-model")
    events, error = await collect(conductor, CODE)
    assert isinstance(error, NoModelAvailable)
    assert {attempt.model for attempt in error.attempts} == set(DEFAULTS.values())
    by_model = {attempt.model: attempt for attempt in error.attempts}
    assert "500" in by_model["code-model"].why
    assert by_model["code-model"].next_try_s == 0.0
    assert "429" in by_model["general-model"].why
    assert by_model["general-model"].next_try_s == pytest.approx(7, abs=1)
    assert "next try in" in str(error)
    assert isinstance(events[-1], Failed)
    assert events[-1].error is error
    assert conductor.history[-1].outcome == "no_model"
    assert len(asked(server)) == len(DEFAULTS), "each candidate once"


async def test_m15_a_dead_server_is_an_error_with_the_remedy(server, either):
    await server.down()
    events, error = await collect(either, CODE, deadline_ms=2000)
    assert isinstance(error, NoModelAvailable)
    assert {attempt.model for attempt in error.attempts} == set(DEFAULTS.values())
    assert all("is the server running?" in attempt.why for attempt in error.attempts)
    assert len(notices(events)) == len(DEFAULTS) - 1
    assert {attempt.outcome for attempt in either.history[-1].attempts} == {"connect"}


async def test_s10_m15_models_set_aside_are_not_asked_and_named_with_their_next_try(server, conductor):
    server.unavailable_models.update(server.models)
    for _ in range(5):
        await collect(conductor, CODE)
    before = len(asked(server))
    events, error = await collect(conductor, CODE)
    assert isinstance(error, NoModelAvailable)
    assert len(asked(server)) == before
    assert {attempt.model for attempt in error.attempts} == set(DEFAULTS.values())
    assert all(attempt.next_try_s is not None and attempt.next_try_s > 0 for attempt in error.attempts)
    assert [type(event) for event in events] == [Failed]


async def test_m16_the_only_model_left_serves_with_a_notice(server, conductor):
    server.unavailable_models.update(set(server.models) - {"general-model"})
    for _ in range(5):
        await collect(conductor, CODE)
    before = len(asked(server))
    reply = await conductor.complete(CODE)
    assert (reply.model, str(reply.decision.reason)) == ("general-model", "fallback")
    assert len(reply.warnings) == 1
    assert "code-model" in reply.warnings[0]
    assert asked(server)[before:] == ["general-model"]


# --- capabilities and names


async def test_tools_go_only_to_a_model_with_tools(server, conductor):
    reply = await conductor.complete("What is the weather in Rome?", tools=TOOLS)
    assert asked(server) == ["tool-model"]
    (call,) = reply.tool_calls
    assert call["type"] == "function"
    assert call["id"]
    assert call["function"]["name"] == "weather"
    assert call["function"]["arguments"].replace(" ", "") == '{"city":"Rome"}'


async def test_a_model_asked_for_by_name_that_lacks_tools_is_replaced_with_a_notice(server, conductor):
    reply = await conductor.complete("What is the weather in Rome?", model="code-model", tools=TOOLS)
    assert asked(server) == ["tool-model"]
    degraded = [event for event in reply.events if isinstance(event, Degraded)]
    assert [event.kind for event in degraded] == ["capability"]
    assert reply.warnings == (degraded[0].announce(),)
    assert isinstance(reply.events[1], Degraded), "right after ModelSelected"


async def test_a_model_that_turns_out_to_lack_tools_is_passed_over_with_a_notice(server, open_conductor):
    text = config_text(server.url).replace("supports_tools = false", "supports_tools = true")
    conductor = open_conductor(text)
    events, error = await collect(conductor, "What is the weather in Rome?", model="code-model", tools=TOOLS)
    assert error is None
    assert notices(events)[0][0] == "code-model"
    assert "it can't call tools" in events[1].announce()
    assert asked(server)[-1] == "tool-model"
    assert conductor.router.health("code-model").failures == 0


async def test_images_go_only_to_a_model_that_reads_them(server, open_conductor):
    conductor = open_conductor(config_text(server.url) + VISION)
    message = {
        "role": "user",
        "content": [{"type": "text", "text": CODE}, {"type": "image_url", "image_url": {"url": PNG}}],
    }
    reply = await conductor.complete([message])
    assert (reply.text, asked(server)) == ("a cat", ["vision-model"])


async def test_images_without_a_model_that_reads_them_ask_nobody(server, conductor):
    events, error = await collect(conductor, CODE, images=1)
    assert isinstance(error, NoModelAvailable)
    assert asked(server) == []
    assert [type(event) for event in events] == [Failed]


async def test_an_unknown_model_is_an_error_with_the_nearest_name(server, conductor):
    events, error = await collect(conductor, CODE, model="code-modle")
    assert isinstance(error, UnknownModel)
    assert "code-model" in str(error)
    assert [type(event) for event in events] == [Failed]
    assert asked(server) == []


async def test_a_text_that_fits_no_context_is_refused_and_never_cut(server, conductor):
    _, error = await collect(conductor, "word " * 20_000)
    assert isinstance(error, ContextTooLong)
    assert error.needed_tokens > error.max_context == 4096
    assert asked(server) == []
    assert conductor.history[-1].outcome == "context_length"


async def test_text_that_is_not_unicode_is_refused_before_anything_happens(server, conductor):
    events, error = await collect(conductor, [{"role": "user", "content": "a\udc00"}])
    assert isinstance(error, InvalidRequest)
    assert "messages[0].content" in str(error)
    assert events == []
    assert len(conductor.history) == 0
    assert asked(server) == []


# --- what is sent


async def test_messages_system_text_and_options_arrive_whole(server, conductor):
    history = [
        {"role": "user", "content": "my name is Ada"},
        {"role": "assistant", "content": "hello Ada"},
        {"role": "user", "content": "write a function; \x00 '; DROP TABLE x; --"},
    ]
    await conductor.complete(history, system="be brief", options={"temperature": 0.5})
    body = server.request_history[0].body
    assert body["messages"] == [{"role": "system", "content": "be brief"}, *history]
    assert body["options"]["temperature"] == 0.5
    assert body["options"]["num_ctx"] == 4096


async def test_thinking_is_kept_apart_from_the_answer(server, conductor):
    server.models["code-model"] = MockModelConfig(thinking="let me see", reply="done")
    reply = await conductor.complete(CODE)
    assert (reply.thinking, reply.text) == ("let me see", "done")
    assert isinstance(reply.events[1], ThinkingDelta)


async def test_a_reply_shows_nothing_of_what_was_said(server, conductor):
    reply = await conductor.complete(CODE)
    assert "says so" not in repr(reply)
    assert "Rust" not in repr(reply)


async def test_usage_and_times_come_with_the_end(server, conductor):
    events, _ = await collect(conductor, CODE)
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.usage.completion_tokens == 3
    assert 0 < finished.ttft_ms <= finished.duration_ms
    health = conductor.router.health("code-model")
    assert (health.successes, health.failures) == (1, 0)
    assert health.ttft_ms is not None


async def test_a_model_named_by_its_alias_is_asked_under_its_own_name(server, open_conductor):
    text = config_text(server.url).replace('id = "code-model"', 'id = "code-model"\naliases = ["coder"]')
    reply = await open_conductor(text).complete(VAGUE, model="coder")
    assert reply.model == "code-model"
