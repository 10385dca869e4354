"""Consent: which kinds of data may be sent to which destination, since when, until when, and by whose word.

It is given by the user, through a command, an app or the configuration; never by a request, so no prompt and no client
can give it. It stands in a file of its own, which several processes share. A file that can't be understood, or that
somebody else could have written, is no consent at all.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from modelway.errors import StateError
from modelway.privacy.locality import checked_destination
from modelway.privacy.private_file import locked, who_else_may_write, write_whole

if TYPE_CHECKING:
    from modelway.config.trust import ConsentConfig

_log = logging.getLogger("modelway.privacy")

#: What a request may hold, in the order in which people are told.
KINDS = ("text", "code", "images", "files", "tool_results")


class Consent(BaseModel):
    """One consent. ``model`` None: to any model there; ``until`` None: until it is revoked; times are in UTC.

    ``origin``: ``cli``, ``app``, or ``config``: that one ends with its entry in the configuration.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]
    destination: Annotated[str, BeforeValidator(checked_destination)]
    kinds: Annotated[tuple[Literal["text", "code", "images", "files", "tool_results"], ...], Field(min_length=1)]
    model: str | None = None
    since: AwareDatetime
    until: AwareDatetime | None = None
    origin: Literal["cli", "app", "config"]

    def is_in_force(self, now: datetime) -> bool:
        return self.since <= now and (self.until is None or now < self.until)

    def for_core(self) -> dict[str, Any]:
        """What the router is told; times in seconds since 1970."""
        return {
            "id": self.id,
            "destination": self.destination,
            "kinds": list(self.kinds),
            "model": self.model,
            "since_s": self.since.timestamp(),
            "until_s": None if self.until is None else self.until.timestamp(),
        }


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    consents: tuple[Consent, ...]


class ConsentStore:
    """The consents in ``folder`` and those of the configuration. Reads and writes a small file; blocks for that long.

    Everything it returns is as the file was when it was last read: see :meth:`refresh`.
    """

    def __init__(self, folder: Path, configured: Sequence[ConsentConfig] = ()):
        self.file = folder / "consents.json"
        self._configured = consents_of(configured)
        self._stored: tuple[Consent, ...] = ()
        self._seen: object = None
        self._warned_of: object = None
        self.refresh()

    def all(self) -> tuple[Consent, ...]:
        """Every consent, in force or not, the oldest first; those of the configuration at the end."""
        return (*self._stored, *self._configured)

    def for_core(self) -> list[dict[str, Any]]:
        """What the router is told; those of the configuration it knows by itself."""
        return [consent.for_core() for consent in self._stored]

    def refresh(self) -> bool:
        """Read the file if it has changed since it was last read, by whomever; whether it had. Never fails."""
        seen = self._signature()
        if seen == self._seen and seen is not None:
            return False
        before = self._stored
        self._seen, self._stored = seen, self._read()
        return self._stored != before

    def grant(
        self,
        destination: str,
        kinds: Iterable[str],
        *,
        model: str | None = None,
        until: datetime | None = None,
        origin: Literal["cli", "app"] = "app",
    ) -> Consent:
        """Consent to sending ``kinds`` to ``destination`` (a host, or a URL there).

        A consent to the same destination and model is replaced. Raises ``ValueError`` for what is no destination, kind
        or time, and :class:`StateError` where the file can't be written; then nothing is granted.
        """
        now = datetime.now(UTC)
        if until is not None and until <= now:
            raise ValueError(f"{until.isoformat()} is over; name a later time, or none")
        wanted = tuple(kinds)
        if unknown := set(wanted) - set(KINDS):
            raise ValueError(f'"{min(unknown)}" is no kind of data; use one of {", ".join(KINDS)}')
        try:
            granted = Consent(
                id=secrets.token_hex(4),
                destination=str(checked_destination(destination)),
                kinds=tuple(kind for kind in KINDS if kind in wanted),  # type: ignore[misc]
                model=model,
                since=now,
                until=until,
                origin=origin,
            )
        except ValidationError as error:
            raise ValueError(f"no consent can be like this: {error.errors()[0]['msg']}") from None
        with locked(self.file):
            self._put_broken_aside()
            kept = [one for one in self._read() if (one.destination, one.model) != (granted.destination, model)]
            self._write((*kept, granted))
        return granted

    def revoke(self, what: str) -> tuple[Consent, ...]:
        """End the consent of this id, or all to this destination; those that ended.

        Raises ``LookupError`` where there is none, and :class:`StateError` where the file can't be written.
        """
        try:
            destination = checked_destination(what)
        except ValueError:
            destination = None
        with locked(self.file):
            stored = self._read()
            ended = tuple(one for one in stored if what == one.id or destination == one.destination)
            if ended:
                self._write(tuple(one for one in stored if one not in ended))
        if not ended:
            if any(what == one.id or destination == one.destination for one in self._configured):
                raise LookupError(f'"{what}": this consent stands in the configuration; remove it there')
            raise LookupError(f'"{what}" is no consent; "modelway consent list" shows them')
        return ended

    def _write(self, consents: tuple[Consent, ...]) -> None:
        content = _File(consents=consents).model_dump(mode="json")
        write_whole(self.file, orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        self._stored, self._seen = consents, self._signature()

    def _read(self) -> tuple[Consent, ...]:
        try:
            if problem := who_else_may_write(self.file):
                return self._no_consent(f"{problem}; correct that with chown and chmod 600")
            return _File.model_validate_json(self.file.read_bytes()).consents
        except FileNotFoundError:
            return ()
        except OSError as error:
            return self._no_consent(f"it can't be read ({error.strerror})")
        except ValueError:
            # What it holds is not repeated: nobody knows what it is.
            return self._no_consent("it is not whole; grant again what is to be allowed")

    def _no_consent(self, why: str) -> tuple[Consent, ...]:
        """Warn once of each state of the file."""
        if self._warned_of != (now := (self._signature(), why)):
            self._warned_of = now
            _log.warning("%s counts as no consent: %s", self.file, why)
        return ()

    def _put_broken_aside(self) -> None:
        """What can't be understood is kept under another name, and not written over."""
        try:
            if who_else_may_write(self.file) is None:
                _File.model_validate_json(self.file.read_bytes())
                return
        except FileNotFoundError:
            return
        except ValueError:
            pass
        except OSError as error:
            raise StateError(f"{self.file}: can't be read ({error.strerror})", path=str(self.file)) from error
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        self.file.rename(self.file.with_name(f"{self.file.name}.broken-{stamp}"))

    def _signature(self) -> object:
        """Changes whenever the file does; None: it is not there."""
        try:
            found = self.file.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size, found.st_mode, found.st_uid


def consents_of(configured: Sequence[ConsentConfig], before: Sequence[Consent] = ()) -> tuple[Consent, ...]:
    """The consents that a configuration gives. One that stood there ``before`` keeps the time at which it began."""
    now = datetime.now(UTC)
    begun = {consent.id: consent.since for consent in before}
    return tuple(
        Consent(
            id=(name := f"config-{number}"),
            destination=written.destination,
            kinds=written.kinds,
            model=written.model,
            since=written.since or begun.get(name, now),
            until=written.until,
            origin="config",
        )
        for number, written in enumerate(configured, 1)
    )
