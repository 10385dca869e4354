"""What servers load and unload by themselves, or for others, is noticed and not fought."""

from __future__ import annotations

import pytest
from residency_kit import GB, Box, broken, config_text

from modelway.backends.base import RunningModel
from modelway.config import Config
from modelway.residency.machine import Machine
from modelway.residency.names import Names
from modelway.types import RequestOutcome

TWO = config_text(10, a=6, b=6)


async def test_what_is_there_already_is_known_from_the_start() -> None:
    box = Box(TWO)
    box.backend.there = {"A:latest": 7 * GB, "of somebody else": GB}
    async with box:
        assert box.held() == {"a": "ready"}
        assert box.router.memory("box") == (10 * GB, 7 * GB)
        permit = box.ask("a")
        assert not permit.is_waiting
        permit.finish(RequestOutcome(True))
        assert box.backend.done == []


async def test_what_has_gone_is_loaded_again_for_the_next_request() -> None:
    async with Box(TWO) as box:
        await box.serve("a")
        box.backend.there.clear()
        await box.manager.look("box")
        assert box.held() == {}
        await box.serve("a")
        assert box.backend.done == [("load", "a")] * 2


async def test_what_somebody_else_has_loaded_has_its_place() -> None:
    async with Box(TWO) as box:
        box.backend.there = {"b": 6 * GB}
        await box.manager.look("box")
        assert box.held() == {"b": "ready"}
        await box.serve("a")
        assert box.backend.done == [("unload", "b"), ("load", "a")]


async def test_a_model_that_has_grown_is_counted_anew_and_one_that_has_shrunk_is_not() -> None:
    async with Box(TWO) as box:
        await box.serve("a")
        for size, counted in ((7 * GB, 7 * GB), (6 * GB, 7 * GB)):
            box.backend.there["a"] = size
            await box.manager.look("box")
            assert box.router.memory("box") == (10 * GB, counted)


async def test_a_server_that_can_not_be_asked_changes_nothing() -> None:
    async with Box(TWO) as box:
        await box.serve("a")
        box.backend.there.clear()
        box.backend.cannot_tell = True
        await box.manager.look("box")
        assert box.held() == {"a": "ready"}


async def test_what_did_not_go_is_seen_to_be_there() -> None:
    async with Box(TWO) as box:
        await box.serve("a")
        box.backend.fails = {"a": [broken("a")]}
        await box.serve("b")
        await box.steps()
        assert box.held() == {"a": "ready", "b": "ready"}
        await box.serve("a")


async def test_an_answer_older_than_an_action_is_not_held_against_it() -> None:
    async with Box(TWO) as box:
        box.backend.go.clear()
        permit = box.ask("a")
        await box.steps()
        await box.manager.look("box")
        assert box.held() == {"a": "loading"}, "it is on its way and not listed yet"
        box.backend.go.set()
        await permit.granted()
        box.manager._compare("box", [], asked_at=0.0)
        assert box.held() == {"a": "ready"}
        permit.finish(RequestOutcome(True))


async def test_a_backend_that_a_new_configuration_brings_is_managed_from_the_next_look_on() -> None:
    async with Box(config_text(None, a=6)) as box:
        assert box.router.managed == {}
        box.router.replace_config(Config.from_toml(TWO))
        await box.manager.look("box")
        assert set(box.router.managed) == {"box"}
        await box.serve("a")
        box.router.replace_config(Config.from_toml(config_text(10, "[memory]\nmanage = false\n", a=6, b=6)))
        await box.manager.look("box")
        assert box.router.managed == {}
        await box.serve("b")
        assert box.backend.done == [("load", "a")]


async def test_after_a_load_that_a_new_configuration_overtook_the_server_in_force_is_asked(monkeypatch) -> None:
    async with Box(TWO) as box:
        box.backend.go.clear()
        box.waiters.apply(box.router.preload("a"))
        await box.steps()

        async def nothing() -> list[RunningModel]:
            return []

        monkeypatch.setattr(box.backend, "running", nothing)  # that of the new server
        box.router.replace_config(Config.from_toml(TWO.replace("127.0.0.1:9", "127.0.0.1:10")))
        box.backend.go.set()
        await box.steps()
        assert box.router.reports == [("loaded", "a"), ("unloaded", "a")]
        assert box.held() == {}


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("llama3:latest", ["ours", "twin"]),
        ("LLAMA3", ["ours", "twin"]),
        ("library/llama3", ["ours", "twin"]),
        ("mine", []),
        ("file", ["file"]),
    ],
)
def test_whose_a_name_is(name: str, ids: list[str]) -> None:
    text = config_text() + "".join(
        f'[[models]]\nid = "{id_}"\nbackend = "{backend}"\n{more}\n'
        for id_, backend, more in (
            ("ours", "box", 'name = "llama3"'),
            ("twin", "box", 'name = "Llama3:latest"'),
            ("mine", "other", 'name = "llama3"'),
        )
    )
    text += '[[backends]]\nname = "other"\nkind = "ollama"\n[[backends]]\nname = "files"\nkind = "llama_cpp"\n'
    text += '[[models]]\nid = "file"\nbackend = "files"\npath = "x.gguf"\nname = "another"\n'
    box = Box(text, Machine(None, has_gpu=False))
    assert Names(box.router.settings.models, "files" if name == "file" else "box").of(name) == ids
