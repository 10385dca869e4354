"""The tables of what may leave this device, and of what people are told: consent, licences, warnings, words, state."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from modelway.config.fields import Name, Section
from modelway.privacy.locality import checked_destination

#: What a request may hold.
DataKind = Literal["text", "code", "images", "files", "tool_results"]
#: Licence tiers, freest first.
Tier = Literal["permissive", "copyleft", "restricted", "proprietary", "unknown"]

#: Languages in which the built-in words exist.
Language = Literal["en", "es", "fr", "de", "zh"]


def _not_empty(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values:
        raise ValueError("[] says nothing; name at least one, or remove the line")
    return values


def _moment(value: object) -> object:
    """TOML has dates and times, with and without an offset; what has none is UTC, and a date is its first moment."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=value.tzinfo or UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value


Moment = Annotated[datetime, BeforeValidator(_moment)]
Destination = Annotated[str, BeforeValidator(checked_destination)]


class ConsentConfig(Section):
    """``[[privacy.consents]]``: what may be sent to one destination."""

    destination: Destination
    """The host, as in ``api.example.com`` or, where the port is not the usual one, ``10.0.0.5:8000``."""
    kinds: Annotated[tuple[DataKind, ...], Field(strict=False), AfterValidator(_not_empty)] = ("text",)
    """What may be sent: ``text``, ``code``, ``images``, ``files``, ``tool_results``."""
    model: Name | None = None
    """The one model that it may be sent to; absent: any model there."""
    since: Moment | None = None
    """From when on; absent: from now on."""
    until: Moment | None = None
    """Until when; absent: until the entry is removed."""


class PrivacyConfig(Section):
    """``[privacy]``: what may leave this device; by default nothing; elsewhere is asked only with consent."""

    default_location: Literal["local"] = "local"
    """Where models run unless the user decides otherwise: only ``local``."""
    allow_external: bool = False
    """Whether consent to external models may be asked for. True grants nothing by itself: consent is a record
    of its own, and without one no external model is a candidate."""
    allow_lan: bool = False
    """Whether servers on the local network that are configured by their literal address count as the user's own, so
    that they need no consent. All others there are external."""
    secret_scan_before_external: bool = True
    """Whether text is searched for secrets before it leaves this device. There is no search yet, so with true nothing
    is sent; false sends it unsearched."""
    history_text: bool = False
    """Whether the history of the last 1,000 requests, in the memory of the process, holds prompts as text. Otherwise it
    has keyed hashes, which tell equal prompts and nothing else."""
    consents: Annotated[tuple[ConsentConfig, ...], Field(strict=False)] = ()
    """Consents given here, beside those given by ``modelway consent grant``."""


class LicensesConfig(Section):
    """``[licenses]``: which models are not to be used for their licence."""

    forbid: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=200)], ...], Field(strict=False)] = ()
    """Tiers (``copyleft``, ``restricted``, ``proprietary``, ``unknown``) or licences in any spelling (``llama2``,
    ``GPL-3.0``; all versions of it): their models serve nothing."""


class WarningsConfig(Section):
    """``[warnings]``: what people are told beside an answer, once a conversation and kind."""

    math: bool = True
    """Beside mathematics: verify important calculations."""
    code: bool = True
    """Beside code: review it before use."""
    external: bool = True
    """Before data is sent to a provider: that it will be."""
    high_stakes: bool = True
    """Beside tax, medical and legal questions: ask somebody who answers for it."""


class TerminologyConfig(Section):
    """``[terminology]``: the words that people are shown."""

    languages: Annotated[tuple[Language, ...], Field(strict=False), AfterValidator(_not_empty)] = ("en",)
    """In which languages, one or several at once."""
    file: Annotated[str, Field(min_length=1)] | None = None
    """A file with words of one's own, relative to the configuration file, that go before the built-in ones."""


class StateConfig(Section):
    """``[state]``: what is kept from one start to the next."""

    folder: Annotated[str, Field(min_length=1)] | None = None
    """Where, relative to the configuration file; absent: the user's usual folder for it."""
