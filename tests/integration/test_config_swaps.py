"""A configuration replaced between the choice of a model elsewhere and the first byte counts before that byte."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from egress_world import aside

import modelway as mw
from modelway.backends.mock import MockModelConfig, MultiModelMockBackend
from modelway.privacy.ledger import EgressLedger, Receipt, Sending


@dataclass(frozen=True)
class Says:
    """What a configuration says of ``big``, which is first elsewhere with a consent in the configuration."""

    allow_external: bool = True
    secret_scan: bool = False
    consents: tuple[str, ...] = ("there",)
    kinds: str = '["text"]'
    until: str = ""
    model: str | None = None
    forbid: str = ""
    #: Where ``big`` is: ``there``, ``beyond``, or ``here``, which is this device; empty: nowhere.
    place: str = "there"


class Servers:
    def __init__(self, folder: Path, **servers: MultiModelMockBackend) -> None:
        self.folder, self.servers = folder, servers

    def config(self, says: Says) -> mw.Config:
        urls = {name: server.url for name, server in self.servers.items()}
        consents = "".join(
            f'[[privacy.consents]]\ndestination = "{urls[place].removeprefix("http://")}"\nkinds = {says.kinds}\n'
            f"{says.until}\n" + (f'model = "{says.model}"\n' if says.model else "")
            for place in says.consents
        )
        location = "" if says.place == "here" else 'location = "external"'
        big = '[[models]]\nid = "big"\nbackend = "far"\nlicense = "llama2"\n' if says.place else ""
        return mw.Config.from_toml(
            f"[privacy]\nallow_external = {str(says.allow_external).lower()}\n"
            f"secret_scan_before_external = {str(says.secret_scan).lower()}\n{consents}"
            f"[licenses]\nforbid = [{says.forbid}]\n"
            f'[state]\nfolder = "{self.folder}"\n[memory]\nmanage = false\n[defaults]\ngeneral = "small"\n'
            f'[[backends]]\nname = "near"\nkind = "ollama"\nurl = "{urls["here"]}"\n'
            f'[[backends]]\nname = "far"\nkind = "openai"\nurl = "{urls[says.place or "there"]}"\n{location}\n'
            f'[[models]]\nid = "small"\nbackend = "near"\n{big}'
        )

    def bodies(self, *names: str) -> list[object]:
        return [record.body for name in names for record in self.servers[name].request_history if record.body]


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[Servers]:
    big, small = MockModelConfig(reply="from afar"), MockModelConfig(reply="from here")
    async with (
        MultiModelMockBackend({"small": small, "big": big}) as here,
        MultiModelMockBackend({"big": big}) as there,
        MultiModelMockBackend({"big": big}) as beyond,
    ):
        yield Servers(tmp_path, here=here, there=there, beyond=beyond)


AS_IT_WAS = Says()
#: What the next configuration says, so that nothing may be sent any more.
ENDED = {
    "models elsewhere are not allowed": replace(AS_IT_WAS, allow_external=False),
    "its consent is gone": replace(AS_IT_WAS, consents=()),
    "its consent is to another place": replace(AS_IT_WAS, consents=("beyond",)),
    "its consent is of another kind": replace(AS_IT_WAS, kinds='["code"]'),
    "its consent is for another model": replace(AS_IT_WAS, model="other"),
    "its consent is over": replace(AS_IT_WAS, until="until = 2020-01-01"),
    "text is to be searched": replace(AS_IT_WAS, secret_scan=True),
}
#: No word on what may leave, so it voids no pass that was made.
FORBIDDEN = {"its licence is forbidden": replace(AS_IT_WAS, forbid='"llama2"')}
#: What becomes of the model, so that what was chosen is not what is there.
MOVED = {
    "it is at another place": replace(AS_IT_WAS, place="beyond"),
    "it is at another place, to which there is consent": replace(AS_IT_WAS, place="beyond", consents=("beyond",)),
    "it is at another place, with consent to both": replace(AS_IT_WAS, place="beyond", consents=("there", "beyond")),
    "it is on this device": replace(AS_IT_WAS, place="here"),
    "it is gone": replace(AS_IT_WAS, place=""),
}


async def asked(conductor: mw.Conductor, swap_to: mw.Config | None = None) -> mw.ModelwayError | None:
    """Ask ``big``; when it is chosen the configuration is replaced. What it came to."""
    try:
        async for event in conductor.stream("hello", model="big"):
            if isinstance(event, mw.ModelSelected) and swap_to is not None:
                assert event.model == "big"
                conductor.router.replace_config(swap_to)
    except mw.ModelwayError as error:
        return error
    return None


async def test_what_stays_as_it_was_is_sent(servers: Servers) -> None:
    async with mw.Conductor(servers.config(AS_IT_WAS)) as conductor:
        assert await asked(conductor, servers.config(AS_IT_WAS)) is None
    assert len(servers.bodies("there")) == 1


@pytest.mark.parametrize("says", (ENDED | FORBIDDEN | MOVED).values(), ids=ENDED | FORBIDDEN | MOVED)
async def test_replaced_after_the_choice(servers: Servers, says: Says) -> None:
    async with mw.Conductor(servers.config(AS_IT_WAS)) as conductor:
        await asked(conductor, servers.config(says))
    assert servers.bodies("there", "beyond") == []
    assert [server.connections for name, server in servers.servers.items() if name != "here"] == [0, 0]
    assert all(entry.sent_bytes == 0 for entry in aside(EgressLedger(servers.folder).entries))


@pytest.mark.parametrize("says", ENDED.values(), ids=ENDED)
async def test_replaced_while_it_is_written_down(servers: Servers, says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last moment before the first byte: the pass is made, and the ledger's line is on the disk."""
    written = EgressLedger.open
    async with mw.Conductor(servers.config(AS_IT_WAS)) as conductor:

        def open_(ledger: EgressLedger, sending: Sending) -> Receipt:
            receipt = written(ledger, sending)
            conductor.router.replace_config(servers.config(says))
            return receipt

        monkeypatch.setattr(EgressLedger, "open", open_)
        await asked(conductor)
    assert servers.bodies("there", "beyond") == []
    (entry,) = aside(EgressLedger(servers.folder).entries)
    assert (entry.sent_bytes, entry.outcome) == (0, "refused")


async def test_what_was_chosen_here_stays_here(servers: Servers) -> None:
    """A model of this device whose id is that of one elsewhere in the next configuration is asked as it was chosen."""
    async with mw.Conductor(servers.config(MOVED["it is on this device"])) as conductor:
        assert await asked(conductor, servers.config(AS_IT_WAS)) is None
    assert len(servers.bodies("here")) == 1
    assert servers.bodies("there", "beyond") == []
