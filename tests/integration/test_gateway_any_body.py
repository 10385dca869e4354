"""Whatever JSON a client sends is asked or refused: it never crashes a parser, the conductor's checks or a backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelway.backends.ollama import request as ollama_request
from modelway.backends.openai_compat import request as openai_request
from modelway.conductor.inputs import chat_call
from modelway.errors import ModelwayError
from modelway.gateway import ollama, openai
from modelway.gateway.asked import Asked
from modelway.gateway.body import parse_json
from modelway.origin import Origin

WORDS = st.sampled_from(["", "m", "auto", "auto:code", "text", "user", "assistant", "tool", "json_schema", "f", "{}"])
SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | WORDS
#: Every key that some reader looks for.
KEYS = st.sampled_from([
    "model", "messages", "role", "content", "type", "text", "image_url", "url", "images", "tool_calls", "id",
    "function", "name", "arguments", "tool_call_id", "tool_name", "thinking", "reasoning_content", "tools",
    "tool_choice", "stream", "stream_options", "include_usage", "n", "stop", "temperature", "max_tokens",
    "response_format", "json_schema", "schema", "format", "options", "num_predict", "num_ctx", "keep_alive",
    "think", "prompt", "system", "raw", "context", "chat_template_kwargs", "logprobs",
])  # fmt: skip
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4))
#: Bodies that come past the first checks, so that the later ones are reached.
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "tool", "system"]), "content": WORDS},
        optional={"images": VALUES, "tool_calls": VALUES, "thinking": VALUES, "tool_call_id": VALUES, "name": VALUES},
    ),
    min_size=1,
    max_size=3,
)
BODIES = st.dictionaries(KEYS, VALUES, max_size=6) | st.builds(
    lambda fields, messages: fields | {"model": "m", "prompt": "hello", "messages": messages},
    st.dictionaries(KEYS, VALUES, max_size=3),
    MESSAGES,
)


@pytest.mark.parametrize("parse", [openai.parse, ollama.parse_chat, ollama.parse_generate])
@given(body=BODIES)
@settings(max_examples=100, deadline=None, derandomize=True, database=None)
def test_any_body_is_asked_or_refused(parse: Callable[[Mapping[str, Any]], Asked], body: dict[str, Any]) -> None:
    origin = Origin("backend", "m")
    with suppress(ModelwayError):
        asked = parse(parse_json(orjson.dumps(body)))
        call = chat_call(
            asked.messages,
            tools=asked.tools,
            options=asked.options,
            extra=asked.extra,
            extra_protocol=asked.extra_protocol,
        )
        ollama_request.chat_body(call, "m", origin)
        openai_request.chat_body(call, "llama_server")
