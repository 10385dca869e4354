"""What an Ollama server tells of its models, in ``/api/tags``, ``/api/show`` and ``/api/ps``.

The three overlap and each leaves something out, older servers more than newer ones. A field that is absent, null or
of another type is unknown: one odd model must not hide the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from modelway.backends.base import RunningModel, ServedModel
from modelway.backends.kv_cache import kv_bytes_per_token
from modelway.backends.wire.records import count, part, told, words
from modelway.privacy.licenses import gguf_license, license_words

#: What is read of licence texts: all of any model's, which may be several.
_LICENSE_CHARS = 100_000


@dataclass(frozen=True, slots=True)
class Shown:
    """What of ``/api/show`` is worth keeping: it may send megabytes."""

    capabilities: frozenset[str] = frozenset()
    max_context: int | None = None
    license: str | None = None
    remote_host: str | None = None
    quantization: str | None = None
    parameters: str | None = None
    family: str | None = None
    kv_bytes_per_token: int | None = None


def named(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those entries of a list that have a name; nobody can ask for the others."""
    return [entry for entry in entries if told(entry, "name")]


def shown_of(page: Mapping[str, Any]) -> Shown:
    """An answer of ``/api/show``."""
    details, info = part(page, "details"), part(page, "model_info")
    architecture = told(info, "general.architecture")
    return Shown(
        capabilities=frozenset(words(page, "capabilities")),
        max_context=count(info, f"{architecture}.context_length") or None,
        license=_license(page, info),
        remote_host=remote_host(page),
        quantization=told(details, "quantization_level"),
        parameters=told(details, "parameter_size"),
        family=told(details, "family") or architecture,
        kv_bytes_per_token=kv_bytes_per_token(lambda key: count(info, f"{architecture}.{key}")),
    )


def described(entry: Mapping[str, Any], shown: Shown) -> ServedModel:
    """An entry of ``/api/tags``, completed by what was shown of that model."""
    details = part(entry, "details")
    host = remote_host(entry) or shown.remote_host
    return ServedModel(
        name=entry["name"],
        capabilities=frozenset(words(entry, "capabilities")) | shown.capabilities,
        max_context=shown.max_context or count(details, "context_length") or None,
        # A model that is elsewhere has no files here: its size is given as 0 or that of a stub.
        size_bytes=None if host else count(entry, "size") or None,
        license=shown.license,
        remote_host=host,
        quantization=told(details, "quantization_level") or shown.quantization,
        parameters=told(details, "parameter_size") or shown.parameters,
        family=told(details, "family") or shown.family,
        kv_bytes_per_token=shown.kv_bytes_per_token,
    )


def _license(page: Mapping[str, Any], info: Mapping[str, Any]) -> str | None:
    """By name: of the text that came with the model, else of what its file says."""
    if text := told(page, "license"):
        return license_words(text[:_LICENSE_CHARS])
    return gguf_license(*(told(info, f"general.license{part}") for part in ("", ".name", ".link")))


def remote_host(record: Mapping[str, Any]) -> str | None:
    """Where the model really is; None: here. The one fact that is not unknown when it is odd: prompts would leave."""
    if record.get("remote_host") or record.get("remote_model"):
        return told(record, "remote_host") or "elsewhere"
    return None


def running_model(entry: Mapping[str, Any]) -> RunningModel:
    """An entry of ``/api/ps``."""
    return RunningModel(
        name=entry["name"],
        size_bytes=count(entry, "size"),
        vram_bytes=count(entry, "size_vram"),
        context=count(entry, "context_length") or None,
    )
