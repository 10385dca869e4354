"""Ollama's routes: how requests are read and refused, and what the server tells of its models."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from modelway.backends.mock.config import MockModelConfig
from modelway.backends.mock.keep_alive import keep_alive_seconds
from modelway.backends.mock.ollama_wire import OllamaDialect, timestamp
from modelway.backends.mock.wire import Ask, Refusal, tokens_in

#: Options and the types Ollama wants; an unknown name is ignored, a wrong type is an error.
OPTION_TYPES: dict[str, str] = {
    **dict.fromkeys(
        ["num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "num_keep", "num_predict", "seed", "top_k"],
        "integer",
    ),
    **dict.fromkeys(["repeat_last_n", "draft_num_predict"], "integer"),
    **dict.fromkeys(["temperature", "top_p", "min_p", "typical_p", "repeat_penalty"], "float32"),
    **dict.fromkeys(["presence_penalty", "frequency_penalty"], "float32"),
    "use_mmap": "boolean",
    "stop": "array",
}
#: Options that a model is loaded with, beside its context: another value is another load.
RELOADING = ("num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict")

_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int, float), "float32": (int, float), "boolean": (bool,), "array": (list,),
}  # fmt: skip

CLOUD_HOST = "https://ollama.com:443"
VISION_LACKING = "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"


def with_tag(name: str) -> str:
    """The name as Ollama lists it: ``m`` is ``m:latest``."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def is_cloud(name: str) -> bool:
    """A name that a local server passes on to the cloud, whatever is installed."""
    return name.endswith(":cloud") or (":" in name and name.endswith("-cloud"))


def find(models: Mapping[str, MockModelConfig], asked: object) -> str:
    """The key in ``models`` that the name means. Raises Refusal as the real server refuses it."""
    if asked is None or asked == "":
        raise Refusal(400, "model is required")
    if not isinstance(asked, str):
        raise Refusal(400, "json: cannot unmarshal into Go struct field .model of type string")
    base = asked.removesuffix(":local")
    local = base != asked
    if local and is_cloud(base):
        raise Refusal(400, f'use either :local or :cloud, not both: "{asked}"')
    wanted = with_tag(base).lower().removeprefix("registry.ollama.ai/").removeprefix("library/")
    found = next((name for name in models if with_tag(name).lower() == wanted), None)
    if found is None and is_cloud(base):
        raise Refusal(502, "cloud is not reachable")
    if found is None or (local and remote_host(found, models[found])):
        raise Refusal(404, f"model '{base}' not found")
    return found


def remote_host(name: str, config: MockModelConfig) -> str | None:
    """Where a cloud model really runs."""
    return config.remote_host or (CLOUD_HOST if is_cloud(name) else None)


@dataclass(frozen=True, slots=True)
class OllamaRoute:
    """``/api/chat``, or ``/api/generate`` where ``generates``."""

    generates: bool = False
    protocol: str = "ollama"

    def find(self, models: Mapping[str, MockModelConfig], asked: object) -> str:
        return find(models, asked)

    def error(self, status: int, message: str, **extra: Any) -> dict[str, Any]:
        return {"error": message, **extra}

    def understand(self, name: str, config: MockModelConfig, body: dict[str, Any]) -> Ask:
        """Read a request to a model that is there. Raises Refusal."""
        messages = _messages(body)
        texts = [message.get("content") or "" for message in messages]
        if self.generates:
            texts = [text for text in (body.get("system"), body.get("prompt")) if isinstance(text, str)]
        thinks = self._thinks(body, config, name)
        if body.get("tools") and not config.can("tools"):
            raise Refusal(400, f"registry.ollama.ai/library/{with_tag(name)} does not support tools")
        if not config.can("completion"):
            raise Refusal(400, f'"{body["model"]}" does not support {"generate" if self.generates else "chat"}')
        images = [image for source in [body, *messages] for image in source.get("images") or []]
        if images and not config.can("vision"):
            # The runner's own error, passed on as text.
            inner = {"error": {"code": 500, "message": VISION_LACKING, "type": "server_error"}}
            raise Refusal(500, orjson.dumps(inner).decode())
        options = _options(body)
        try:
            keep_alive_s = keep_alive_seconds(body.get("keep_alive"))
        except ValueError as error:
            raise Refusal(400, str(error)) from None
        silent = not (body.get("prompt") if self.generates else messages)
        limit = options.get("num_predict", -1)
        context = int(min(options.get("num_ctx", config.max_context), config.max_context))
        return Ask(
            stream=not silent and body.get("stream") is not False,
            dialect=OllamaDialect(
                asked=body["model"],
                generates=self.generates,
                remote_host=remote_host(name, config),
                done_reason=("unload" if keep_alive_s == 0 else "load") if silent else None,
                raw=bool(body.get("raw")),
            ),
            prompt_tokens=_fitting(texts, context, body),
            limit=int(limit) if limit >= 0 else None,
            thinks=thinks,
            wants_tool=bool(body.get("tools") and messages and messages[-1].get("role") != "tool"),
            silent=silent,
            keep_alive_s=keep_alive_s,
            setup=(("num_ctx", context), *((name, options[name]) for name in RELOADING if name in options)),
        )

    def _thinks(self, body: dict[str, Any], config: MockModelConfig, name: str) -> bool:
        think = body.get("think")
        if not (think is None or isinstance(think, bool) or think in {"low", "medium", "high", "max"}):
            raise Refusal(400, 'invalid think value (must be "high", "medium", "low", "max", true, or false)')
        if think and not config.can("thinking"):
            raise Refusal(400, f'"{body["model"]}" does not support thinking')
        return think is not False and config.can("thinking")


