"""What leaves this device, over a server that the configuration calls external: only with consent, never unseen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conductor_kit import CODE
from gateway_support import CHAT, HELLO, client_of, gateway_over

import modelway as mw
from modelway.backends.mock import Fault, FaultKind, MockModelConfig, MultiModelMockBackend
from modelway.conductor import consents
from modelway.privacy.consent import ConsentStore
from modelway.privacy.ledger import EgressLedger, Entry
from modelway.terminology import load_words

LONG = " ".join(["word"] * 300)


class World:
    """A server here and one that is said to be elsewhere."""

    def __init__(self, here: MultiModelMockBackend, there: MultiModelMockBackend, folder: Path) -> None:
        self.here, self.there, self.folder = here, there, folder
        self.destination = there.url.removeprefix("http://")

    def config(self, more: str = "", *, kind: str = "openai", allow: str = "true") -> mw.Config:
        return mw.Config.from_toml(
            f"[privacy]\nallow_external = {allow}\nsecret_scan_before_external = false\n"
            f'[state]\nfolder = "{self.folder}"\n[memory]\nmanage = false\n'
            f'[defaults]\ngeneral = "small"\ncode = "big"\n{more}\n'
            f'[[backends]]\nname = "here"\nkind = "ollama"\nurl = "{self.here.url}"\n'
            f'[[backends]]\nname = "there"\nkind = "{kind}"\nurl = "{self.there.url}"\nlocation = "external"\n'
            '[[models]]\nid = "small"\nbackend = "here"\n[[models]]\nid = "big"\nbackend = "there"\n'
        )

    @property
    def received(self) -> list[int]:
        """Bytes of each body that came there."""
        return [int(request.headers["content-length"]) for request in self.there.request_history if request.body]

    def entries(self) -> list[Entry]:
        return aside(lambda: EgressLedger(self.folder).entries())

    def grant(self, *kinds: str, **terms: Any) -> None:
        """By another process, as far as the conductor can tell."""
        aside(lambda: ConsentStore(self.folder).grant(self.destination, kinds, **terms))

    def revoke(self) -> None:
        aside(lambda: ConsentStore(self.folder).revoke(self.destination))


def aside(work: Any) -> Any:
    """On a thread of its own: files on the loop's are a fault that the tests look for."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    models = {"small": MockModelConfig(reply="from here")}
    far = {"big": MockModelConfig(reply="from there")}
    async with MultiModelMockBackend(models) as here, MultiModelMockBackend(far) as there:
        yield World(here, there, tmp_path)


def kinds_of(reply: mw.Reply) -> list[str]:
    return [type(event).__name__ for event in reply.events]


async def test_without_consent_the_next_serves_and_it_is_told(world):
    async with mw.Conductor(world.config()) as conductor:
        reply = await conductor.complete(CODE)
    assert (reply.model, reply.text) == ("small", "from here")
    (needed,) = [event for event in reply.events if isinstance(event, mw.ConsentNeeded)]
    assert (needed.model, needed.destination) == ("big", world.destination)
    assert needed.kinds == ("text", "code")
    assert world.there.request_history == []
    assert world.entries() == []


@pytest.mark.parametrize("kind", ["openai", "ollama"])
async def test_with_consent_it_is_sent_and_stands_in_the_ledger(world, kind):
    world.grant("text", "code")
    async with mw.Conductor(world.config(kind=kind)) as conductor:
        reply = await conductor.complete(CODE, request_id="r1")
    assert (reply.model, reply.text) == ("big", "from there")
    assert f"Your data will be sent to {world.destination}." in reply.warnings
    (entry,) = world.entries()
    assert (entry.sending.request_id, entry.sending.model, entry.outcome) == ("r1", "big", "answered")
    assert [entry.sent_bytes] == world.received == [entry.sending.body_bytes]
    assert aside(lambda: EgressLedger(world.folder).verify()) is None


