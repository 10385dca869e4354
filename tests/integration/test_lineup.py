"""A replaced configuration: backends that it does not concern go on, the others close with their last request."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conductor_kit import CODE, replies

from modelway.backends.mock import MultiModelMockBackend
from modelway.conductor.lineup import Lineup
from modelway.config import Config
from modelway.config.settings import resolve
from modelway.terminology import load_words

OLLAMA = '[[backends]]\nname = "one"\nkind = "ollama"\nurl = "http://127.0.0.1:9"\n'
OPENAI = '[[backends]]\nname = "two"\nkind = "openai"\nurl = "http://127.0.0.1:8"\n'
FILES = '[[backends]]\nname = "files"\nkind = "llama_cpp"\n'
MOCK = '[[backends]]\nname = "dry"\nkind = "mock"\n'
MODELS = (
    '[[models]]\nid = "a"\nbackend = "one"\n[[models]]\nid = "b"\nbackend = "two"\n'
    '[[models]]\nid = "c"\nbackend = "files"\npath = "c.gguf"\n[[models]]\nid = "d"\nbackend = "dry"\n'
)
ALL = OLLAMA + OPENAI + FILES + MOCK + MODELS
NAMES = ("one", "two", "files", "dry")


class Fake:
    """A backend that only counts how often it is closed; ``gate`` holds that up."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.closed = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def aclose(self) -> None:
        await self.gate.wait()
        self.closed += 1


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Fake]:
    """The backends in the order in which they were made."""
    fakes: list[Fake] = []

    def make(settings: Any, *_: Any) -> Fake:
        fakes.append(Fake(settings.name))
        return fakes[-1]

    monkeypatch.setattr("modelway.conductor.lineup.make_backend", make)
    return fakes


WORDS = load_words()
NO_CONTROL = {}.get


def lineup(text: str, before: Lineup | None = None) -> Lineup:
    settings = resolve(Config.from_toml('[defaults]\ngeneral = "a"\n' + text), {})
    made = Lineup(settings, WORDS, before, clear_control=NO_CONTROL)
    for backend in settings.backends:
        made.backend(backend.name)
    return made


@pytest.mark.parametrize(
    ("old", "new", "concerned"),
    [
        ("", "", set()),
        ("", "[health]\nfailures_to_open = 2\n", set()),
        ('id = "a"', 'id = "a"\nstrengths = ["code"]', set()),
        ('id = "a"', 'id = "a"\nname = "other"', set()),
        ('id = "c"', 'id = "c"\nstrengths = ["code"]', set()),
        ('id = "c"', 'id = "another"', {"files"}),
        ("c.gguf", "other.gguf", {"files"}),
        ('id = "d"', 'id = "d"\nmax_context = 9', {"dry"}),
        ('name = "one"', 'name = "one"\nlimits = { requests_per_minute = 9 }', set()),
        ('name = "files"', 'name = "files"\nlimits = { requests_per_minute = 9 }', set()),
        ('name = "one"', 'name = "one"\nkeep_alive_s = 9', {"one"}),
        ('name = "two"', 'name = "two"\nmax_connections = 9', {"two"}),
        ("127.0.0.1:8", "127.0.0.1:7", {"two"}),
        ('name = "files"', 'name = "files"\nthreads = 1', {"files"}),
        (MODELS, MODELS + '[[models]]\nid = "e"\nbackend = "one"\n', set()),
        ("", "[deadlines]\nfirst_token_ms = 9\n", set(NAMES)),
    ],
)
async def test_only_what_a_change_concerns_is_made_anew(made, old, new, concerned):
    first = lineup(ALL)
    second = lineup(ALL.replace(old, new) if old else new + ALL, first)
    assert {name for name in NAMES if first.backend(name) is not second.backend(name)} == concerned
    await first.retire()
    assert {fake.name for fake in made if fake.closed} == concerned
    await second.aclose()
    assert [fake.closed for fake in made] == [1] * (4 + len(concerned))


async def test_what_both_need_is_taken_over_before_the_first_closes(made):
    first = lineup(OLLAMA)
    settings = first.settings
    second = Lineup(settings, WORDS, first, clear_control=NO_CONTROL)
    await first.retire()
    assert first.closed
    assert second.backend("one") is made[0]
    assert made[0].closed == 0
    await second.aclose()
    assert made[0].closed == 1


