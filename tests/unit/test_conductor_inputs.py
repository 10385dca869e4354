"""What a caller hands in: shapes that are refused name their place, the rest passes unchanged."""

from __future__ import annotations

import pytest

from modelway.conductor.inputs import chat_call
from modelway.config.in_force import MAX_JSON_DEPTH
from modelway.errors import InvalidRequest, ModelwayError

LONE = "caf\ud83d"
USER = {"role": "user", "content": "hello"}


def nested(depth: int) -> dict[str, object]:
    value: dict[str, object] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("prompt", "place"),
    [
        (7, "prompt: int given"),
        (None, "prompt: nothing given"),
        (b"bytes", "prompt: bytes given"),
        ({"role": "user"}, "prompt: dict given"),
        ([], "messages: empty"),
        (["hello"], "messages[0]: str given"),
        ([USER, {"content": "x"}], "messages[1].role: nothing given"),
        ([{"role": "wizard", "content": "x"}], "messages[0].role: 'wizard' given"),
        ([{"role": ["user"], "content": "x"}], "messages[0].role: list given"),
        ([{"role": "user"}], "messages[0].content: missing"),
        ([{"role": "user", "content": 5}], "messages[0].content: int given"),
        ([{"role": "user", "content": ["hello"]}], "messages[0].content[0]: a part"),
        ([{"role": "user", "content": [{"text": "no type"}]}], "messages[0].content[0]: a part"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text: nothing given"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
            "messages[0].content[0].image_url.url",
        ),
        ([{"role": "assistant", "content": None, "tool_calls": {}}], "messages[0].tool_calls: dict given"),
        (
            [{"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}],
            "messages[0].tool_calls[0].function.arguments: dict given",
        ),
        ([{"role": "user", "content": "x", "when": object()}], "messages[0].when: object given"),
        ([{"role": "user", "content": "x", "weight": float("nan")}], "messages[0].weight: nan"),
        ([{"role": "user", "content": "x", 5: "x"}], "messages[0]: a key of type int"),
        ([{"role": "user", "content": "x", "deep": nested(MAX_JSON_DEPTH + 1)}], "nested deeper than 64 levels"),
        (LONE, "prompt: a lone surrogate (U+D83D) at character 3"),
        ([USER, {"role": "user", "content": LONE}], "messages[1].content: a lone surrogate"),
        (
            [{"role": "user", "content": [{"type": "text", "text": LONE}]}],
            "messages[0].content[0].text: a lone surrogate",
        ),
        ([{"role": "user", "content": "x", LONE: 1}], "a key in messages[0]: a lone surrogate"),
    ],
)
def test_wrong_messages_are_refused_with_their_place(prompt, place):
    with pytest.raises(InvalidRequest) as caught:
        chat_call(prompt)
    assert place in str(caught.value)
    assert isinstance(caught.value, ModelwayError)
    str(caught.value).encode()  # the message itself can be shown and logged


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"system": 3}, "system: int given"),
        ({"system": LONE}, "system: a lone surrogate"),
        ({"tools": {"type": "function"}}, "tools: dict given"),
        ({"tools": ["f"]}, "tools[0].function.name: missing"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name: missing"),
        (
            {"tools": [{"function": {"name": "f", "description": LONE}}]},
            "tools[0].function.description: a lone surrogate",
        ),
        ({"options": ["seed"]}, "options: list given"),
        ({"options": {"temprature": 1}}, 'options.temprature: unknown; did you mean "temperature"?'),
        ({"options": {"qqq": 1}}, "options.qqq: unknown; known are frequency_penalty"),
        ({"options": {"stop": [LONE]}}, "options.stop[0]: a lone surrogate"),
        ({"extra": {"suffix": LONE}}, "extra.suffix: a lone surrogate"),
    ],
)
def test_wrong_fields_are_refused_with_their_place(fields, place):
    with pytest.raises(InvalidRequest) as caught:
        chat_call("hello", **fields)
    assert place in str(caught.value)


@pytest.mark.parametrize(
    "prompt", ["", "   \n\t", "a\x00b\x07\x1b[31m", "naïve 🙂 שלום", "'; DROP TABLE users; --", "x" * 200_000]
)
def test_any_unicode_text_passes_unchanged(prompt):
    assert chat_call(prompt).messages == [{"role": "user", "content": prompt}]


def test_a_refusal_holds_nothing_of_the_text():
    with pytest.raises(InvalidRequest) as caught:
        chat_call("my secret plan \ud800")
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None


def test_the_system_text_stands_in_front_and_the_callers_list_stays_as_it_was():
    given = [USER]
    call = chat_call(given, system="be brief")
    assert call.messages == [{"role": "system", "content": "be brief"}, USER]
    assert given == [USER]


def test_an_answer_that_only_calls_a_tool_needs_no_content():
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    messages = [USER, {"role": "assistant", "tool_calls": calls}, {"role": "tool", "tool_call_id": "1", "content": "5"}]
    assert chat_call(messages).messages == messages


def test_no_tools_and_an_empty_list_of_tools_are_the_same():
    assert chat_call("hello", tools=[]).tools is None
