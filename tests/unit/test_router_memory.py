"""What the core is told of memory: what is written, what is managed, and sizes that can be tried."""

from __future__ import annotations

from typing import Any

import pytest

from modelway.config import Config
from modelway.config.sections import ModelConfig
from modelway.config.settings import Settings, resolve
from modelway.errors import ConfigError
from modelway.router import ManagedMemory, ModelRouter, for_core

BOX = '[[backends]]\nname = "box"\nkind = "ollama"\n'


def settings(text: str, **estimated: int) -> Settings:
    """``estimated``: sizes that discovery has found."""
    config = Config.from_toml(text)
    start = len(config.models)
    models = [ModelConfig(id=name, memory_bytes=size) for name, size in estimated.items()]
    found = {f"models[{start + i}].memory_bytes": "estimated" for i in range(len(models))}
    return resolve(config.with_found_models((*config.models, *models), found))


def sizes(core: dict[str, Any]) -> dict[str, int | None]:
    return {model["id"]: model["memory_bytes"] for model in core["models"]}


def model(name: str, size: int, more: str = "") -> str:
    return f'[[models]]\nid = "{name}"\nmemory_bytes = {size}\n{more}\n'


WRITTEN, MEASURED = BOX + "memory_bytes = 10\n", {"box": ManagedMemory(10, computes_alone=True)}


@pytest.mark.parametrize(
    ("text", "estimated", "managed", "expected"),
    [
        (BOX + model("a", 20), {}, {}, {"a": 20}),
        (BOX + model("a", 20), {}, MEASURED, {"a": 10}),
        (BOX + model("a", 5), {}, MEASURED, {"a": 5}),
        (BOX + '[[models]]\nid = "a"', {}, MEASURED, {"a": None}),
        (WRITTEN, {"a": 20}, {}, {"a": 10}),
        (WRITTEN + model("a", 20), {}, {}, {"a": 20}),
        (WRITTEN + model("pin", 4, "pinned = true"), {"a": 20}, {}, {"pin": 4, "a": 6}),
        (BOX + model("pin", 20, "pinned = true"), {"a": 20}, MEASURED, {"pin": 10, "a": 0}),
    ],
)
def test_sizes(text: str, estimated: dict[str, int], managed: dict[str, ManagedMemory], expected: object) -> None:
    assert sizes(for_core(settings(text, **estimated), managed)) == expected


def test_what_is_written_too_large_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"models\[0\]\.memory_bytes"):
        ModelRouter(Config.from_toml(WRITTEN + model("a", 20)))


def test_what_is_written_of_a_backend_stands_before_what_was_measured() -> None:
    managed = {"box": ManagedMemory(99, computes_alone=True)}
    (box,) = for_core(settings(WRITTEN + "[memory]\nmax_wait_s = 1.5\n"), managed)["backends"]
    assert (box["memory_bytes"], box["is_managed"], box["computes_alone"], box["max_wait_ms"]) == (10, True, True, 1500)
    (box,) = for_core(settings(WRITTEN))["backends"]
    assert "is_managed" not in box


def test_what_is_managed_stays_so_under_other_configurations_and_ends_at_a_word() -> None:
    router = ModelRouter(Config.from_toml(BOX + model("a", 5)))
    assert router.memory("box") == (None, 0)
    router.manage(MEASURED)
    router.replace_config(Config.from_toml(BOX + model("b", 5)))
    assert router.memory("box") == (10, 0)
    router.manage({})
    assert router.memory("box") == (None, 0)
