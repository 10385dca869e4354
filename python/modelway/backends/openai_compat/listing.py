"""What servers that speak OpenAI's protocol tell of their models in ``/v1/models``.

The protocol knows an ``id``; the rest is each server's own. Known here: vLLM (``max_model_len``), llama.cpp's server
(``meta``, and ``models`` beside ``data``), LM Studio (in full at ``/api/v0``, of which its ``/v1`` keeps the ids),
OpenRouter (``context_length``, ``architecture``). What none of them says stays unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from modelway.backends.base import ServedModel, parameters_label
from modelway.backends.wire.records import count, objects, part, told, words
from modelway.origin import Origin

#: What a model was loaded with stands before what it was made for.
_CONTEXT_KEYS = (
    "n_ctx", "loaded_context_length", "n_ctx_train", "max_model_len", "context_length", "max_context_length",
)  # fmt: skip
#: LM Studio's kinds of models, in Ollama's words.
_KINDS = {"vlm": "vision", "embeddings": "embedding"}


def served_models(listed: Mapping[str, Any], origin: Origin) -> list[ServedModel]:
    """The models of an answer to ``/v1/models``; a list that is none is ``malformed``."""
    beside = {str(entry.get("model")): entry for entry in _beside(listed)}
    return [
        _served(name, entry, beside.get(name, {}))
        for entry in objects(listed, "data", origin)
        if (name := told(entry, "id"))
    ]


def _beside(listed: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """llama.cpp's second list, in Ollama's shape but nearly empty; ``multimodal`` stands only there."""
    entries = listed.get("models")
    return (entry for entry in (entries if isinstance(entries, list) else []) if isinstance(entry, dict))


def _served(name: str, entry: Mapping[str, Any], beside: Mapping[str, Any]) -> ServedModel:
    meta, architecture = part(entry, "meta"), part(entry, "architecture")
    contexts = (count(place, key) for place in (meta, entry) for key in _CONTEXT_KEYS)
    return ServedModel(
        name=name,
        capabilities=frozenset(_capabilities(entry, beside, architecture)),
        max_context=next((context for context in contexts if context), None),
        size_bytes=count(meta, "size") or None,
        quantization=told(meta, "ftype") or told(entry, "quantization"),
        parameters=parameters_label(count(meta, "n_params") or 0),
        family=told(entry, "arch"),
    )


def _capabilities(
    entry: Mapping[str, Any], beside: Mapping[str, Any], architecture: Mapping[str, Any]
) -> Iterator[str]:
    if "image" in words(architecture, "input_modalities") or "multimodal" in words(beside, "capabilities"):
        yield "vision"
    if "tool_use" in words(entry, "capabilities"):
        yield "tools"
    kind = entry.get("type")
    if isinstance(kind, str) and kind in _KINDS:
        yield _KINDS[kind]
