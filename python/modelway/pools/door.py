"""The way out of this device: nothing goes without a pass, and nothing that was not written down before.

A pass is made by the router's core alone, for one request and one destination, under a consent. It is looked at when a
request comes, the ledger is written, and only then it is taken: a consent that was revoked meanwhile counts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from modelway.errors import EgressRefused, StateError
from modelway.privacy.ledger import Sending

if TYPE_CHECKING:
    from modelway.privacy.ledger import EgressLedger, Receipt

_log = logging.getLogger("modelway.privacy")
_REVOKED = "consent has ended"
_T = TypeVar("_T")


class Pass(Protocol):
    """What the core says of one request that may leave: ``modelway.types.EgressPass``."""

    @property
    def destination(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def request_id(self) -> str: ...
    @property
    def kinds(self) -> tuple[str, ...]: ...
    @property
    def consent(self) -> str: ...
    @property
    def is_valid(self) -> bool: ...
    def take(self) -> bool: ...


@dataclass(slots=True)
class Sent:
    """What carries a request at present, a kept connection or a new one, and how much of its body has gone out."""

    on_kept: bool = False
    body_bytes: int = 0


class Door:
    """The way out to a server's destinations.

    ``is_far``: the server itself is elsewhere, so nothing at all goes there without a pass; else only what it hands on
    to another place needs one. ``control`` makes the pass for requests that hold nothing of anybody's (a list of
    models), or raises :class:`EgressRefused`; None: there is none.
    """

    def __init__(
        self,
        destinations: frozenset[str],
        ledger: EgressLedger,
        *,
        is_far: bool,
        control: Callable[[], Pass | None] | None = None,
    ) -> None:
        self.is_far = is_far
        self._destinations = destinations
        self._ledger = ledger
        self._control = control
        self._writing: set[asyncio.Task[Any]] = set()

    def check_control(self, egress: Pass | None) -> None:
        """Let a request out that holds nothing of anybody's, or raise :class:`EgressRefused`. It is not written down.

        ``egress``: it belongs to a request that may leave.
        """
        if self.is_far:
            egress = egress or (None if self._control is None else self._control())
            if egress is None or egress.destination not in self._destinations or not egress.is_valid:
                raise self._refused("nothing is asked of it without consent")

    async def enter(self, egress: Pass | None, body_bytes: int) -> Passage:
        """Let a body of this size out; it must be sent at once. Raises :class:`EgressRefused`."""
        if egress is None:
            raise self._refused("nobody has allowed it")
        if egress.destination not in self._destinations:
            raise self._refused(f"the consent is for {egress.destination}")
        if not egress.is_valid:
            raise self._refused(_REVOKED)
        sending = Sending(egress.request_id, egress.destination, egress.model, egress.kinds, body_bytes, egress.consent)
        writing = self._keep(asyncio.create_task(asyncio.to_thread(self._ledger.open, sending)))
        try:
            receipt = await asyncio.shield(writing)
        except StateError as error:
            raise self._refused(f"it can't be written down: {error}") from error
        except asyncio.CancelledError:
            # The line comes all the same; the next one says that nothing followed.
            writing.add_done_callback(self._end_unused)
            raise
        passage = Passage(self, egress, receipt)
        passage.check()
        if not egress.take():
            passage.end("refused")
            raise self._refused(_REVOKED)
        return passage

    def note(self, receipt: Receipt, sent_bytes: int, outcome: str) -> None:
        """Write down how a sending has ended; nobody waits for that but :meth:`aclose`."""
        noting = self._keep(asyncio.create_task(asyncio.to_thread(receipt.close, sent_bytes, outcome)))
        noting.add_done_callback(_warn)

    async def aclose(self) -> None:
        """Wait until all that was sent stands in the ledger."""
        while self._writing:
            await asyncio.wait(self._writing)

    def _keep(self, task: asyncio.Task[_T]) -> asyncio.Task[_T]:
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return task

    def _end_unused(self, writing: asyncio.Task[Receipt]) -> None:
        if not writing.cancelled() and writing.exception() is None:
            self.note(writing.result(), 0, "cancelled")

    def _refused(self, why: str) -> EgressRefused:
        destination = ", ".join(sorted(self._destinations))
        return EgressRefused(f"{destination}: nothing was sent, as {why}", destination=destination)


class Passage:
    """One body on its way out, which stands in the ledger; ``sent`` counts what went."""

    def __init__(self, door: Door, egress: Pass, receipt: Receipt) -> None:
        self.sent = Sent()
        self._door = door
        self._egress = egress
        self._receipt: Receipt | None = receipt

    def check(self) -> None:
        """Raise :class:`EgressRefused` where consent has ended."""
        if not self._egress.is_valid:
            self.end("refused")
            raise self._door._refused(_REVOKED)

    def end(self, outcome: str) -> None:
        """Have it written down how it ended; idempotent."""
        if self._receipt is not None:
            receipt, self._receipt = self._receipt, None
            self._door.note(receipt, self.sent.body_bytes, outcome)


def _warn(noting: asyncio.Task[None]) -> None:
    if not noting.cancelled() and (error := noting.exception()) is not None:
        _log.warning("the end of a sending is not in the ledger: %s", error)