async def test_one_that_is_named_is_asked_for_consent(world):
    async with mw.Conductor(world.config()) as conductor:
        with pytest.raises(mw.ConsentRequired, match="modelway consent grant") as required:
            await conductor.complete("hi", model="big")
        assert (required.value.destination, required.value.models) == (world.destination, ("big",))
        assert required.value.kinds == ("text",)
        await conductor.consents.grant(required.value.destination, required.value.kinds)
        assert (await conductor.complete("hi", model="big")).text == "from there"
        with pytest.raises(mw.ConsentRequired):
            await conductor.complete("look:\n```\nx = 1\n```", model="big")
        await conductor.consents.revoke(world.destination)
        with pytest.raises(mw.ConsentRequired):
            await conductor.complete("hi", model="big")
    assert len(world.received) == 1


async def test_no_request_gives_consent(world):
    async with mw.Conductor(world.config()) as conductor:
        for allow in (True, None):
            with pytest.raises(mw.ConsentRequired):
                await conductor.complete("I consent. allow_external = true", model="big", allow_external=allow)
        world.grant("text")
        assert (await conductor.complete("hi", model="big", allow_external=False)).model == "small"
        assert (await conductor.complete("hi", model="big")).model == "big"
    assert len(world.received) == 1


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"allow": "false"}, "small"),
        ({"more": "[licenses]\nforbid = ['unknown']\n"}, None),
    ],
)
async def test_what_stands_against_it_in_the_configuration_wins(world, config, said):
    world.grant("text", "code")
    async with mw.Conductor(world.config(**config)) as conductor:
        if said is None:
            with pytest.raises(mw.NoModelAvailable):
                await conductor.complete(CODE)
        else:
            assert (await conductor.complete(CODE)).model == said
    assert world.there.request_history == []


async def test_unsearched_text_does_not_leave_where_it_is_to_be_searched(world):
    world.grant("text", "code")
    config = world.config()
    config = config.model_copy(
        update={"privacy": config.privacy.model_copy(update={"secret_scan_before_external": True})}
    )
    async with mw.Conductor(config) as conductor:
        reply = await conductor.complete("hi", model="big")
    assert reply.model == "small"
    assert any("searched for secrets" in warning for warning in reply.warnings)
    assert world.there.request_history == []


async def test_a_fallback_asks_like_any_other(world):
    world.here.fail("small", Fault.http(500, "no"))
    config = world.config('[fallbacks]\ngeneral = ["big"]\n')
    async with mw.Conductor(config) as conductor:
        with pytest.raises((mw.NoModelAvailable, mw.ConsentRequired), match="consent"):
            await conductor.complete("hello there, how are you")
        assert world.there.request_history == []
        world.grant("text")
        reply = await conductor.complete("hello there, how are you")
    assert reply.model == "big"
    assert kinds_of(reply).index("FallingBack") < kinds_of(reply).index("TextDelta")
    assert any("will be sent to" in warning for warning in reply.warnings)


async def test_revoked_by_another_process_a_running_answer_is_cut_off(world):
    world.there.models["big"] = MockModelConfig(reply=LONG, per_token_s=0.01)
    world.grant("text")
    seen: list[str] = []
    now = asyncio.get_running_loop().time

    async def read(conductor: mw.Conductor) -> None:
        async with aclosing(conductor.stream("hi", model="big")) as events:
            async for event in events:
                if isinstance(event, mw.TextDelta):
                    if not seen:
                        world.revoke()
                        revoked.append(now())
                    seen.append(event.text)

    revoked: list[float] = []
    async with mw.Conductor(world.config()) as conductor:
        with pytest.raises(mw.StreamInterrupted, match="consent has ended") as broken:
            await read(conductor)
        took_s = now() - revoked[0]
        await world.there.wait_for(lambda: world.there.request_history[-1].cancelled)
        health = conductor.router.health("big")
    assert broken.value.partial == "".join(seen)
    assert 0 < len(seen) < 300
    assert took_s < consents.WATCH_S + 0.5
    assert health.available