def _messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    messages = body.get("messages") or []
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise Refusal(400, "json: cannot unmarshal into Go struct field ChatRequest.messages of type []api.Message")
    for message in messages:
        if not isinstance(message.get("content", ""), str | None):
            raise Refusal(
                400, "json: cannot unmarshal array into Go struct field ChatRequest.messages.content of type string"
            )
        for call in message.get("tool_calls") or []:
            if not isinstance(call.get("function", {}).get("arguments", {}), dict):
                raise Refusal(400, "json: cannot unmarshal string into Go struct field .arguments of type map")
        if any(image.startswith("data:") for image in message.get("images") or []):
            raise Refusal(400, "illegal base64 data at input byte 4")
    return messages


def _options(body: dict[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = body.get("options") or {}
    for option, value in options.items():
        wanted = OPTION_TYPES.get(option)
        if wanted is None or value is None:
            continue
        if not isinstance(value, _PYTHON_TYPES[wanted]) or (isinstance(value, bool) and wanted != "boolean"):
            raise Refusal(500, f'option "{option}" must be of type {wanted}')
    return {option: value for option, value in options.items() if value is not None}


def _fitting(texts: list[str], window: int, body: dict[str, Any]) -> int:
    """The prompt's tokens. Too many are cut silently, as the real server does, unless told not to."""
    tokens = tokens_in(texts)
    if tokens > window and body.get("truncate") is False:
        message = f"request ({tokens} tokens) exceeds the available context size ({window} tokens), try increasing it"
        inner = {"code": 400, "message": message, "type": "exceed_context_size_error"}
        text = orjson.dumps({"error": inner | {"n_prompt_tokens": tokens, "n_ctx": window}})
        raise Refusal(400, text.decode())
    return min(tokens, window)


def tags_entry(name: str, config: MockModelConfig) -> dict[str, Any]:
    """One model of ``/api/tags``."""
    entry: dict[str, Any] = {"name": with_tag(name), "model": with_tag(name)}
    if host := remote_host(name, config):
        entry |= {"remote_model": name.partition(":")[0], "remote_host": host}
    entry |= {
        "modified_at": timestamp(time.time_ns()).replace("Z", "+00:00"),
        "size": 0 if host else config.size_bytes,
        "digest": _digest(name, config),
        "details": _details(config),
    }
    if config.capabilities_in_tags:
        entry["capabilities"] = config.all_capabilities
        entry["details"] |= {"context_length": config.max_context, "embedding_length": 4096}
    return entry


def show_entry(name: str, config: MockModelConfig) -> dict[str, Any]:
    """The answer of ``/api/show``."""
    entry: dict[str, Any] = {
        "modelfile": f"FROM {with_tag(name)}",
        "template": "{{ .Prompt }}",
        "details": _details(config),
        "model_info": {
            "general.architecture": "llama",
            "llama.context_length": config.max_context,
            "llama.embedding_length": 4096,
            "tokenizer.ggml.tokens": None,
        },
        "capabilities": config.all_capabilities,
        "modified_at": timestamp(time.time_ns()).replace("Z", "+00:00"),
    }
    if config.license_text is not None:
        entry["license"] = config.license_text
    if host := remote_host(name, config):
        entry |= {"remote_model": name.partition(":")[0], "remote_host": host}
    return entry


def ps_entry(name: str, config: MockModelConfig, expires_in_s: float, context: int) -> dict[str, Any]:
    """One model of ``/api/ps``; one that stays for ever shows a date about 292 years ahead."""
    left_ns = int(min(expires_in_s, 9_223_372_036.0) * 1e9)
    return {
        "name": with_tag(name),
        "model": with_tag(name),
        "size": config.size_bytes,
        "digest": _digest(name, config),
        "details": _details(config),
        "expires_at": timestamp(time.time_ns() + left_ns).replace("Z", "+00:00"),
        "size_vram": config.vram_bytes,
        "context_length": context,
    }


def _details(config: MockModelConfig) -> dict[str, Any]:
    return {
        "parent_model": "",
        "format": "gguf",
        "family": "llama",
        "families": None,
        "parameter_size": "7.6B",
        "quantization_level": "Q4_K_M",
        **config.details,
    }


def _digest(name: str, config: MockModelConfig) -> str:
    """Another one for another model, also under the same name."""
    facts = (name, config.max_context, config.all_capabilities, config.license_text, dict(config.details))
    return hashlib.sha256(repr(facts).encode()).hexdigest()
