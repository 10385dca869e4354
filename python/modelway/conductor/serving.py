"""One request on its way along the chain of its decision: the only loop over candidates.

Routing knows nothing of backends and backends know nothing of routing; they are joined here. Each thing that is held
has one owner and one ``with``: a :class:`~modelway.conductor.turn.Turn` and the backend's stream for one candidate.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from modelway.conductor.failures import Failure, break_clause, clause, moves_on
from modelway.conductor.retries import MOST_ATTEMPTS, Again, again
from modelway.conductor.room import Room
from modelway.conductor.seam import can_go_on, continued
from modelway.conductor.turn import Turn
from modelway.errors import (
    BackendError,
    ConsentRequired,
    EgressRefused,
    ModelwayError,
    NoModelAvailable,
    QueueFull,
    RateLimited,
    StreamInterrupted,
    UnknownModel,
)
from modelway.events import BackendEvent, ConductorMessage, Degraded, FallingBack
from modelway.residency.load_time import learned_load_s
from modelway.types import RoutingRequest

if TYPE_CHECKING:
    from modelway.backends.base import Backend, ChatCall
    from modelway.conductor.consents import Consents
    from modelway.conductor.lineup import Lineup
    from modelway.conductor.notices import Notices
    from modelway.conductor.run import Run
    from modelway.config.settings import ResolvedModel
    from modelway.pools import Pass
    from modelway.residency import GpuMemoryManager
    from modelway.router import ModelRouter
    from modelway.types import RoutingDecision
    from modelway.waiters import Waiters


class Serving:
    """Serves one request; ``events`` is read once.

    ``refuse_if_closed`` raises where the conductor is closed, ``chance`` draws from [0, 1).
    """

    def __init__(
        self,
        run: Run,
        router: ModelRouter,
        waiters: Waiters,
        memory: GpuMemoryManager,
        lineup: Lineup,
        *,
        notices: Notices,
        consents: Consents,
        refuse_if_closed: Callable[[], None],
        chance: Callable[[], float],
    ) -> None:
        self._run = run
        self._router = router
        self._waiters = waiters
        self._memory = memory
        self._lineup = lineup
        self._notices = notices
        self._consents = consents
        self._refuse_if_closed = refuse_if_closed
        self._chance = chance
        self._retries = 0
        self._room = Room(memory)
        self._broken: StreamInterrupted | None = None  # what the answer has come to, unless another model goes on

    async def events(self) -> AsyncGenerator[ConductorMessage, None]:
        """Route, then ask one candidate after the other until one has answered.

        Raises what the request comes to: see ``Conductor.stream``.
        """
        run = self._run
        decision = self._router.select(run.request)
        run.trace.task = str(decision.task)
        for notice in self._notices.of_decision(decision, run.trace.request_id):
            yield notice
        candidate, following = decision.model, _following(decision)
        while True:
            try:
                async with aclosing(self._ask(candidate, decision.budget_ms)) as events:
                    async for event in events:
                        yield event
                return
            except StreamInterrupted as error:
                why = self._why_broken(error)
            except (BackendError, NoModelAvailable, RateLimited, QueueFull, ConsentRequired, EgressRefused) as error:
                why = self._why_failed(candidate, error)
            except TimeoutError:
                raise self._out_of_time(decision, candidate) from None
            choice = self._next(decision, following)
            yield FallingBack(candidate, choice.model, why, self._seam())
            if choice.pause_s:
                await asyncio.sleep(choice.pause_s)
            candidate = choice.model

    async def _ask(self, candidate: str, budget_ms: int) -> AsyncGenerator[ConductorMessage, None]:
        """One candidate's answer, once it is the request's turn; its first token is wanted within ``budget_ms``.

        Raises ``BackendError`` or ``NoModelAvailable`` if it failed before its first token, ``RateLimited`` or
        ``QueueFull`` if it may not be asked, ``ConsentRequired`` or ``EgressRefused`` if nothing may be sent to it,
        ``TimeoutError`` if the request's deadline passed, and ``StreamInterrupted`` if it failed later.
        """
        self._refuse_if_closed()  # a stream that ``aclose`` broke off must not wake the next backend
        run = self._run
        model = self._lineup.model(candidate)
        call = self._call(model)
        backend = self._lineup.backend(model.backend)
        with Turn(self._waiters, self._memory, model, run.trace, claim=run.claim, so_far=run.so_far) as turn:
            async with aclosing(turn.wait()) as places:
                async for place in places:
                    yield place
            self._refuse_if_closed()
            call = replace(call, egress=await self._allowed(model, call))
            for label in self._notices.before_sending(call.egress):
                yield label
            is_silent = True
            deadline = None if run.deadline is None else run.deadline.at
            try:
                async with aclosing(self._stream(backend, call)) as events:
                    while not turn.ended:
                        event = turn.note(await _next(events, deadline))
                        if event is None:
                            continue
                        if is_silent and turn.answering:
                            is_silent = False
                            deadline = None if run.deadline is None else run.deadline.at
                            # Told by the model that serves, not by those that failed.
                            for degraded in self._degraded(candidate, backend.unsupported_options(call)):
                                yield degraded
                            if turn.warm_ttft_ms > budget_ms:
                                yield Degraded("slow", _slow_sentence(candidate, turn.warm_ttft_ms, budget_ms))
                        yield event
            except BackendError as error:
                if not turn.answering:
                    raise
                raise self._interrupted(f"broke off: {error}", model, error.kind) from error
            except EgressRefused as error:
                if not turn.answering:
                    raise
                raise self._interrupted(f"was cut off: {error}", model, "cancelled") from error
        if turn.is_damaged:
            yield Degraded("encoding", f"{candidate} sent bytes that are no text; each is shown as \ufffd.")
        yield turn.finished()

    async def _allowed(self, model: ResolvedModel, call: ChatCall) -> Pass | None:
        """What allows ``call`` to leave this device; None: it does not."""
        if model.destination is None:
            return None
        await self._consents.renew()
        request = self._run.request
        if self._broken is not None:
            # The answer so far goes along, and may hold what the request did not.
            request = RoutingRequest(
                messages=call.messages,
                task=self._run.trace.task,
                tools=call.tools is not None,
                images=request.images,
                allow_external=request.allow_external,
            )
        egress = self._router.clear(model.id, request, self._run.trace.request_id)
        if egress is None:  # another configuration gives its id to a model on this device, and this one is elsewhere
            why = f"{model.id}: the configuration was replaced meanwhile"
            raise EgressRefused(why, destination=model.destination)
        return egress

    def _stream(self, backend: Backend, call: ChatCall) -> AsyncGenerator[BackendEvent, None]:
        events = backend.stream(call)
        return events if call.egress is None else self._consents.while_allowed(call.egress, events)

    def _call(self, model: ResolvedModel) -> ChatCall:
        load_s = learned_load_s(self._load_ms(model.id), self._lineup.settings.deadlines.load_ms)
        call = replace(self._run.call, model=model.name, model_id=model.id, num_ctx=model.num_ctx, load_s=load_s)
        return continued(call, self._run.so_far.text) if self._broken else call

    def _load_ms(self, model: str) -> float | None:
        try:
            return self._router.health(model).load_ms
        except UnknownModel:  # the configuration was replaced meanwhile
            return None

    def _why_broken(self, error: StreamInterrupted) -> str:
        """The answer broke off: how. Raises ``error`` where no other model may go on."""
        cause = error.__cause__
        if (
            not isinstance(cause, BackendError)
            or not self._lineup.settings.continue_midstream
            or not can_go_on(self._run.call, self._run.so_far)
        ):
            raise error
        self._broken = error
        return break_clause(cause)

    def _why_failed(self, candidate: str, error: Failure) -> str:
        """``candidate`` failed before its first token: how. Raises ``error`` where it is the caller's."""
        # Of an answer that is to be gone on with, the caller has the half, and a refusal is of our own words.
        if self._broken is None and not moves_on(error):
            raise error
        why = self._room.note(candidate, error) or clause(error)
        self._run.failures.add(candidate, error, why)
        return why

    def _degraded(self, candidate: str, ignored: Sequence[str]) -> Iterator[Degraded]:
        """What the one that answers lacks, or another did; ``ignored``: options that it can't honour."""
        if ignored:
            yield Degraded("options", f"{candidate} can't honour {', '.join(ignored)}.")
        yield from self._room.notices(candidate)

    def _next(self, decision: RoutingDecision, following: Iterator[str]) -> Again:
        """Who is asked next, and after what pause. Raises what the request comes to where nobody is left."""
        failures, deadline = self._run.failures, self._run.deadline
        for model in following:
            if (why := self._room.keeps_out(model)) is None:
                return Again(model, 0.0)
            failures.pass_over(model, why)
        if self._broken is not None:
            raise self._broken
        choice = None
        if len(self._run.trace.attempts) < MOST_ATTEMPTS:
            left_s = None if deadline is None else deadline.at - asyncio.get_running_loop().time()
            choice = again(failures.errors, self._held_s, retries=self._retries, chance=self._chance(), left_s=left_s)
        if choice is None:
            raise failures.none_left(decision, self._room.remedy)
        self._retries += 1
        return choice

    def _held_s(self, model: str) -> float | None:
        """For how long its server asked us to leave ``model`` alone; None: its circuit is open."""
        try:
            health = self._router.health(model)
        except UnknownModel:
            return None
        if health.available:
            return 0.0
        return health.retry_in_s if health.held else None

    def _out_of_time(self, decision: RoutingDecision, candidate: str) -> ModelwayError:
        run = self._run
        assert run.deadline is not None
        if run.so_far.has_begun:
            ended = f"was ended: {run.deadline.name} passed before it was complete"
            return self._interrupted(ended, self._lineup.model(candidate), "timeout")
        return run.failures.deadline_passed(decision, candidate, run.deadline.name)

    def _interrupted(self, how: str, model: ResolvedModel, kind: str) -> StreamInterrupted:
        message = f"the answer of {model.id} {how}"
        partial = self._run.so_far.text
        return StreamInterrupted(message, partial=partial, model=model.id, backend=model.backend, kind=kind)

    def _seam(self) -> int | None:
        return None if self._broken is None else self._run.so_far.characters


def _slow_sentence(model: str, ttft_ms: float, budget_ms: int) -> str:
    return f"{model} took {ttft_ms / 1000:.3g} s to begin its answer; {budget_ms / 1000:g} s were wanted."


def _following(decision: RoutingDecision) -> Iterator[str]:
    """The chain of ``decision``, which it makes when it is read: most requests never do."""
    yield from decision.chain


async def _next(events: AsyncGenerator[BackendEvent, None], deadline: float | None) -> BackendEvent:
    """The next event. Raises ``TimeoutError`` once ``deadline`` (the loop's time) has passed."""
    try:
        if deadline is None:
            return await anext(events)
        async with asyncio.timeout_at(deadline):
            return await anext(events)
    except StopAsyncIteration:
        raise BackendError("the backend's stream ended without saying so", kind="interrupted") from None
