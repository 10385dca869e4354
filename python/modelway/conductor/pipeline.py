"""``Conductor``: what programs call. It owns what outlives a request, and the history of those that were.

What becomes of one request stands in ``serving``; here it gets the configuration's lineup of backends for as long as it
runs.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Self, Unpack
from uuid import uuid4

from modelway.conductor.consents import Consents
from modelway.conductor.deadlines import request_deadlines
from modelway.conductor.failures import Failures
from modelway.conductor.history import HISTORY_LENGTH, AttemptRecord, RequestRecord, Trace
from modelway.conductor.inputs import ChatFields, Prompt, chat_call, checked_user
from modelway.conductor.lineup import Lineup
from modelway.conductor.notices import Notices
from modelway.conductor.reply import Reply, reply_of
from modelway.conductor.run import Run
from modelway.conductor.serving import Serving
from modelway.config import Config, load_config
from modelway.errors import ModelwayError, StreamInterrupted
from modelway.events import AvailabilityChanged, ConductorMessage, Failed
from modelway.monitor import Monitor
from modelway.privacy.labels import Labels
from modelway.residency import GpuMemoryManager
from modelway.router import ModelRouter
from modelway.terminology import load_words
from modelway.types import RoutingRequest, TaskClass
from modelway.waiters import Waiters

if TYPE_CHECKING:
    from modelway.config.settings import Settings
    from modelway.pools import PoolStats

logger = logging.getLogger("modelway.conductor")

__all__ = ["AttemptRecord", "Conductor", "Reply", "RequestRecord"]


class Conductor:
    """Answers prompts with the models of a configuration; belongs to one event loop.

    ``config`` None is the one that ``load_config`` finds; ``async with`` completes it with what the backends on
    this device say they have, within half a second, and keeps it so. With ``router`` the conductor works on that
    router as it is, which others may share, and ``config`` is not read. ``aclose()`` ends child processes and
    connections. ``history`` holds what became of the last 1,000 requests. Between ``async with`` and ``aclose()``
    ``monitor`` looks after the backends, and ``memory`` loads and unloads their models.
    """

    def __init__(self, config: Config | None = None, *, router: ModelRouter | None = None) -> None:
        self._own_config: Config | None = None
        if router is None:
            self._own_config = load_config() if config is None else config
            router = ModelRouter(self._own_config)
        self.router = router
        # One for all who share the router: what one gives back may be what another waits for.
        self._waiters: Waiters = vars(router).setdefault("waiters", Waiters(router))
        self.history: deque[RequestRecord] = deque(maxlen=HISTORY_LENGTH)
        self._lineups: list[Lineup] = []  # the last one is in force; those before it are still in use
        self.memory = GpuMemoryManager(router, self._waiters, self._lineup_in_force)
        self.monitor = Monitor(router, self._waiters, self._lineup_in_force, self._own_config, look=self.memory.look)
        self.consents = Consents(router)
        self._labels = Labels()
        self._told_of_text = False
        self._closed = False
        self._chance = random.random
        #: Streams under way. A caller's that is garbage in a circle is closed from its outermost part inwards; the
        #: garbage collector alone would end all parts in any order.
        self._running: set[AsyncGenerator[ConductorMessage, None]] = set()

    @property
    def settings(self) -> Settings:
        """The configuration in force."""
        return self.router.settings

    async def __aenter__(self) -> Self:
        try:
            await self.monitor.start()
            await self.memory.start()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Break off what still runs, close connections, end child processes; idempotent."""
        self._closed = True
        await self.monitor.aclose()
        await self.memory.aclose()
        await self.consents.aclose()
        for lineup in self._lineups:
            await lineup.aclose()

    def pool_stats(self) -> list[PoolStats]:
        """What became of the connections to each backend in use, and what they do now."""
        return self._lineups[-1].pool_stats() if self._lineups else []

    def preload(self, model: str) -> None:
        """Have a model (an id or an alias) loaded, as if a request waited for it; nothing is waited for.

        Nothing happens where its backend's memory is not managed. Raises ``UnknownModel``, and ``NoModelAvailable``
        where there can never be room for it.
        """
        self._waiters.apply(self.router.preload(self.router.resolve(model)))

    def watch(self) -> AsyncGenerator[AvailabilityChanged, None]:
        """The alerts in force, then each as it comes, until the conductor is closed.

        Nothing comes before ``async with`` has begun. Of a watcher that does not read, the oldest are left out.
        """
        return self.monitor.watch()

    async def complete(self, prompt_or_messages: Prompt, **fields: Unpack[ChatFields]) -> Reply:
        """The whole answer. Arguments and errors are those of :meth:`stream`."""
        async with aclosing(self.stream(prompt_or_messages, **fields)) as events:
            return reply_of([event async for event in events])

    async def stream(
        self,
        prompt_or_messages: Prompt,
        *,
        task: TaskClass | str | None = None,
        model: str | None = None,
        system: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        images: int = 0,
        context_tokens: int | None = None,
        options: Mapping[str, Any] | None = None,
        extra: Mapping[str, Any] | None = None,
        extra_protocol: str = "openai",
        user: str | None = None,
        conversation: str | None = None,
        allow_external: bool | None = None,
        deadline_ms: float | None = None,
        prefer_warm: bool | None = None,
        request_id: str | None = None,
    ) -> AsyncGenerator[ConductorMessage, None]:
        """Answer a prompt, or OpenAI chat messages, event by event.

        ``task`` and ``model`` are the caller's own words and win. ``system`` is a system message put in
        front. ``tools`` are OpenAI function definitions. Images travel in the messages; ``images`` counts
        those that stand elsewhere. ``context_tokens`` is the length where it is known better than by an
        estimate. ``options`` holds sampling options in OpenAI's spelling, ``extra`` fields of the protocol
        ``extra_protocol`` ("openai" or "ollama") for a backend that speaks it. ``user`` is whose limits and
        whose turn it is; None is one user, too. ``conversation`` names the conversation that the request belongs to:
        what is told once in it is not told again. ``allow_external`` False keeps the request on this device, whatever
        was consented to; True grants nothing. ``deadline_ms`` bounds the time to the first token over all
        waits and candidates; how long the whole answer may take stands in the configuration. ``prefer_warm``:
        whether a model in memory passes one that would have to be loaded first; None: as configured.
        ``request_id`` names the request in events and history; by default a random one.

        A stream ends with ``Finished``, or with ``Failed`` and then the error itself: ``NoModelAvailable``,
        ``UnknownModel`` or ``ContextTooLong`` where nothing could serve, ``BackendError`` where a server
        refused the request, ``RateLimited`` where the user has used up a limit, ``QueueFull`` where all that
        could serve have too many waiting, ``ConsentRequired`` where only models elsewhere could, or one was named, and
        nobody has consented to that, ``StreamInterrupted`` where the answer broke off and no other model went on.
        ``InvalidRequest`` is raised before the first event. Closing the stream at any point closes the upstream
        connection at once.
        """
        self._refuse_if_closed()
        call = chat_call(
            prompt_or_messages,
            system=system,
            tools=tools,
            options=options,
            extra=extra,
            extra_protocol=extra_protocol,
        )
        request = RoutingRequest(
            messages=call.messages,
            task=task,
            model=model,
            tools=call.tools is not None,
            images=images,
            context_tokens=context_tokens,
            user=checked_user(user),
            conversation=conversation,
            allow_external=allow_external,
            deadline_ms=deadline_ms,
            prefer_warm=prefer_warm,
        )
        deadlines = request_deadlines(asyncio.get_running_loop().time(), deadline_ms, self.settings.deadlines.total_ms)
        trace = Trace(request_id or uuid4().hex, request.prompt, keeps_text=self._keeps_text())
        run = Run(request, call, trace, deadlines, Failures(self.router))
        try:
            async with await self._lineup_in_force() as lineup:
                if lineup.has_models_elsewhere:
                    await self.consents.renew()
                serving = Serving(
                    run,
                    self.router,
                    self._waiters,
                    self.memory,
                    lineup,
                    notices=Notices(lineup, self._labels, request),
                    consents=self.consents,
                    refuse_if_closed=self._refuse_if_closed,
                    chance=self._chance,
                )
                events = serving.events()
                self._running.add(events)
                try:
                    async with aclosing(events):
                        async for event in events:
                            yield event
                finally:
                    self._running.discard(events)
        except ModelwayError as error:
            run.trace.failed(error)
            yield Failed(error, str(error), error.partial if isinstance(error, StreamInterrupted) else "")
            raise
        finally:
            self.history.append(run.trace.record())

    def _keeps_text(self) -> bool:
        """Whether prompts are kept; says so once each time it is switched on."""
        keeps = self.settings.privacy.history_text
        if keeps and not self._told_of_text:
            logger.warning(
                "prompts are kept as text, of the last %d requests, in memory: [privacy] history_text is on",
                HISTORY_LENGTH,
            )
        self._told_of_text = keeps
        return keeps

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ModelwayError("this conductor is closed; make a new one")

    async def _lineup_in_force(self) -> Lineup:
        """The lineup of the router's present settings; one of replaced settings is retired."""
        while not self._lineups or self._lineups[-1].settings is not self.settings:
            settings = self.settings
            languages, file = settings.terminology.languages, settings.terminology_file
            words = load_words(languages) if file is None else await asyncio.to_thread(load_words, languages, file)
            before = self._lineups[-1:]
            # Another request may have made it meanwhile, or the configuration be another by now.
            if settings is self.settings and all(lineup.settings is not settings for lineup in before):
                self._lineups = [lineup for lineup in self._lineups if not lineup.closed]
                self._lineups.append(Lineup(settings, words, *before, clear_control=self.router.clear_control))
                for lineup in before:
                    await lineup.retire()
        return self._lineups[-1]