async def test_an_answer_is_cut_off_when_consent_runs_out(world):
    world.there.models["big"] = MockModelConfig(reply=LONG, per_token_s=0.01)
    world.grant("text", until=datetime.now(UTC) + timedelta(seconds=0.5))
    async with mw.Conductor(world.config()) as conductor:
        with pytest.raises(mw.StreamInterrupted, match="consent has ended"):
            await conductor.complete("hi", model="big")
        with pytest.raises(mw.ConsentRequired):
            await conductor.complete("hi", model="big")
    assert len(world.received) == 1


async def test_a_ledger_that_can_not_be_written_keeps_everything_here(world):
    world.grant("text", "code")
    (world.folder / "egress.jsonl").mkdir()
    async with mw.Conductor(world.config()) as conductor:
        reply = await conductor.complete(CODE)
    assert reply.model == "small"
    assert any("can't be" in warning and "egress.jsonl" in warning for warning in reply.warnings)
    assert world.there.request_history == []


async def test_nothing_is_asked_of_a_server_elsewhere_before_a_request_is(world):
    """No probe, no list of models, no look-up; with consent neither."""
    world.grant("text", "code")
    async with mw.Conductor(world.config()) as conductor:
        await conductor.complete("hello")
        await asyncio.sleep(0)
        assert world.there.request_history == []
        assert [stats.opened for stats in conductor.pool_stats() if stats.name == "there"] in ([], [0])


CLOUD = MockModelConfig(reply="from the cloud", remote_host="https://ollama.com:443")


@pytest.mark.parametrize("granted", [False, True])
async def test_what_a_local_server_hands_on_takes_consent_to_where_it_goes(world, granted):
    world.here.models["gpt:120b-cloud"] = CLOUD
    if granted:
        aside(lambda: ConsentStore(world.folder).grant("ollama.com", ["text"]))
    async with mw.Conductor(world.config()) as conductor:
        if granted:
            assert (await conductor.complete("hi", model="gpt:120b-cloud")).text == "from the cloud"
        else:
            with pytest.raises(mw.ConsentRequired) as required:
                await conductor.complete("hi", model="gpt:120b-cloud")
            assert required.value.destination == "ollama.com"
    assert [entry.sending.destination for entry in world.entries()] == (["ollama.com"] if granted else [])


async def test_an_answer_from_elsewhere_that_nobody_asked_for_is_cut_off(world):
    world.here.models["small"] = MockModelConfig(reply="from afar", remote_host="https://ollama.com:443")
    async with mw.Conductor(world.config()) as conductor:
        with pytest.raises(mw.ModelwayError):
            await conductor.complete("hello there")


async def test_the_gateway_says_what_it_takes(world):
    async with mw.Conductor(world.config()) as conductor, gateway_over(conductor) as url, client_of(url) as client:
        async with client.post(CHAT, json={"model": "big", "messages": HELLO}) as answer:
            assert answer.status == 403
            assert (await answer.json())["error"]["code"] == "consent_required"
        async with client.post("/api/chat", json={"model": "big", "messages": HELLO}) as answer:
            assert answer.status == 403
        world.grant("text")
        async with client.post(CHAT, json={"model": "big", "messages": HELLO}) as answer:
            assert answer.status == 200
            assert answer.headers["x-modelway-location"] == "external"
            assert "Your data will be sent to" in answer.headers["x-modelway-warning"]
        async with client.get("/modelway/status") as answer:
            privacy = (await answer.json())["privacy"]
    assert privacy["destinations"] == [world.destination]
    assert len(world.received) == 1


async def test_warnings_come_once_a_conversation(world):
    async with mw.Conductor(world.config(allow="false")) as conductor:
        first = await conductor.complete(CODE, conversation="a")
        again = await conductor.complete(CODE, conversation="a")
        other = await conductor.complete(CODE, conversation="b")
    label = "Review before using - may contain bugs."
    assert [label in reply.warnings for reply in (first, again, other)] == [True, False, True]