async def test_a_changed_backend_closes_with_the_last_request_that_may_use_it(made):
    first = lineup(OLLAMA)
    async with first, first:
        second = lineup(OLLAMA.replace(":9", ":7"), first)
        await first.retire()
        async with second:
            pass
        assert [fake.closed for fake in made] == [0, 0]
    assert [fake.closed for fake in made] == [1, 0]
    await second.aclose()
    assert [fake.closed for fake in made] == [1, 1]


async def test_a_change_that_is_taken_back_finds_what_still_runs(made):
    first = lineup(OLLAMA)
    async with first:
        second = lineup(OLLAMA.replace(":9", ":7"), first)
        await first.retire()
        third = lineup(OLLAMA, second)
        await second.retire()
        assert third.backend("one") is first.backend("one")
    assert [fake.closed for fake in made] == [0, 1]
    await third.aclose()
    assert [fake.closed for fake in made] == [1, 1]


async def test_a_backend_first_used_by_the_older_one_serves_the_newer_one_too(made):
    settings = resolve(Config.from_toml('[defaults]\ngeneral = "a"\n' + OLLAMA), {})
    first = Lineup(settings, WORDS, clear_control=NO_CONTROL)
    second = Lineup(settings, WORDS, first, clear_control=NO_CONTROL)
    assert first.backend("one") is second.backend("one")
    assert len(made) == 1
    await first.aclose()
    assert made[0].closed == 0
    await second.aclose()


async def test_a_backend_that_is_being_closed_is_not_taken_over(made):
    first = lineup(OLLAMA)
    made[0].gate.clear()
    closing = asyncio.create_task(first.aclose())
    await asyncio.sleep(0)
    second = lineup(OLLAMA, first)
    assert len(made) == 2
    made[0].gate.set()
    await closing
    await second.aclose()
    assert [fake.closed for fake in made] == [1, 1]


async def test_closing_that_was_cancelled_goes_on_at_the_next_call(made):
    first = lineup(OLLAMA + OPENAI)
    made[0].gate.clear()
    closing = asyncio.create_task(first.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert not first.closed
    made[0].gate.set()
    await first.aclose()
    assert first.closed
    assert [fake.closed for fake in made] == [1, 1]


async def test_a_reload_closes_no_connection_that_it_does_not_concern(server, open_conductor):
    async with MultiModelMockBackend(replies()) as other:

        def text(health: str, url: str) -> str:
            return (
                f'{health}[defaults]\ngeneral = "code-model"\n'
                f'[[backends]]\nname = "kept"\nkind = "ollama"\nurl = "{server.url}"\n'
                f'[[backends]]\nname = "changed"\nkind = "ollama"\nurl = "{url}"\n'
                '[[models]]\nid = "code-model"\nbackend = "kept"\n[[models]]\nid = "math-model"\nbackend = "changed"\n'
            )

        conductor = open_conductor(text("", other.url))
        for model in ("code-model", "math-model"):
            await conductor.complete(CODE, model=model)
        gate = server.hold(after=1)
        running = asyncio.create_task(conductor.complete(CODE, model="code-model"))
        await server.wait_for(lambda: gate.waiting == 1)
        conductor.router.replace_config(
            Config.from_toml(text("[health]\nbackoff_ms = 9\n", other.url.replace("127.0.0.1", "localhost")))
        )
        assert (await conductor.complete(CODE, model="math-model")).text == "math-model says so"
        assert [(stats.name, stats.open) for stats in conductor.pool_stats()] == [
            ("kept", 1),
            ("changed", 1),
            ("changed", 1),
        ], "the running request may still fall back to the changed one as it was"
        gate.release()
        assert (await running).text == "code-model says so"
        assert [stats.name for stats in conductor.pool_stats()] == ["kept", "changed"]
        assert (await conductor.complete(CODE, model="code-model")).text == "code-model says so"
        assert server.connections == 1
        assert conductor.pool_stats()[0].opened == 1
    await conductor.aclose()
    assert conductor.pool_stats() == []
