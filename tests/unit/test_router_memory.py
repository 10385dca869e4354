"""What the core is told of memory: what is written, what is managed, and sizes that can be tried."""

from __future__ import annotations

from typing import Any

import pytest

from modelway.config import Config
from modelway.config.sections import ModelConfig
from modelway.config.settings import Settings, resolve
from modelway.errors import ConfigError
from modelway.router import CoreRouter, ManagedMemory, ModelRouter, for_core

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


FILES = '[[backends]]\nname = "files"\nkind = "llama_cpp"\n'


def shared(capacity: int) -> dict[str, ManagedMemory]:
    return {name: ManagedMemory(capacity, computes_alone=False, device="machine") for name in ("box", "files")}


def two_backends(more: str = "") -> str:
    return BOX + FILES + model("a", 6, 'backend = "box"') + model("b", 6, 'backend = "files"\npath = "b.gguf"') + more


def test_backends_of_which_nothing_is_written_share_the_machine() -> None:
    router = ModelRouter(Config.from_toml(two_backends()))
    router.manage(shared(10))
    assert [router.device(name) for name in ("box", "files")] == ["machine", "machine"]
    assert router.admit("a").effects.load == ("a",)
    assert router.admit("b").effects.load == ()
    router.model_loaded("a")
    assert [router.memory(name) for name in ("box", "files")] == [(10, 6), (10, 6)]
    assert [[one.model for one in router.residents(name)] for name in ("box", "files")] == [["a"], []]
    memory = [limit for limit in router.limits() if limit["what"] == "memory"]
    assert [(limit["of"], limit["limit"]) for limit in memory] == [("machine", 10)]


def test_a_backend_with_memory_of_its_own_shares_nothing() -> None:
    router = ModelRouter(Config.from_toml(two_backends().replace('"ollama"\n', '"ollama"\nmemory_bytes = 7\n')))
    router.manage(shared(10))
    assert [router.device(name) for name in ("box", "files")] == ["backend box", "machine"]
    assert [router.admit(name).effects.load for name in "ab"] == [("a",), ("b",)]


def test_what_is_in_memory_stays_there_when_backends_begin_or_cease_to_share() -> None:
    router = ModelRouter(Config.from_toml(two_backends()))
    router.manage(shared(20))
    for name in "ab":
        router.model_loaded(name)
    router.manage({})
    assert [router.memory(name) for name in ("box", "files")] == [(None, 6), (None, 6)]
    router.manage(shared(10))
    assert [router.memory(name) for name in ("box", "files")] == [(10, 12), (10, 12)]


def test_a_pinned_model_of_another_backend_leaves_less_of_what_they_share() -> None:
    text = BOX + FILES + model("pin", 4, 'backend = "files"\npath = "p.gguf"\npinned = true')
    core = for_core(settings(text, a=20), shared(10))
    assert sizes(core) == {"pin": 4, "a": 6}


def test_backends_that_disagree_on_their_device_are_refused() -> None:
    managed = {"box": ManagedMemory(10, False, "machine"), "files": ManagedMemory(11, False, "machine")}
    router = ModelRouter(Config.from_toml(two_backends()))
    with pytest.raises(ValueError, match=r'"files" says of the device "machine"'):
        router.manage(managed)


@pytest.mark.parametrize(("written", "evicted"), [("", ("a",)), ("[memory]\nembedding_bytes = 0\n", ("e",))])
def test_embedding_models_have_a_part_of_their_own(written: str, evicted: tuple[str, ...]) -> None:
    text = written + BOX + model("a", 50) + model("b", 45) + model("e", 10, 'strengths = ["embedding"]')
    now_s = [0.0]
    core = for_core(settings(text), {"box": ManagedMemory(100, computes_alone=False)})
    router = CoreRouter(core, clock=lambda: now_s[0])
    for name, load_ms in [("a", 2_000.0), ("e", 100.0)]:
        router.model_loaded(name, load_ms=load_ms)
    now_s[0] = 60.0
    assert router.admit("b").effects.evicted == evicted, "of all the cheapest, of its own kind the only one"
