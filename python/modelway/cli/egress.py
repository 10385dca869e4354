"""``modelway egress``: what left this device, when, where to, and under whose consent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from modelway.cli.clean import clean
from modelway.cli.options import Common, common_options, pass_common
from modelway.cli.output import columns, note, print_json

if TYPE_CHECKING:
    from modelway.privacy.ledger import EgressLedger, Entry

_HEADINGS = ("TIME", "DESTINATION", "MODEL", "WHAT", "BYTES", "CONSENT", "OUTCOME", "REQUEST")
_TOTALS = ("DESTINATION", "REQUESTS", "BYTES", "FIRST", "LAST")


@click.command()
@click.option("--head", is_flag=True, help="Print the number and hash of the last record, to be kept elsewhere.")
@click.option("--verify", is_flag=True, help="Check the chain of records; exit 1 where it was changed.")
@common_options
@pass_common
def egress(common: Common, head: bool, verify: bool) -> None:
    """What was sent to other places: when, where to, which kinds of data, how much, under which consent.

    The records hold nothing of what was sent. Their chain shows changes; that the last ones were removed, or all
    written anew, shows only in a head that was kept elsewhere.
    """
    from modelway.config.settings import resolve
    from modelway.privacy.ledger import EgressLedger

    ledger = EgressLedger(resolve(common.load_config()).state_folder)
    if head:
        last = ledger.head()
        print_json(last._asdict()) if common.json else click.echo(f"{last.seq} {last.hash}")
    elif verify:
        _verify(ledger, common)
    else:
        _show(ledger.entries(), common)


def _verify(ledger: EgressLedger, common: Common) -> None:
    problem, last = ledger.verify(), ledger.head()
    if common.json:
        print_json({"problem": problem, **last._asdict()})
    else:
        click.echo(clean(problem or f"{last.seq} records, none of them changed. The last one is {last.hash}."))
    if problem:
        raise click.exceptions.Exit(1)


def _show(entries: Sequence[Entry], common: Common) -> None:
    totals = _totals(entries)
    if common.json:
        documents = [{"seq": one.seq, "time": one.time.isoformat(), **_of(one)} for one in entries]
        print_json({"entries": documents, "totals": totals})
    elif entries:
        click.echo(clean(columns([_HEADINGS, *(_row(one) for one in entries)])))
        click.echo()
        rows = [tuple(str(value) for value in total.values()) for total in totals]
        click.echo(clean(columns([_TOTALS, *rows])))
    else:
        note("Nothing was ever sent from this device.")


def _of(entry: Entry) -> dict[str, Any]:
    return {**asdict(entry.sending), "sent_bytes": entry.sent_bytes, "outcome": entry.outcome}


def _row(entry: Entry) -> tuple[str, ...]:
    sending = entry.sending
    sent = "unknown" if entry.sent_bytes is None else str(entry.sent_bytes)
    kinds = ", ".join(kind.replace("_", " ") for kind in sending.kinds)
    outcome = entry.outcome or "not ended"
    return (
        entry.time.strftime("%Y-%m-%d %H:%M:%S UTC"),
        sending.destination,
        sending.model,
        kinds,
        sent,
        sending.consent,
        outcome,
        sending.request_id,
    )


def _totals(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """By destination. Of a sending whose end is not known, all of its body may have gone."""
    by_place: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_place[entry.sending.destination].append(entry)
    return [
        {
            "destination": place,
            "requests": len(of_place),
            "bytes": sum(one.sending.body_bytes if one.sent_bytes is None else one.sent_bytes for one in of_place),
            "first": of_place[0].time.strftime("%Y-%m-%d %H:%M UTC"),
            "last": of_place[-1].time.strftime("%Y-%m-%d %H:%M UTC"),
        }
        for place, of_place in sorted(by_place.items())
    ]
