"""Servers elsewhere receive nothing but what a consent covered at that moment, whatever is configured and asked,
whatever fails, and whenever consents come and go."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from random import Random
from typing import Literal

import pytest
from egress_world import ELSEWHERE, FAULTS, MODELS, MOMENTS, SHAPES, Ask, Change, Tally, Terms, World, world

from modelway.privacy.ledger import EgressLedger

#: More of them, for a night: MODELWAY_EGRESS_EXAMPLES=20000.
EXAMPLES = int(os.environ.get("MODELWAY_EGRESS_EXAMPLES", "60"))
BY: tuple[Literal["conductor", "process"], ...] = ("conductor", "process")
ALL = ("text", "code", "images", "tool_results")


def some_terms(chance: Random) -> Terms:
    return Terms(
        allow_external=chance.random() < 0.95,
        secret_scan=chance.random() < 0.05,
        goes_on=chance.random() < 0.5,
        default=chance.choice([*MODELS]),
        chain=tuple(chance.sample([*MODELS], 3)),
        kinds=(chance.choice(["openai", "ollama"]), chance.choice(["openai", "ollama"])),
        forbidden=chance.random() < 0.15,
        written=chance.choice(["", "", "now", "over", "later"]),
    )


def some_change(chance: Random) -> Change:
    server = chance.choice(["east", "east", "west", "cloud"])
    # To end what there is takes part as often as to give something.
    kinds = chance.choice([(), (), ("text",), ("text", "code"), ALL, ("code",)])
    model = chance.choice([None, None, *ELSEWHERE[server]])
    is_all_over = chance.random() < 0.05
    return Change(chance.choice(MOMENTS), "" if is_all_over else server, kinds, model, chance.choice(BY))


def some_ask(chance: Random) -> Ask:
    server = chance.choice([*ELSEWHERE])
    changes = [Change("before", one, ALL) for one in ELSEWHERE if chance.random() < 0.6]
    faults = tuple((chance.choice([*MODELS]), chance.choice([*FAULTS])) for _ in range(chance.choice([0, 0, 1, 2])))
    if chance.random() < 0.4:
        # What lets it out ends in the middle.
        changes += [Change("before", server, ALL), Change(chance.choice(MOMENTS[1:]), server, by=chance.choice(BY))]
        return Ask(model=chance.choice(ELSEWHERE[server]), changes=tuple(changes), faults=faults)
    return Ask(
        shape=chance.choice(["text", "text", *SHAPES]),
        model=chance.choice([None, *ELSEWHERE[server]]),
        allow_external=chance.choice([None, None, None, True, False]),
        changes=(*changes, *(some_change(chance) for _ in range(chance.randrange(3)))),
        faults=faults,
    )


async def check(terms: Terms, asks: list[Ask], unwritable: int, folder: Path, tally: Tally) -> None:
    """Play ``asks``; before the one with the number ``unwritable`` the ledger can't be written."""
    ledger = folder / "egress.jsonl"
    with pytest.MonkeyPatch.context() as patch:
        async with world(terms, folder, tally) as stage:
            patch.setattr(EgressLedger, "open", stage.opened(EgressLedger.open))
            if unwritable:
                ledger.mkdir()
            for number, ask in enumerate(asks):
                if number == unwritable and unwritable:
                    ledger.rmdir()
                await check_one(stage, ask, number, is_written=number >= unwritable)
        check_sums(stage)


async def check_one(stage: World, ask: Ask, number: int, *, is_written: bool) -> None:
    before, sights = stage.bodies(), stage.sights()
    lines = stage.entries() if is_written else []
    await stage.play(ask, str(number))
    came = [record for record in stage.bodies() if record not in before]
    noted = (stage.entries() if is_written else [])[len(lines) :]
    stage.tally.bodies += len(came)
    stage.tally.withheld += not came
    for record in came:
        assert stage.may_have_left(record), f"request {number} was sent to {record.model}, and nothing allows it"
    for name, seen in stage.sights().items():
        # No connection, no request of any kind, no byte.
        destinations = [entry.sending.destination for entry in noted]
        assert seen == sights[name] or stage.destinations[name] in destinations
    if is_plain(ask) and stage.would_leave(ask) and is_written:
        assert came, f"request {number} may leave, and did not"


def is_plain(ask: Ask) -> bool:
    return ask.model is not None and not ask.faults and all(change.moment == "before" for change in ask.changes)


def check_sums(stage: World) -> None:
    """What each request sent by the ledger is what came, and was written down before."""
    if (stage.folder / "egress.jsonl").is_dir():
        assert stage.bodies() == []
        return
    entries = stage.entries()
    for name in stage.asks:
        came = [record for record in stage.bodies() if stage.name_of(record) == name]
        noted = [entry for entry in entries if entry.sending.request_id == name]
        sent = [entry.sent_bytes for entry in noted]
        assert sum(sent) == sum(int(record.headers["content-length"]) for record in came)
        assert len([size for size in sent if size]) <= len(came)
        for entry, record in zip([one for one in noted if one.sent_bytes], came, strict=False):
            assert entry.time.timestamp() <= stage.wall_time(record.started)
            assert entry.sending.destination == stage.destination_of(record)
            assert {"text"} | SHAPES[stage.asks[name].shape] <= set(entry.sending.kinds)


@pytest.mark.timeout(max(20, EXAMPLES))
def test_nothing_leaves_but_what_a_consent_covers() -> None:
    tally = Tally()
    for seed in range(EXAMPLES):
        chance = Random(seed)
        terms, asks = some_terms(chance), [some_ask(chance) for _ in range(chance.randint(1, 3))]
        unwritable = chance.choice([0] * 12 + [1, 9])
        with tempfile.TemporaryDirectory() as folder:
            try:
                asyncio.run(check(terms, asks, unwritable, Path(folder), tally))
            except BaseException as error:
                error.add_note(f"example {seed}: {terms}, {asks}, not writable before {unwritable}")
                raise
    # A property that holds of nothing is none.
    assert min(tally.bodies, tally.withheld) > EXAMPLES / 4
    assert tally.cut_off > EXAMPLES / 50
    assert min(tally.changes[moment] for moment in MOMENTS) > EXAMPLES / 10
    print(tally)
