"""The pipeline of a request: route, be admitted, ask, fall back, finish; the only loop over a chain of candidates.

Routing knows nothing of backends and backends know nothing of routing; the conductor joins them. Each
thing it holds has one owner and one ``with``: the configuration's lineup of backends for the whole
request, a :class:`~modelway.conductor.turn.Turn` and the backend's stream for one candidate.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Self, Unpack
from uuid import uuid4

from modelway.conductor.failures import Failures, clause, moves_on
from modelway.conductor.history import HISTORY_LENGTH, AttemptRecord, RequestRecord, Trace
from modelway.conductor.inputs import ChatFields, Prompt, chat_call, checked_user
from modelway.conductor.lineup import Lineup
from modelway.conductor.reply import Reply, reply_of
from modelway.conductor.turn import Claim, Turn
from modelway.config import Config, load_config
from modelway.errors import (
    BackendError,
    ModelwayError,
    NoModelAvailable,
    QueueFull,
    RateLimited,
    StreamInterrupted,
)
from modelway.events import (
    BackendEvent,
    ConductorMessage,
    Degraded,
    Failed,
    FallingBack,
    ModelSelected,
)
from modelway.explain import rejection_sentence
from modelway.router import ModelRouter
from modelway.types import RoutingDecision, RoutingRequest, SelectionReason, TaskClass
from modelway.waiters import Waiters

if TYPE_CHECKING:
    from modelway.backends.base import ChatCall
    from modelway.config.settings import Settings
    from modelway.pools import PoolStats

__all__ = ["AttemptRecord", "Conductor", "Reply", "RequestRecord"]

#: The decision is less than what was asked for by name.
#: Tokens of an answer that nobody has seen yet, where its own limit is not less: a few paragraphs. Too many would
#: keep short requests from small limits; what they really were is counted in the end.
EXPECTED_ANSWER_TOKENS = 256

_DEGRADED = frozenset({SelectionReason.Capability, SelectionReason.ContextLength, SelectionReason.Privacy})


@dataclass(slots=True)
class _Run:
    """What one request carries from its first step to its last. ``deadline`` is in the loop's time."""

    request: RoutingRequest = field(repr=False)
    call: ChatCall = field(repr=False)
    trace: Trace
    deadline: float | None
    failures: Failures = field(repr=False)

    @property
    def claim(self) -> Claim:
        """What the next candidate is asked for. Only what was sent before makes it a second attempt."""
        most = self.call.options.get("max_tokens")
        answer = min(most, EXPECTED_ANSWER_TOKENS) if isinstance(most, int) else EXPECTED_ANSWER_TOKENS
        tokens = self.request.context_tokens + max(0, answer)
        return Claim(self.request.user, tokens, self.deadline, is_retry=bool(self.trace.attempts))


