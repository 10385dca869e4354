"""Nothing of a body leaves without a consent that covers it: random configurations, requests, consents and faults.

The oracle looks at what servers elsewhere received, and knows nothing of how it was decided: a body may have come only
if the configuration lets things out, the request does not forbid it, and within the moment before it came a consent was
in force to that destination, for that model, and for all kinds of data in the request.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import modelway as mw
from modelway.backends.mock import Fault, FaultKind, MockModelConfig, MultiModelMockBackend
from modelway.privacy.ledger import EgressLedger, Entry

#: How long before its arrival a body may have been let out.
_UNDER_WAY_S = 0.5
KINDS = ("text", "code", "tool_results")
FAULTS = (
    None,
    None,
    Fault.http(500, "no"),
    Fault(FaultKind.RESET_MID_STREAM, after=2),
    Fault(FaultKind.RESET_BEFORE_HEADERS),
)
FENCE = "look at this:\n```\nx = 1\n```\nis it right?"
TOOL = [
    {"role": "user", "content": "how warm is it"},
    {
        "role": "assistant",
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "t", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "c", "content": "21"},
    {"role": "user", "content": "and in the shade"},
]
PROMPTS: tuple[tuple[Any, frozenset[str]], ...] = (
    ("hello there", frozenset({"text"})),
    (FENCE, frozenset({"text", "code"})),
    (TOOL, frozenset({"text", "tool_results"})),
    ([{"role": "system", "content": FENCE}, {"role": "user", "content": "go on"}], frozenset({"text", "code"})),
)


@dataclass
class Given:
    """A consent, from when until when it was in force."""

    destination: str
    kinds: frozenset[str]
    model: str | None
    since: float
    until: float = float("inf")


@dataclass
class Asked:
    """A request, and what the oracle has to know of it."""

    kinds: frozenset[str]
    is_kept_here: bool
    lets_out: bool


@dataclass
class World:
    here: MultiModelMockBackend
    there: dict[str, MultiModelMockBackend]  # by model
    folder: Path
    given: list[Given] = field(default_factory=list)
    asked: dict[str, Asked] = field(default_factory=dict)
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def destination(self, model: str) -> str:
        return self.there[model].url.removeprefix("http://")

    def config(self, chance: random.Random) -> tuple[mw.Config, bool]:
        allows, searches = chance.random() < 0.9, chance.random() < 0.1
        chain = chance.sample(["small", "far", "away"], 3)
        text = (
            f"[privacy]\nallow_external = {str(allows).lower()}\n"
            f"secret_scan_before_external = {str(searches).lower()}\n"
            f'[state]\nfolder = "{self.folder}"\n[memory]\nmanage = false\n[health]\nfailures_to_open = 1000\n'
            f'least_success_percent = 0\n[defaults]\ngeneral = "{chain[0]}"\n[fallbacks]\n'
            f'continue_midstream = {str(chance.random() < 0.5).lower()}\ngeneral = ["{chain[1]}", "{chain[2]}"]\n'
            f'[[backends]]\nname = "here"\nkind = "ollama"\nurl = "{self.here.url}"\n'
            '[[models]]\nid = "small"\nbackend = "here"\nsupports_tools = true\n'
        )
        for model, server in self.there.items():
            kind = chance.choice(["openai", "ollama"])
            text += f'[[backends]]\nname = "{model}"\nkind = "{kind}"\nurl = "{server.url}"\nlocation = "external"\n'
            text += f'[[models]]\nid = "{model}"\nbackend = "{model}"\nsupports_tools = true\n'
        return mw.Config.from_toml(text), allows and not searches

    async def change(self, conductor: mw.Conductor, chance: random.Random) -> None:
        """Somebody consents, or revokes."""
        model = chance.choice([*self.there])
        destination = self.destination(model)
        in_force = [one for one in self.given if one.destination == destination and one.until == float("inf")]
        if in_force and chance.random() < 0.4:
            await conductor.consents.revoke(destination)
            for one in in_force:
                one.until = time.monotonic()
            return
        kinds = frozenset(chance.choice([KINDS, KINDS, chance.sample(KINDS, chance.randint(1, 2))]))
        only = chance.choice([None, None, model, "small"])
        # As it replaces the one to the same destination and model.
        for one in in_force:
            if one.model == only:
                one.until = time.monotonic() + 0.1
        self.given.append(Given(destination, kinds, only, time.monotonic()))
        await conductor.consents.grant(destination, kinds, model=only)

    def may_have(self, model: str, asked: Asked, at: float) -> bool:
        if asked.is_kept_here or not asked.lets_out:
            return False
        return any(
            one.destination == self.destination(model)
            and one.model in (None, model)
            and asked.kinds <= one.kinds
            and one.since <= at
            and at - _UNDER_WAY_S <= one.until
            for one in self.given
        )

    def entries(self) -> list[Entry]:
        def read() -> list[Entry]:
            ledger = EgressLedger(self.folder)
            assert ledger.verify() is None
            return ledger.entries()

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(read).result()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    def server(model: str) -> MultiModelMockBackend:
        tools = ["completion", "tools"]
        return MultiModelMockBackend({model: MockModelConfig(reply="one two three four five", capabilities=tools)})

    async with server("small") as here, server("far") as far, server("away") as away:
        yield World(here, {"far": far, "away": away}, tmp_path)


async def one_that_may_leave(world: World) -> None:
    """However consents, faults and configurations were before."""
    world.there["far"].heal("far")
    config = next(config for config, lets_out in map(world.config, map(random.Random, range(99))) if lets_out)
    async with mw.Conductor(config) as conductor:
        world.given.append(Given(world.destination("far"), frozenset(KINDS), None, time.monotonic()))
        await conductor.consents.grant(world.destination("far"), KINDS)
        world.asked["r0"] = Asked(frozenset({"text"}), is_kept_here=False, lets_out=True)
        reply = await conductor.complete("hello <r0>", model="far", task="general", request_id="r0")
    assert reply.model == "far"


async def one_request(world: World, conductor: mw.Conductor, lets_out: bool, chance: random.Random, name: str) -> None:
    said, kinds = chance.choice(PROMPTS)
    # So that a body tells whose it is.
    mark = {"role": "user", "content": f"for <{name}>"}
    messages = [*([{"role": "user", "content": said}] if isinstance(said, str) else said), mark]
    allow = chance.choice([None, None, True, False])
    world.asked[name] = Asked(kinds, allow is False, lets_out)
    change_at = chance.choice([0, 1, 2, 3, None, None])
    stream = conductor.stream(
        messages,
        task="general",
        model=chance.choice([None, None, "far", "away", "small"]),
        allow_external=allow,
        request_id=name,
    )
    try:
        async with aclosing(stream) as events:
            number = 0
            async for _ in events:
                if number == change_at:
                    async with world.changing:
                        await world.change(conductor, chance)
                number += 1
    except mw.ModelwayError:
        pass  # what it comes to is not what is looked at here


@pytest.mark.timeout(60)
@pytest.mark.parametrize("seed", range(12))
async def test_nothing_leaves_without_a_consent_that_covers_it(world: World, seed: int) -> None:
    chance = random.Random(seed)
    number = 0
    for _ in range(4):
        config, lets_out = world.config(chance)
        for model, server in [("small", world.here), *world.there.items()]:
            server.heal(model)
            if (fault := chance.choice(FAULTS)) is not None:
                server.fail(model, fault, times=chance.randint(1, 3))
        async with mw.Conductor(config) as conductor:
            for _ in range(chance.randint(0, 4)):
                await world.change(conductor, chance)
            at_once = []
            for _ in range(4):
                number += 1
                at_once.append(one_request(world, conductor, lets_out, chance, f"r{number}"))
            await asyncio.gather(*at_once)
    await one_that_may_leave(world)
    entries = world.entries()
    assert all(entry.outcome is not None for entry in entries)
    for entry in entries:
        asked = world.asked[entry.sending.request_id]
        assert asked.kinds <= set(entry.sending.kinds)
    received: dict[str, list[int]] = {}
    for model, server in world.there.items():
        for body in server.request_history:
            if "<r" in str(body.body):
                (name,) = set(re.findall(r"<(r\d+)>", str(body.body)))
                assert world.may_have(model, world.asked[name], body.started), (name, model)
                received.setdefault(name, []).append(int(body.headers["content-length"]))
            else:
                assert not body.body.get("messages")
    by_request: dict[str, int] = Counter()
    for entry in entries:
        by_request[entry.sending.request_id] += entry.sent_bytes or 0
    sent = {name: size for name, size in by_request.items() if size}
    assert {name: sum(sizes) for name, sizes in received.items()} == sent
    assert "r0" in received, "else this would prove nothing"