async def test_high_stakes_are_told_once_a_conversation_and_stake(world):
    tax = "Do I have to pay income tax on lottery winnings?"
    doctor = "My baby has a high fever and vomits, should I call a doctor?"
    off = "[warnings]\nhigh_stakes = false\n"
    async with mw.Conductor(world.config(allow="false")) as conductor:
        replies = [await conductor.complete(prompt, conversation="a") for prompt in (tax, tax, doctor)]
    async with mw.Conductor(world.config(allow="false", more=off)) as conductor:
        silent = await conductor.complete(tax)
    words = load_words()
    told = [words.label("tax")], [], [words.label("medical")]
    assert [list(reply.warnings) for reply in replies] == list(told)
    assert silent.warnings == ()


async def test_a_specialist_is_announced_under_its_usual_name(world):
    world.here.models["qwen2.5-coder:7b"] = MockModelConfig(reply="code")
    more = '[[models]]\nid = "coder"\nname = "qwen2.5-coder:7b"\nbackend = "here"\nstrengths = ["code"]\n'
    config = mw.Config.from_toml(
        f'[defaults]\ngeneral = "small"\ncode = "coder"\n[memory]\nmanage = false\n[[backends]]\nname = "here"\n'
        f'kind = "ollama"\nurl = "{world.here.url}"\n[[models]]\nid = "small"\nbackend = "here"\n{more}'
    )
    async with mw.Conductor(config) as conductor:
        selected = (await conductor.complete(CODE)).events[0]
        plain = (await conductor.complete("hello")).events[0]
    assert (selected.display_name, selected.hand_off) == ("Qwen 2.5 Coder 7b", "Getting code expertise…")
    assert selected.announce().startswith("Getting code expertise… Qwen 2.5 Coder 7b, on this device, answers")
    assert plain.hand_off == ""


@pytest.mark.parametrize("is_allowed", [False, True])
async def test_a_server_on_the_local_network_is_the_users_own_where_they_say_so(world, monkeypatch, is_allowed):
    """Asked what it has and how it is, without consent; what is sent to it stands in the ledger all the same."""
    places = {world.there.url: "lan"}
    monkeypatch.setattr("modelway.config.settings.place_of_url", lambda url: places.get(url, "device"))
    text = (
        f'[privacy]\nallow_lan = {str(is_allowed).lower()}\n[state]\nfolder = "{world.folder}"\n'
        f'[memory]\nmanage = false\n[[backends]]\nname = "here"\nkind = "ollama"\nurl = "{world.here.url}"\n'
        f'[[backends]]\nname = "there"\nkind = "ollama"\nurl = "{world.there.url}"\n'
    )
    async with mw.Conductor(mw.Config.from_toml(text)) as conductor:
        models = {model.id: model.location for model in conductor.settings.models}
        assert models == ({"small:latest": "device"} | ({"big:latest": "lan"} if is_allowed else {}))
        if is_allowed:
            assert (await conductor.complete("hi", model="big:latest")).text == "from there"
            assert conductor.monitor.is_reachable("there")
    assert [entry.sending.consent for entry in world.entries()] == (["allow_lan"] if is_allowed else [])
    assert bool(world.there.request_history) == is_allowed


@pytest.mark.parametrize("kinds", [("text",), ("text", "code")])
async def test_what_goes_along_with_an_answer_that_is_gone_on_with_takes_consent_too(world, kinds):
    world.here.models["small"] = MockModelConfig(reply="see:\n```\nx = 1\n```\nand so on and on")
    world.here.fail("small", Fault(FaultKind.RESET_MID_STREAM, after=8))
    world.grant(*kinds)
    config = world.config('[fallbacks]\ncontinue_midstream = true\ngeneral = ["big"]\n')
    async with mw.Conductor(config) as conductor:
        if "code" in kinds:
            assert (await conductor.complete("hello there, how are you")).model == "big"
        else:
            with pytest.raises(mw.StreamInterrupted):
                await conductor.complete("hello there, how are you")
    assert len(world.received) == ("code" in kinds)
