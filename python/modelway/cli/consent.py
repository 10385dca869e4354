"""``modelway consent``: what may be sent where; given, shown and ended here."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from modelway.cli.clean import clean
from modelway.cli.options import Common, common_options, pass_common
from modelway.cli.output import columns, note, print_json

if TYPE_CHECKING:
    from modelway.config.settings import Settings
    from modelway.privacy.consent import Consent, ConsentStore

_HEADINGS = ("ID", "DESTINATION", "WHAT", "MODEL", "SINCE", "UNTIL", "GIVEN BY")
_GIVEN_BY = {"cli": "modelway consent", "app": "an app", "config": "the configuration"}
_SPAN = re.compile(r"(\d{1,6})([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 7 * 24}


@click.group()
def consent() -> None:
    """What may be sent to models that are not on this device.

    Without a consent nothing is: no request, no look-up of a name, no probe.
    """


@consent.command("list")
@common_options
@pass_common
def list_consents(common: Common) -> None:
    """Show every consent, those of the configuration too."""
    settings, store = _opened(common)
    consents = store.all()
    if common.json:
        print_json([_document(one) for one in consents])
        return
    if consents:
        click.echo(clean(columns([_HEADINGS, *(_row(one) for one in consents)])))
    else:
        note("No consent: nothing leaves this device.")
    _note_switches(settings, any(consents))


@consent.command()
@click.argument("destination")
@click.option(
    "--kinds", default="text", show_default=True, metavar="KIND,...", help="text, code, images, files, tool_results"
)
@click.option("--model", metavar="ID", help="Only to this model; default: any there.")
@click.option("--until", metavar="WHEN", help="A date (2027-01-31) or a span (12h, 30d, 4w); default: until revoked.")
@common_options
@pass_common
def grant(common: Common, destination: str, kinds: str, model: str | None, until: str | None) -> None:
    """Allow what is asked to be sent to DESTINATION, a host as in api.example.com.

    It counts at once, also for a gateway that runs.
    """
    settings, store = _opened(common)
    wanted = [kind.strip() for kind in kinds.split(",") if kind.strip()]
    try:
        granted = store.grant(destination, wanted, model=model, until=_moment(until), origin="cli")
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if common.json:
        print_json(_document(granted))
    else:
        where = granted.model or "any model"
        click.echo(clean(f"{_words(granted.kinds)} may be sent to {where} at {granted.destination} ({granted.id})."))
    if all(granted.destination not in (model.destination, None) for model in settings.models):
        note(f"No model of this configuration is at {granted.destination} yet.")
    _note_switches(settings, True)


@consent.command()
@click.argument("what", metavar="DESTINATION|ID")
@common_options
@pass_common
def revoke(common: Common, what: str) -> None:
    """End a consent, or all to a destination. What is being sent there is cut off."""
    _, store = _opened(common)
    try:
        ended = store.revoke(what)
    except LookupError as error:
        raise click.ClickException(str(error)) from None
    if common.json:
        print_json([_document(one) for one in ended])
    else:
        for one in ended:
            click.echo(clean(f"Nothing may be sent to {one.model or 'any model'} at {one.destination} any more."))


def _opened(common: Common) -> tuple[Settings, ConsentStore]:
    from modelway.config.settings import resolve
    from modelway.privacy.consent import ConsentStore

    settings = resolve(common.load_config())
    return settings, ConsentStore(settings.state_folder, settings.privacy.consents)


def _note_switches(settings: Settings, is_any: bool) -> None:
    """What of the configuration stands against consents."""
    if is_any and not settings.privacy.allow_external:
        note("[privacy] allow_external is false in the configuration: no provider is asked, whatever stands here.")
    if is_any and settings.privacy.secret_scan_before_external:
        note(
            "Text can't be searched for secrets yet, so nothing is sent to providers "
            "unless [privacy] secret_scan_before_external is false."
        )


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    if span := _SPAN.fullmatch(text):
        return datetime.now(UTC) + timedelta(hours=int(span[1]) * _HOURS[span[2]])
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f'"{text}" is no time; write a date as in 2027-01-31, or a span as in 12h, 30d, 4w') from None
    return moment.replace(tzinfo=moment.tzinfo or UTC)


def _document(one: Consent) -> dict[str, Any]:
    return {**one.model_dump(mode="json"), "in_force": one.is_in_force(datetime.now(UTC))}


def _row(one: Consent) -> tuple[str, ...]:
    over = "" if one.is_in_force(datetime.now(UTC)) else " (not in force)"
    until = "revoked" if one.until is None else _day(one.until)
    since = _day(one.since)
    return (one.id, one.destination, _words(one.kinds), one.model or "any", since, until + over, _GIVEN_BY[one.origin])


def _words(kinds: tuple[str, ...]) -> str:
    return ", ".join(kind.replace("_", " ") for kind in kinds)


def _day(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
