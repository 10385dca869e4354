"""Ollama's protocol, requests: ``/api/chat`` and ``/api/generate`` bodies to the conductor's terms.

The conductor speaks OpenAI's spelling, so messages, tool calls, images and options are translated here;
options we don't know are kept for a backend that speaks Ollama too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from modelway.errors import InvalidRequest
from modelway.gateway.asked import RELOAD_OPTIONS, Asked, check_name, model_choice, not_honoured, read, read_objects
from modelway.gateway.body import type_name
from modelway.gateway.options import checked

#: Ollama's option to the conductor's.
_OPTIONS = {"num_predict": "max_tokens"} | {
    name: name
    for name in (
        "temperature", "top_p", "top_k", "min_p", "seed", "stop",
        "presence_penalty", "frequency_penalty", "repeat_penalty",
    )
}  # fmt: skip
_NOT_HONOURED = frozenset({"keep_alive", "truncate", "shift", "logprobs", "top_logprobs"})
_SHARED = frozenset({"model", "stream", "format", "think", "options"})
_CHAT = frozenset({"messages", "tools"})
_GENERATE = frozenset({"prompt", "system", "images"})
#: Fields of /api/generate that bypass the model's chat template, which is the only way we ask.
_TEMPLATE_FIELDS = ("raw", "template", "suffix", "context")

#: How base64 of an image file begins, by media type.
_IMAGE_STARTS = {"iVBORw0KGgo": "image/png", "/9j/": "image/jpeg", "R0lGOD": "image/gif", "UklGR": "image/webp"}

_NO_LOAD = "an empty request asks to load the model; modelway loads models when they are asked something"


def parse_chat(body: Mapping[str, Any]) -> Asked:
    """What a ``/api/chat`` body asks for. Raises :class:`InvalidRequest` or :class:`UnknownModel`."""
    messages = read_objects(body, "messages")
    if not messages:
        raise InvalidRequest(f"messages: {_NO_LOAD}")
    return _asked(body, _messages(messages), _CHAT, read_objects(body, "tools"))


def parse_generate(body: Mapping[str, Any]) -> Asked:
    """What a ``/api/generate`` body asks for. Raises :class:`InvalidRequest` or :class:`UnknownModel`."""
    for name in _TEMPLATE_FIELDS:
        if body.get(name):
            raise InvalidRequest(f"{name}: not supported; send the text in prompt and system, or use /api/chat")
    prompt = read(body, "prompt", str) or ""
    images = read(body, "images", list) or []
    if not prompt and not images:
        raise InvalidRequest(f"prompt: {_NO_LOAD}")
    system = read(body, "system", str)
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": _content(prompt, images, "")})
    return _asked(body, messages, _GENERATE | set(_TEMPLATE_FIELDS), [])


def _asked(
    body: Mapping[str, Any],
    messages: list[dict[str, Any]],
    read_there: frozenset[str],
    tools: list[dict[str, Any]],
) -> Asked:
    model, task = model_choice(body)
    given = read(body, "options", dict) or {}
    options = checked(given, _OPTIONS, "options.") | checked(body, {"think": "think"})
    if options.get("max_tokens") in (-1, -2):  # "until the model stops", "until the context is full"
        del options["max_tokens"]
    response_format = _response_format(body.get("format"))
    if response_format is not None:
        options["response_format"] = response_format
    extra = {k: v for k, v in body.items() if k not in _SHARED | _NOT_HONOURED | read_there}
    unknown_options = {k: v for k, v in given.items() if k not in _OPTIONS and k not in RELOAD_OPTIONS}
    if unknown_options:
        extra["options"] = unknown_options
    return Asked(
        messages=messages,
        model=model,
        task=task,
        stream=read(body, "stream", bool) is not False,
        tools=tools or None,
        options=options,
        extra=extra,
        extra_protocol="ollama",
        # `false` asks for nothing of these but truncate: false, which every request gets.
        warnings=not_honoured(body, "", lambda name, value: name in _NOT_HONOURED and value is not False)
        + not_honoured(given, "options.", lambda name, _: name in RELOAD_OPTIONS),
    )


def _response_format(given: object) -> dict[str, Any] | None:
    match given:
        case None | "":
            return None
        case "json":
            return {"type": "json_object"}
        case dict():
            return {"type": "json_schema", "json_schema": {"name": "answer", "schema": given, "strict": True}}
        case _:
            raise InvalidRequest('format: must be "json" or a JSON schema object')


def _messages(given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ollama's messages in OpenAI's spelling.

    OpenAI ties a tool's result to its call by an id. Ollama may name the tool only, or nothing at all,
    so calls that bring no id get one, and results take the oldest unanswered call that fits.
    """
    translated = []
    unanswered: list[tuple[str, str]] = []  # (id, tool name), oldest first
    for index, message in enumerate(given):
        where = f"messages[{index}]."
        role = (read(message, "role", str, where) or "").lower()
        content = read(message, "content", str, where) or ""
        images = read(message, "images", list, where) or []
        new: dict[str, Any] = {"role": role, "content": _content(content, images, where)}
        calls = read_objects(message, "tool_calls", where)
        if calls:
            new["tool_calls"] = [_tool_call(call, f"{where}tool_calls[{i}].", index, i) for i, call in enumerate(calls)]
            unanswered += [(call["id"], call["function"]["name"]) for call in new["tool_calls"]]
        thinking = read(message, "thinking", str, where)
        if thinking:
            new["reasoning_content"] = thinking
        if role == "tool":
            name = read(message, "tool_name", str, where)
            new["tool_call_id"] = _answered(unanswered, read(message, "tool_call_id", str, where), name)
            if name:
                new["name"] = name
        translated.append(new)
    return translated


def _tool_call(call: Mapping[str, Any], where: str, message_index: int, index: int) -> dict[str, Any]:
    function = read(call, "function", dict, where) or {}
    name = read(function, "name", str, f"{where}function.")
    if not name:
        raise InvalidRequest(f"{where}function.name: missing")
    check_name(name, f"{where}function.name")
    arguments = read(function, "arguments", dict, f"{where}function.") or {}
    return {
        "id": read(call, "id", str, where) or f"call_{message_index}_{index}",
        "type": "function",
        "function": {"name": name, "arguments": orjson.dumps(arguments).decode()},
    }


def _answered(unanswered: list[tuple[str, str]], call_id: str | None, name: str | None) -> str:
    """The id of the call that a tool's result answers; it is taken off the list."""
    for position, (known_id, known_name) in enumerate(unanswered):
        if known_id == call_id or (call_id is None and name in (None, known_name)):
            del unanswered[position]
            return known_id
    return call_id or "call_unknown"


def _content(text: str, images: list[Any], where: str) -> str | list[dict[str, Any]]:
    if not images:
        return text
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    for index, image in enumerate(images):
        if not isinstance(image, str):
            raise InvalidRequest(f"{where}images[{index}]: must be base64 text, not {type_name(image)}")
        parts.append({"type": "image_url", "image_url": {"url": f"data:{_media_type(image)};base64,{image}"}})
    return parts


def _media_type(image: str) -> str:
    for start, media_type in _IMAGE_STARTS.items():
        if image.startswith(start):
            return media_type
    return "application/octet-stream"
