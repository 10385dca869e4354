"""Configurations, as TOML text, that route to a mock server."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelway.backends.mock import MultiModelMockBackend


def mock_config(
    server: MultiModelMockBackend,
    *,
    defaults: Mapping[str, str] | None = None,
    fallbacks: Mapping[str, Sequence[str]] | None = None,
    kind: str = "ollama",
    backend: str = "mock",
    manages_memory: bool = False,
    warns: bool = False,
) -> str:
    """TOML text that declares every model of ``server`` with what its mock configuration says of it.

    ``defaults`` maps a task (code, math, ...) to a model; without it the first model is the default for
    ``general``. ``kind`` is the protocol to speak to the server: ``ollama`` or ``openai``. Unless it
    ``manages_memory`` the server sees no request but those that are made, and the text has a table ``[memory]``; unless
    it ``warns`` answers come without labels, and the text has a table ``[warnings]``. It can be continued with
    tables of one's own. Raises ``ValueError`` for a model the server does not have.
    """
    if defaults is None:
        defaults = {"general": next(iter(server.models))}
    for task, model in defaults.items():
        if model not in server.models:
            raise ValueError(f"mock_config: defaults[{task!r}] = {model!r} is none of {', '.join(server.models)}")
    lines = [] if manages_memory else ["[memory]", "manage = false"]
    lines += [] if warns else ["[warnings]", "math = false", "code = false", "high_stakes = false"]
    lines += ["[defaults]", *(f"{task} = {_toml(model)}" for task, model in defaults.items())]
    if fallbacks:
        lines += ["[fallbacks]", *(f"{_toml(name)} = {_toml(list(chain))}" for name, chain in fallbacks.items())]
    lines += ["[[backends]]", f"name = {_toml(backend)}", f"kind = {_toml(kind)}", f"url = {_toml(server.url)}"]
    for name, config in server.models.items():
        lines += [
            "[[models]]",
            f"id = {_toml(name)}",
            f"backend = {_toml(backend)}",
            f"max_context = {config.max_context}",
            f"supports_tools = {_toml(config.can('tools'))}",
        ]
        if config.can("vision"):
            lines.append(f"capabilities = {_toml(['TextGeneration', 'VisionInput'])}")
    return "\n".join(lines) + "\n"


def _toml(value: str | bool | list[str]) -> str:
    """JSON's strings, booleans and lists of strings are TOML's, but for DEL, which TOML wants escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
