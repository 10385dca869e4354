"""The consents in force: told to the router whenever they change, and watched while anything is sent elsewhere.

They stand in a file that commands and other processes write, too. It is looked at before each request that might leave
this device, and several times a second as long as one does; so a consent that is revoked anywhere ends what runs under
it. Where no model is elsewhere nothing is ever read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING, Any

from modelway.errors import EgressRefused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelway.config.settings import Settings
    from modelway.events import BackendEvent
    from modelway.pools import Pass
    from modelway.privacy.consent import Consent, ConsentStore
    from modelway.router import ModelRouter

#: How often the consents are looked at while something is sent elsewhere, seconds.
WATCH_S = 0.1
_TASK_NAME = "modelway consents"


class Consents:
    """The consents of one conductor; belongs to its event loop."""

    def __init__(self, router: ModelRouter) -> None:
        self._router = router
        self._store: ConsentStore | None = None
        self._settings: Settings | None = None
        self._watched: dict[asyncio.Future[None], Pass] = {}
        self._watching: asyncio.Task[None] | None = None

    async def all(self) -> tuple[Consent, ...]:
        """Every consent, in force or not; those of the configuration too."""
        return (await self._opened()).all()

    async def grant(
        self, destination: str, kinds: Iterable[str], *, model: str | None = None, until: datetime | None = None
    ) -> Consent:
        """Allow ``kinds`` to be sent to ``destination``, by the word of the user of this program.

        Raises ``ValueError`` for what is no destination, kind or time, and ``StateError`` where it can't be kept.
        """
        store = await self._opened()
        granted = await asyncio.to_thread(store.grant, destination, tuple(kinds), model=model, until=until)
        self._tell(store)
        return granted

    async def revoke(self, what: str) -> tuple[Consent, ...]:
        """End the consent of this id, or all to this destination; what runs under it is cut off.

        Raises ``LookupError`` where there is none, and ``StateError`` where the file can't be written.
        """
        store = await self._opened()
        ended = await asyncio.to_thread(store.revoke, what)
        self._tell(store)
        return ended

    async def renew(self) -> None:
        """Have the router know what stands in the file now."""
        store = await self._opened()
        if await asyncio.to_thread(store.refresh):
            self._tell(store)

    async def while_allowed(
        self, egress: Pass, events: AsyncGenerator[BackendEvent, None]
    ) -> AsyncGenerator[BackendEvent, None]:
        """``events`` as long as ``egress`` is valid; then they are closed and ``EgressRefused`` is raised."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watched[ended] = egress
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._look(), name=_TASK_NAME)
        try:
            async with aclosing(events):
                while (event := await _next_unless(ended, events)) is not None:
                    yield event
        finally:
            del self._watched[ended]
        if ended.done():
            raise EgressRefused(f"{egress.destination}: consent has ended", destination=egress.destination)

    async def aclose(self) -> None:
        """Watch no more; idempotent."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})

    async def _opened(self) -> ConsentStore:
        """The store of the settings in force; the router knows what is in it."""
        settings = self._router.settings
        if self._store is None or settings is not self._settings:
            from modelway.privacy.consent import ConsentStore

            store = await asyncio.to_thread(ConsentStore, settings.state_folder, settings.privacy.consents)
            self._store, self._settings = store, settings
            self._tell(store)
        return self._store

    def _tell(self, store: ConsentStore) -> None:
        self._router.set_consents(store.for_core())
        self._cut_off()

    def _cut_off(self) -> None:
        for ended, egress in self._watched.items():
            if not ended.done() and not egress.is_valid:
                ended.set_result(None)

    async def _look(self) -> None:
        """As long as anything is sent elsewhere. A consent that has run out ends what runs, too."""
        while self._watched:
            await self.renew()
            self._cut_off()
            await asyncio.sleep(WATCH_S)


async def _next_unless(ended: asyncio.Future[None], events: AsyncGenerator[BackendEvent, None]) -> BackendEvent | None:
    """The next event; None: there is none any more, or ``ended`` is done."""
    step: asyncio.Future[BackendEvent | None] = asyncio.ensure_future(anext(events, None))
    either: set[asyncio.Future[Any]] = {step, ended}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not step.done():
            step.cancel()
            await asyncio.wait({step})
    return None if ended.done() else step.result()
