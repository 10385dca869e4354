"""What a caller hands in, checked before anything is decided or sent.

A request that no model could read as it stands is refused here, with the place of the fault
(``messages[1].content[0].text``): every candidate would refuse it too, and each refusal would look
like a fault of the model. Texts are checked, never changed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from modelway.backends.base import KNOWN_OPTIONS, ChatCall
from modelway.errors import InvalidRequest
from modelway.near import did_you_mean
from modelway.types import TaskClass

Message = Mapping[str, Any]
Prompt = str | Sequence[Message]

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
#: Deeper nesting than any tool schema needs; the walk below recurses.
MAX_DEPTH = 64


class ChatFields(TypedDict, total=False):
    """The named arguments of ``Conductor.stream`` and ``Conductor.complete``, described at the first."""

    task: TaskClass | str | None
    model: str | None
    system: str | None
    tools: Sequence[Mapping[str, Any]] | None
    images: int
    context_tokens: int | None
    options: Mapping[str, Any] | None
    extra: Mapping[str, Any] | None
    extra_protocol: str
    user: str | None
    conversation: str | None
    allow_external: bool | None
    deadline_ms: float | None
    prefer_warm: bool | None
    request_id: str | None


def chat_call(
    prompt: Prompt,
    *,
    system: str | None = None,
    tools: Sequence[Mapping[str, Any]] | None = None,
    options: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
    extra_protocol: str = "openai",
) -> ChatCall:
    """The call that every candidate gets, still without a model.

    Raises :class:`InvalidRequest` for wrong shapes, unknown options and text that is not Unicode.
    """
    messages = _messages(prompt, system)
    _check_tools(tools)
    _check_options(options)
    _check_json(extra, "extra")
    return ChatCall(
        model="",
        model_id="",
        messages=messages,
        tools=tools or None,
        options=options or {},
        extra=extra or {},
        extra_protocol=extra_protocol,
    )


def checked_user(user: object) -> str | None:
    """Raises :class:`InvalidRequest` for what is no name; an empty one is none."""
    _check_optional_text(user, "user")
    _check_json(user, "user")
    return str(user) if user else None


def _messages(prompt: object, system: object) -> list[Message]:
    if isinstance(prompt, str):
        _check_json(prompt, "prompt")
        messages: list[Message] = [{"role": "user", "content": prompt}]
    elif isinstance(prompt, list | tuple):
        messages = list(prompt)
        if not messages:
            raise InvalidRequest("messages: empty; at least one message is needed")
        for index, message in enumerate(messages):
            _check_message(message, f"messages[{index}]")
    else:
        raise InvalidRequest(f"prompt: {_type(prompt)} given; it must be text or a list of chat messages")
    if system is not None:
        if not isinstance(system, str):
            raise InvalidRequest(f"system: {_type(system)} given; it must be text")
        _check_json(system, "system")
        messages.insert(0, {"role": "system", "content": system})
    return messages


def _check_message(message: object, path: str) -> None:
    if not isinstance(message, Mapping):
        raise InvalidRequest(f"{path}: {_type(message)} given; a message is a mapping with role and content")
    _check_json(message, path)
    role = message.get("role")
    if role not in ROLES:
        given = repr(role[:20]) if isinstance(role, str) else _type(role)
        raise InvalidRequest(f"{path}.role: {given} given; it must be one of {', '.join(ROLES)}")
    content = message.get("content")
    if isinstance(content, list):
        for index, part in enumerate(content):
            _check_part(part, f"{path}.content[{index}]")
    elif content is None:
        # Only a message that calls a tool, or reports one's refusal, may say nothing.
        if role != "assistant":
            raise InvalidRequest(f"{path}.content: missing; it must be text or a list of parts")
    elif not isinstance(content, str):
        raise InvalidRequest(f"{path}.content: {_type(content)} given; it must be text or a list of parts")
    for key in ("name", "tool_call_id"):
        _check_optional_text(message.get(key), f"{path}.{key}")
    _check_tool_calls(message.get("tool_calls"), f"{path}.tool_calls")


def _check_part(part: object, path: str) -> None:
    if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
        raise InvalidRequest(f"{path}: a part of a message is a mapping with a type, such as text or image_url")
    if part["type"] == "text" and not isinstance(part.get("text"), str):
        raise InvalidRequest(f"{path}.text: {_type(part.get('text'))} given; it must be text")
    if part["type"] == "image_url":
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, Mapping) else image
        if not isinstance(url, str):
            raise InvalidRequest(f"{path}.image_url.url: {_type(url)} given; it must be a data: URL")


def _check_tool_calls(calls: object, path: str) -> None:
    if calls is None:
        return
    if not isinstance(calls, list | tuple):
        raise InvalidRequest(f"{path}: {_type(calls)} given; it must be a list")
    for index, call in enumerate(calls):
        function = call.get("function") if isinstance(call, Mapping) else None
        _check_optional_text(call.get("id") if isinstance(call, Mapping) else None, f"{path}[{index}].id")
        for key in ("name", "arguments"):
            value = function.get(key) if isinstance(function, Mapping) else None
            if not isinstance(value, str):
                raise InvalidRequest(f"{path}[{index}].function.{key}: {_type(value)} given; it must be text")


def _check_optional_text(value: object, path: str) -> None:
    if value is not None and not isinstance(value, str):
        raise InvalidRequest(f"{path}: {_type(value)} given; it must be text")


def _check_tools(tools: object) -> None:
    if tools is None:
        return
    if not isinstance(tools, list | tuple):
        raise InvalidRequest(f"tools: {_type(tools)} given; it must be a list of function definitions")
    _check_json(tools, "tools")
    for index, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise InvalidRequest(f"tools[{index}].function.name: missing; each tool is a function with a name")


def _check_options(options: object) -> None:
    if options is None:
        return
    if not isinstance(options, Mapping):
        raise InvalidRequest(f"options: {_type(options)} given; it must be a mapping")
    _check_json(options, "options")
    for name in options:
        if name not in KNOWN_OPTIONS:
            hint = did_you_mean(name, KNOWN_OPTIONS) or f"known are {', '.join(sorted(KNOWN_OPTIONS))}"
            raise InvalidRequest(f"options.{name[:40]}: unknown; {hint}")


def _check_json(value: object, path: str, depth: int = 0) -> None:
    """Refuse what can't travel as JSON in UTF-8."""
    if depth > MAX_DEPTH:
        raise InvalidRequest(f"{path}: nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, str):
        position = _lone_surrogate(value)
        if position is not None:
            raise InvalidRequest(
                f"{path}: a lone surrogate (U+{ord(value[position]):04X}) at character {position} is not Unicode text; "
                "remove it, or decode the text with errors='replace'"
            )
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise InvalidRequest(f"{path}: a key of type {_type(key)}; keys must be text")
            # A key of the caller's own may hold anything: it is checked before it is part of a path.
            _check_json(key, f"a key in {path}", depth)
            _check_json(item, f"{path}.{key[:40]}", depth + 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check_json(item, f"{path}[{index}]", depth + 1)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidRequest(f"{path}: {value} is no number in JSON")
    elif value is not None and not isinstance(value, bool | int):
        raise InvalidRequest(f"{path}: {_type(value)} given; it can't be sent as JSON")


def _lone_surrogate(text: str) -> int | None:
    if text.isascii():  # known without reading the text: images in base64 cost nothing
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None


def _type(value: object) -> str:
    return "nothing" if value is None else type(value).__name__
