"""A call as the body of ``/v1/chat/completions``, for the dialect of the server. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from modelway.backends.base import ChatCall

#: ``llama_server`` is llama.cpp's: its chat templates know no developer role and take arguments of their own.
Dialect = Literal["openai", "llama_server"]

#: The last three are no OpenAI fields; the local servers that speak this protocol know them.
_SAME_NAME = (
    "temperature", "top_p", "max_tokens", "stop", "seed", "presence_penalty", "frequency_penalty", "response_format",
    "tool_choice", "top_k", "min_p", "repeat_penalty",
)  # fmt: skip


def chat_body(call: ChatCall, dialect: Dialect) -> dict[str, Any]:
    """The body. Unknown fields of the caller's go along where they spoke this protocol, but change nothing of ours."""
    body: dict[str, Any] = dict(call.extra) if call.extra_protocol == "openai" else {}
    # A second answer would have no place to go.
    body.pop("n", None)
    body |= {
        "model": call.model,
        "messages": [_message(message, dialect) for message in call.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    body |= {key: call.options[key] for key in _SAME_NAME if call.options.get(key) is not None}
    if call.tools:
        body["tools"] = list(call.tools)
    else:
        body.pop("tool_choice", None)
    think = call.options.get("think")
    if think is not None:
        if dialect == "llama_server":
            body["chat_template_kwargs"] = {**body.get("chat_template_kwargs", {}), "enable_thinking": bool(think)}
        elif isinstance(think, str):
            body["reasoning_effort"] = think
    return body


def left_out(call: ChatCall, dialect: Dialect) -> tuple[str, ...]:
    """The options and extra fields that this protocol can't express."""
    # Token probabilities could be asked for, but no event carries them back.
    names = [key for key in ("logprobs", "top_logprobs") if call.options.get(key)]
    if isinstance(call.options.get("think"), bool) and dialect == "openai":
        names.append("think")
    names += [key for key in call.extra if key == "n" or call.extra_protocol != "openai"]
    return tuple(names)


def _message(message: Mapping[str, Any], dialect: Dialect) -> dict[str, Any]:
    if dialect == "llama_server" and message["role"] == "developer":
        return {**message, "role": "system"}
    return dict(message)