class Conductor:
    """Answers prompts with the models of a configuration; belongs to one event loop.

    ``config`` None is the one that ``load_config`` finds; ``async with`` completes one without models by
    discovery. With ``router`` the conductor works on that router as it is, which others may share, and
    ``config`` is not read. ``aclose()`` ends child processes and connections. ``history`` holds what became
    of the last 1,000 requests.
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
        self._closed = False

    @property
    def settings(self) -> Settings:
        """The configuration in force."""
        return self.router.settings

    async def __aenter__(self) -> Self:
        if self._own_config is not None and not self.settings.models:
            from modelway.discovery import discover

            self.router.replace_config(await discover(self._own_config))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Break off what still runs, close connections, end child processes; idempotent."""
        self._closed = True
        for lineup in self._lineups:
            await lineup.aclose()

    def pool_stats(self) -> list[PoolStats]:
        """What became of the connections to each backend in use, and what they do now."""
        return self._lineups[-1].pool_stats() if self._lineups else []

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
        deadline_ms: float | None = None,
        request_id: str | None = None,
    ) -> AsyncGenerator[ConductorMessage, None]:
        """Answer a prompt, or OpenAI chat messages, event by event.

        ``task`` and ``model`` are the caller's own words and win. ``system`` is a system message put in
        front. ``tools`` are OpenAI function definitions. Images travel in the messages; ``images`` counts
        those that stand elsewhere. ``context_tokens`` is the length where it is known better than by an
        estimate. ``options`` holds sampling options in OpenAI's spelling, ``extra`` fields of the protocol
        ``extra_protocol`` ("openai" or "ollama") for a backend that speaks it. ``user`` is whose limits and
        whose turn it is; None is one user, too. ``deadline_ms`` bounds the time to the first token over all
        waits and candidates. ``request_id`` names the request in events and history;
        by default a random one.

        A stream ends with ``Finished``, or with ``Failed`` and then the error itself: ``NoModelAvailable``,
        ``UnknownModel`` or ``ContextTooLong`` where nothing could serve, ``BackendError`` where a server
        refused the request, ``RateLimited`` where the user has used up a limit, ``QueueFull`` where all that
        could serve have too many waiting, ``StreamInterrupted`` where the answer broke off. ``InvalidRequest``
        is raised before the first event. Closing the stream at any point closes the upstream connection at once.
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
            deadline_ms=deadline_ms,
        )
        deadline = None if deadline_ms is None else asyncio.get_running_loop().time() + deadline_ms / 1000
        trace = Trace(request_id or uuid4().hex, request.prompt)
        run = _Run(request, call, trace, deadline, Failures(self.router))
        try:
            async with aclosing(self._serve(run)) as events:
                async for event in events:
                    yield event
        except ModelwayError as error:
            run.trace.failed(error)
            yield Failed(error, str(error), error.partial if isinstance(error, StreamInterrupted) else "")
            raise
        finally:
            self.history.append(run.trace.record())

    async def _serve(self, run: _Run) -> AsyncGenerator[ConductorMessage, None]:
        """Route, then ask one candidate after the other until one has begun to answer."""
        async with await self._lineup_in_force() as lineup:
            decision = self.router.select(run.request)
            run.trace.task = str(decision.task)
            yield _selected(decision, run.trace.request_id)
            if degraded := _degraded(decision, run.request):
                yield degraded
            candidates = (decision.model, *decision.chain)
            for candidate, following in zip_longest(candidates, candidates[1:]):
                try:
                    async with aclosing(self._ask(candidate, run, lineup)) as events:
                        async for event in events:
                            yield event
                    return
                except (BackendError, NoModelAvailable, RateLimited, QueueFull) as error:
                    if not moves_on(error):
                        raise
                    run.failures.add(candidate, error)
                    why = clause(error)
                except TimeoutError:
                    raise run.failures.deadline_passed(decision, candidate, run.request.deadline_ms or 0.0) from None
                if following is not None:
                    yield FallingBack(candidate, following, why)
            raise run.failures.none_left(decision)

    async def _ask(self, candidate: str, run: _Run, lineup: Lineup) -> AsyncGenerator[ConductorMessage, None]:
        """One candidate's answer, once it is the request's turn.

        Raises ``BackendError`` or ``NoModelAvailable`` if it failed before its first token, ``RateLimited`` or
        ``QueueFull`` if it may not be asked, ``TimeoutError`` if the request's deadline passed by then, and
        ``StreamInterrupted`` if it failed later.
        """
        self._refuse_if_closed()  # a stream that ``aclose`` broke off must not wake the next backend
        model = lineup.model(candidate)
        call = replace(run.call, model=model.name, model_id=model.id, num_ctx=model.num_ctx)
        backend = lineup.backend(model.backend)
        ignored = backend.unsupported_options(call)
        with Turn(self._waiters, model, run.trace, run.claim) as turn:
            async with aclosing(turn.wait()) as places:
                async for place in places:
                    yield place
            self._refuse_if_closed()
            try:
                async with aclosing(backend.stream(call)) as events:
                    while not turn.ended:
                        event = turn.note(await _next(events, None if turn.answering else run.deadline))
                        if event is None:
                            continue
                        if ignored and turn.answering:  # told by the model that serves, not by those that failed
                            yield Degraded("options", f"{candidate} can't honour {', '.join(ignored)}.")
                            ignored = ()
                        yield event
            except BackendError as error:
                if not turn.answering:
                    raise
                message = f"the answer of {candidate} broke off: {error}"
                raise StreamInterrupted(
                    message, partial=turn.partial, model=candidate, backend=model.backend, kind=error.kind
                ) from error
        yield turn.finished()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ModelwayError("this conductor is closed; make a new one")

    async def _lineup_in_force(self) -> Lineup:
        """The lineup of the router's present settings; one of replaced settings is retired."""
        settings = self.settings
        if not self._lineups or self._lineups[-1].settings is not settings:
            self._lineups = [lineup for lineup in self._lineups if not lineup.closed]
            before = self._lineups[-1:]
            self._lineups.append(Lineup(settings, *before))
            for lineup in before:
                await lineup.retire()
        return self._lineups[-1]


async def _next(events: AsyncGenerator[BackendEvent, None], deadline: float | None) -> BackendEvent:
    """The next event. Raises ``TimeoutError`` once ``deadline`` (the loop's time) has passed."""
    try:
        if deadline is None:
            return await anext(events)
        async with asyncio.timeout_at(deadline):
            return await anext(events)
    except StopAsyncIteration:
        raise BackendError("the backend's stream ended without saying so", kind="interrupted") from None


def _selected(decision: RoutingDecision, request_id: str) -> ModelSelected:
    return ModelSelected(
        model=decision.model,
        backend=decision.backend,
        task=str(decision.task),
        confidence=decision.confidence,
        location=str(decision.location),
        reason=str(decision.reason),
        explanation=decision.explanation,
        request_id=request_id,
        decision=decision,
    )


def _degraded(decision: RoutingDecision, request: RoutingRequest) -> Degraded | None:
    """The notice that something else serves than what was asked for by name, or than the usual choice."""
    by_name = request.model is not None and decision.reason in _DEGRADED
    if not by_name and decision.reason != SelectionReason.Fallback:
        return None
    preferred, why = decision.rejected[0]
    detail = f"{decision.model} answers instead of {preferred}: {rejection_sentence(why)}."
    return Degraded(str(decision.reason), detail)
