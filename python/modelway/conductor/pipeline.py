"""The pipeline of a request: route, ask, fall back, finish; the only loop over a chain of candidates.

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

from modelway.conductor.failures import clause, failed_attempt, moves_on
from modelway.conductor.history import HISTORY_LENGTH, AttemptRecord, RequestRecord, Trace
from modelway.conductor.inputs import ChatFields, Prompt, chat_call
from modelway.conductor.lineup import Lineup
from modelway.conductor.reply import Reply, reply_of
from modelway.conductor.turn import Turn
from modelway.config import Config, load_config
from modelway.errors import Attempt, BackendError, ModelwayError, NoModelAvailable, StreamInterrupted, UnknownModel
from modelway.events import (
    BackendEvent,
    ConductorMessage,
    Degraded,
    Failed,
    FallingBack,
    ModelSelected,
)
from modelway.explain import none_left_sentence, rejection_sentence
from modelway.router import ModelRouter
from modelway.types import RoutingDecision, RoutingRequest, SelectionReason, TaskClass

if TYPE_CHECKING:
    from modelway.backends.base import ChatCall
    from modelway.config.settings import Settings

__all__ = ["AttemptRecord", "Conductor", "Reply", "RequestRecord"]

#: The decision is less than what was asked for by name.
_DEGRADED = frozenset({SelectionReason.Capability, SelectionReason.ContextLength, SelectionReason.Privacy})


@dataclass(slots=True)
class _Run:
    """What one request carries from its first step to its last. ``deadline`` is in the loop's time."""

    request: RoutingRequest = field(repr=False)
    call: ChatCall = field(repr=False)
    trace: Trace
    deadline: float | None
    failures: list[Attempt] = field(default_factory=list)


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
        deadline_ms: float | None = None,
        request_id: str | None = None,
    ) -> AsyncGenerator[ConductorMessage, None]:
        """Answer a prompt, or OpenAI chat messages, event by event.

        ``task`` and ``model`` are the caller's own words and win. ``system`` is a system message put in
        front. ``tools`` are OpenAI function definitions. Images travel in the messages; ``images`` counts
        those that stand elsewhere. ``context_tokens`` is the length where it is known better than by an
        estimate. ``options`` holds sampling options in OpenAI's spelling, ``extra`` fields of the protocol
        ``extra_protocol`` ("openai" or "ollama") for a backend that speaks it. ``deadline_ms`` bounds the
        time to the first token over all candidates. ``request_id`` names the request in events and history;
        by default a random one.

        A stream ends with ``Finished``, or with ``Failed`` and then the error itself: ``NoModelAvailable``,
        ``UnknownModel`` or ``ContextTooLong`` where nothing could serve, ``BackendError`` where a server
        refused the request, ``StreamInterrupted`` where the answer broke off. ``InvalidRequest`` is raised
        before the first event. Closing the stream at any point closes the upstream connection at once.
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
            deadline_ms=deadline_ms,
        )
        deadline = None if deadline_ms is None else asyncio.get_running_loop().time() + deadline_ms / 1000
        run = _Run(request, call, Trace(request_id or uuid4().hex, request.prompt), deadline)
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
                except (BackendError, NoModelAvailable) as error:
                    if not moves_on(error):
                        raise
                    run.failures.append(failed_attempt(candidate, error, self._next_try_s(candidate)))
                    why = clause(error)
                except TimeoutError:
                    raise self._deadline_passed(run, decision, candidate) from None
                if following is not None:
                    yield FallingBack(candidate, following, why)
            attempts = (*run.failures, *self._set_aside(decision))
            raise NoModelAvailable(none_left_sentence(attempts), attempts)

    async def _ask(self, candidate: str, run: _Run, lineup: Lineup) -> AsyncGenerator[ConductorMessage, None]:
        """One candidate's answer.

        Raises ``BackendError`` or ``NoModelAvailable`` if it failed before its first token, ``TimeoutError`` if
        the request's deadline passed by then, and ``StreamInterrupted`` if it failed later.
        """
        self._refuse_if_closed()  # a stream that ``aclose`` broke off must not wake the next backend
        model = lineup.model(candidate)
        call = replace(run.call, model=model.name, model_id=model.id, num_ctx=model.num_ctx)
        backend = lineup.backend(model.backend)
        ignored = backend.unsupported_options(call)
        with Turn(self.router, model, run.trace) as turn:
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
            self._lineups.append(Lineup(settings))
            for lineup in before:
                await lineup.retire()
        return self._lineups[-1]

    def _deadline_passed(self, run: _Run, decision: RoutingDecision, running: str) -> NoModelAvailable:
        candidates = (decision.model, *decision.chain)
        untried = candidates[candidates.index(running) + 1 :]
        attempts = (
            *run.failures,
            Attempt(running, "no first token by the deadline", self._next_try_s(running)),
            *(Attempt(model, "not asked: the deadline had passed", self._next_try_s(model)) for model in untried),
            *self._set_aside(decision),
        )
        passed = f"the deadline of {run.request.deadline_ms:g} ms passed before a first token"
        return NoModelAvailable(f"{passed}; {none_left_sentence(attempts)}", attempts)

    def _set_aside(self, decision: RoutingDecision) -> list[Attempt]:
        """The models that the decision left out; only health mends with time."""
        return [
            Attempt(model, rejection_sentence(why), self._next_try_s(model) if why == "unavailable" else None)
            for model, why in decision.rejected
        ]

    def _next_try_s(self, model: str) -> float | None:
        try:
            health = self.router.health(model)
        except UnknownModel:  # the configuration was replaced meanwhile
            return None
        return 0.0 if health.available else health.retry_in_s


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
