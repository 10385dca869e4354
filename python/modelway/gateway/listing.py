"""The lists of what can be asked: ``auto`` first, then ``auto:TASK``, then the models on this device.

Models elsewhere are not listed: nothing may be sent to them, so no program should offer them.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, Any

from modelway.errors import UnknownModel
from modelway.gateway.asked import model_choice
from modelway.router import ModelRouter
from modelway.types import ModelCapability, ModelProfile, TaskClass

if TYPE_CHECKING:
    from modelway.config.settings import ResolvedModel

#: Embedding is a class of its own, but no model is served for it.
AUTO_NAMES = ("auto", *(f"auto:{task}" for task in TaskClass.all() if task != TaskClass.Embedding))

_OLLAMA_CAPABILITIES = {
    ModelCapability.TextGeneration: "completion",
    ModelCapability.ToolUse: "tools",
    ModelCapability.VisionInput: "vision",
}


def openai_models(router: ModelRouter, since: datetime) -> dict[str, Any]:
    """The answer to ``GET /v1/models``; ``since`` is when the gateway started, the only age known of a model."""
    entries = [_openai_entry(name, "modelway", since) for name in AUTO_NAMES]
    entries += [_openai_entry(profile.model_id, profile.backend_id, since) for profile in _on_device(router)]
    return {"object": "list", "data": entries}


def openai_model(router: ModelRouter, name: str, since: datetime) -> dict[str, Any]:
    """The answer to ``GET /v1/models/{name}``; an alias gives its model's entry. Raises :class:`UnknownModel`."""
    model, _ = model_choice({"model": name})
    if model is None:
        return _openai_entry(name, "modelway", since)
    model_id = router.resolve(model)
    for profile in _on_device(router):
        if profile.model_id == model_id:
            return _openai_entry(model_id, profile.backend_id, since)
    raise UnknownModel(f"model {name!r} is not on this device, so nothing is sent to it", name)


def ollama_tags(router: ModelRouter, since: datetime) -> dict[str, Any]:
    """The answer to ``GET /api/tags``."""
    facts = {model.id: model for model in router.settings.models}
    entries = [_ollama_entry(name, None, None, since) for name in AUTO_NAMES]
    entries += [
        _ollama_entry(profile.model_id, profile, facts.get(profile.model_id), since) for profile in _on_device(router)
    ]
    return {"models": entries}


def _on_device(router: ModelRouter) -> list[ModelProfile]:
    return [profile for profile in router.profiles.values() if str(profile.location) == "device"]


def _openai_entry(name: str, owner: str, since: datetime) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": int(since.timestamp()), "owned_by": owner}


def _ollama_entry(
    name: str, profile: ModelProfile | None, facts: ResolvedModel | None, since: datetime
) -> dict[str, Any]:
    details: dict[str, Any] = {
        "parent_model": "",
        "format": "",
        "family": (facts and facts.family) or "",
        "families": None,
        "parameter_size": (facts and facts.parameters) or "",
        "quantization_level": (facts and facts.quantization) or "",
    }
    capabilities = ["completion"]
    if profile is not None:
        capabilities = [word for known, word in _OLLAMA_CAPABILITIES.items() if known in profile.capabilities]
        if profile.max_context is not None:
            details["context_length"] = profile.max_context
    return {
        "name": name,
        "model": name,
        "modified_at": since.isoformat().replace("+00:00", "Z"),
        "size": (facts and facts.size_bytes) or (profile and profile.memory_bytes) or 0,
        # Clients cut and compare it without looking, so it must be there: a hash of the name, not of a file.
        "digest": hashlib.sha256(name.encode()).hexdigest(),
        "details": details,
        "capabilities": capabilities,
    }
