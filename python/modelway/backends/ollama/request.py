"""OpenAI's chat messages and options as an Ollama ``/api/chat`` body. Pure.

What Ollama can't express is refused (a picture behind a URL: nobody here fetches it) or left out and
named by ``left_out``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from modelway.backends.base import ChatCall, LoadCall
from modelway.backends.wire.records import parse
from modelway.origin import Origin

_OPTIONS = {
    "max_tokens": "num_predict", "temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p",
    "seed": "seed", "presence_penalty": "presence_penalty", "frequency_penalty": "frequency_penalty",
    "repeat_penalty": "repeat_penalty",
}  # fmt: skip

#: Change them and the server loads the model anew, for everybody; num_ctx comes from the configuration.
_RELOADING = frozenset({
    "num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict",
})  # fmt: skip
#: Not a request's to decide: residency, silent cutting, and which reload-forcing mode the server is in.
_OURS = frozenset({"keep_alive", "truncate", "shift", "stream", "model", "messages"})


def chat_body(call: ChatCall, name: str, origin: Origin) -> dict[str, Any]:
    """The body; raises kind ``rejected`` where a message has no equivalent."""
    given = call.options
    extra = dict(call.extra) if call.extra_protocol == "ollama" else {}
    extra_options = extra.pop("options", None)
    options = {key: value for key, value in (extra_options or {}).items() if key not in _RELOADING}
    options |= {ours: given[key] for key, ours in _OPTIONS.items() if given.get(key) is not None}
    if (stop := given.get("stop")) is not None:
        options["stop"] = [stop] if isinstance(stop, str) else list(stop)
    if call.num_ctx is not None:
        options["num_ctx"] = call.num_ctx

    body = {key: value for key, value in extra.items() if key not in _OURS}
    body |= {
        "model": name,
        "messages": list(_messages(call, origin)),
        "stream": True,
        # Never cut silently: too long is an error that the caller sees.
        "truncate": False,
    }
    if options:
        body["options"] = options
    if call.tools and given.get("tool_choice") != "none":
        body["tools"] = list(call.tools)
    if (form := _format(given.get("response_format"))) is not None:
        body["format"] = form
    if (think := given.get("think")) is not None:
        body["think"] = think
    return body


def load_body(call: LoadCall, name: str) -> dict[str, Any]:
    """The body that loads a model: a conversation without messages, with the options of an ordinary request, as
    others would have it loaded anew by the next."""
    body: dict[str, Any] = {"model": name, "messages": [], "stream": False}
    return body if call.num_ctx is None else body | {"options": {"num_ctx": call.num_ctx}}


def unload_body(name: str) -> dict[str, Any]:
    """The body that has a model unloaded as soon as nobody uses it."""
    return {"model": name, "messages": [], "stream": False, "keep_alive": 0}


def left_out(call: ChatCall) -> tuple[str, ...]:
    """The options and extra fields that this protocol can't express or that a request may not set."""
    names = [key for key in ("logprobs", "top_logprobs") if call.options.get(key)]
    if call.options.get("tool_choice") not in (None, "auto", "none"):
        names.append("tool_choice")
    if call.extra_protocol == "ollama":
        names += [key for key in call.extra if key in _OURS]
        names += [f"options.{key}" for key in call.extra.get("options") or {} if key in _RELOADING]
    else:
        names += call.extra
    return tuple(names)


def _messages(call: ChatCall, origin: Origin) -> Iterator[dict[str, Any]]:
    called: dict[str, str] = {}
    for message in call.messages:
        role = message["role"]
        text, images = _content(message.get("content"), origin)
        out: dict[str, Any] = {"role": "system" if role == "developer" else role, "content": text}
        if images:
            out["images"] = images
        for key in ("reasoning_content", "reasoning", "thinking"):
            if isinstance(thought := message.get(key), str) and thought:
                out["thinking"] = thought
                break
        if calls := message.get("tool_calls"):
            out["tool_calls"] = [_tool_call(entry, called, origin) for entry in calls]
        if role == "tool":
            identity = message.get("tool_call_id")
            if tool := message.get("name") or called.get(identity or ""):
                out["tool_name"] = tool
            if identity:
                out["tool_call_id"] = identity
        yield out


def _content(content: Any, origin: Origin) -> tuple[str, list[str]]:
    """Text, and images as bare base64."""
    if content is None:
        return "", []
    if isinstance(content, str):
        return content, []
    texts: list[str] = []
    images: list[str] = []
    for part in content:
        match part.get("type"):
            case "text":
                texts.append(part["text"])
            case "image_url":
                images.append(_image(part["image_url"], origin))
            case other:
                raise origin.error("rejected", f"Ollama takes text and images; a part of type {other!r} was given")
    return "\n".join(texts), images


def _image(given: Any, origin: Origin) -> str:
    url = given["url"] if isinstance(given, Mapping) else given
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        raise origin.error("rejected", "pictures are not fetched; send it inside the message as data:image/…;base64,…")
    return str(data)


def _tool_call(entry: Mapping[str, Any], called: dict[str, str], origin: Origin) -> dict[str, Any]:
    function = entry["function"]
    name, arguments = function["name"], function.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = parse(arguments.encode())
        except ValueError:
            arguments = None
    if not isinstance(arguments, Mapping):
        raise origin.error("rejected", f"the arguments of a call of tool {name!r} in the history are no JSON object")
    out: dict[str, Any] = {"function": {"name": name, "arguments": dict(arguments)}}
    if identity := entry.get("id"):
        called[identity] = name
        out["id"] = identity
    return out


def _format(response_format: Any) -> Any:
    """``"json"``, a schema, or None."""
    if not isinstance(response_format, Mapping):
        return response_format
    match response_format.get("type"):
        case "json_object":
            return "json"
        case "json_schema":
            return response_format["json_schema"]["schema"]
        case _:
            return None
