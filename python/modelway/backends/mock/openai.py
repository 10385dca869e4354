"""OpenAI's routes as llama.cpp's server and its like have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelway.backends.mock.config import MockModelConfig
from modelway.backends.mock.ollama import VISION_LACKING
from modelway.backends.mock.openai_wire import OpenAIDialect, error_object
from modelway.backends.mock.wire import Ask, Refusal, text_and_images, tokens_in


@dataclass(frozen=True, slots=True)
class OpenAIRoute:
    """``/v1/chat/completions``."""

    protocol: str = "openai"

    def find(self, models: Mapping[str, MockModelConfig], asked: object) -> str:
        if not isinstance(asked, str) or not asked:
            raise Refusal(400, "you must provide a model parameter")
        if asked not in models:
            raise Refusal(404, f"The model '{asked}' does not exist", code="model_not_found")
        return asked

    def error(self, status: int, message: str, **extra: Any) -> dict[str, Any]:
        return error_object(status, message, **extra)

    def understand(self, name: str, config: MockModelConfig, body: dict[str, Any]) -> Ask:
        """Read a request to a model that is there. Raises Refusal."""
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages or not all(isinstance(entry, dict) for entry in messages):
            raise Refusal(400, "'messages' must be a list of at least one object")
        read = [text_and_images(message.get("content")) for message in messages]
        if any(images for _, images in read) and not config.can("vision"):
            raise Refusal(500, VISION_LACKING)
        if body.get("tools") and not config.can("tools"):
            raise Refusal(400, "tools are not supported by this model")
        tokens = tokens_in([text for text, _ in read])
        if tokens > config.max_context:
            size = f"request ({tokens} tokens) exceeds the available context size ({config.max_context} tokens)"
            raise Refusal(
                400,
                f"{size}, try increasing it",
                type="exceed_context_size_error",
                n_prompt_tokens=tokens,
                n_ctx=config.max_context,
            )
        limit = body.get("max_completion_tokens", body.get("max_tokens"))
        if not (limit is None or isinstance(limit, int)):
            raise Refusal(400, "max_tokens must be a number")
        usage = (body.get("stream_options") or {}).get("include_usage") is True
        return Ask(
            stream=body.get("stream") is True,
            dialect=OpenAIDialect(asked=name, include_usage=usage),
            prompt_tokens=tokens,
            limit=limit if limit is not None and limit >= 0 else None,
            thinks=config.can("thinking") and body.get("reasoning_effort") != "none",
            wants_tool=bool(body.get("tools")) and messages[-1].get("role") != "tool",
            setup=(("num_ctx", config.max_context),),
        )


def models_entry(name: str, config: MockModelConfig) -> dict[str, Any]:
    """One model of ``/v1/models``; ``meta`` is llama.cpp's."""
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "modelway-mock",
        "meta": {"n_ctx_train": config.max_context, "size": config.size_bytes},
    }
