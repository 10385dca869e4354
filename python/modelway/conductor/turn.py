"""One model's turn at a request: admitted once, given back exactly once.

The turn owns its ticket from ``admit`` on, also while it waits. Leaving its ``with`` block by whatever way
says how it ended: an answer that came to its end, a backend's failure, or else a caller that left, which
says nothing about the model. One that was never begun is as if it had never been.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from modelway.conductor.history import AttemptRecord
from modelway.errors import BackendError, StreamInterrupted
from modelway.events import Ended, Finished, ModelLoading, Queued, TextDelta, ThinkingDelta, ToolCallDelta
from modelway.types import RequestOutcome

if TYPE_CHECKING:
    from modelway.conductor.history import Trace
    from modelway.conductor.seam import SoFar
    from modelway.config.settings import ResolvedModel
    from modelway.events import BackendEvent, ConductorMessage
    from modelway.residency import GpuMemoryManager
    from modelway.waiters import Waiters

#: The core takes no larger count; a caller or a server may claim any.
_MAX_COUNT = 2**53

#: Seconds between two looks at where a waiting request stands.
LOOK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request asks of a model: for whom, for about how many tokens, until when (the loop's time)."""

    user: str | None
    tokens: int
    deadline: float | None
    is_retry: bool


class Turn:
    """``with Turn(...) as turn``, then ``turn.wait()`` to its end, then the model may be asked.

    Entering raises ``NoModelAvailable`` where the model may not be asked now, ``RateLimited`` or ``QueueFull``
    where a limit keeps the request out. What is handed on of the answer is added to ``so_far``.
    """

    def __init__(
        self,
        waiters: Waiters,
        memory: GpuMemoryManager,
        model: ResolvedModel,
        trace: Trace,
        *,
        claim: Claim,
        so_far: SoFar,
    ) -> None:
        self.model = model
        self._waiters = waiters
        self._memory = memory
        self._trace = trace
        self._claim = claim
        self._so_far = so_far
        self._has_begun = False
        self._started_at = 0.0
        self._waited_for_load_ms = 0.0
        self._loading_at: float | None = None
        self._first_at: float | None = None
        self._ended: Ended | None = None
        self._ended_at = 0.0

    def __enter__(self) -> Self:
        claim = self._claim
        left_s = None if claim.deadline is None else max(0.0, claim.deadline - asyncio.get_running_loop().time())
        self._permit = self._waiters.admit(
            self.model.id, claim.user, tokens=min(claim.tokens, _MAX_COUNT), deadline_s=left_s, is_retry=claim.is_retry
        )
        return self

    async def wait(self) -> AsyncGenerator[Queued | ModelLoading, None]:
        """Where the request stands in the queue, until it is its turn; told again when it is nearer by a tenth.

        While its model is loaded for it that is what is told. Raises ``NoModelAvailable`` where the model could not be
        loaded or its circuit opened meanwhile, ``TimeoutError`` once the claim's deadline has passed.
        """
        model, backend = self.model.id, self.model.backend
        told: int | None = None
        is_load_told = False
        while self._permit.is_waiting:
            # Asked for first: what changes from here on is not missed.
            change = self._memory.change_of(model)
            is_loading = self._memory.is_loading(model)
            place = self._permit.place()
            began = time.perf_counter()
            try:
                if is_loading and not is_load_told:
                    is_load_told = True
                    yield ModelLoading(model, backend, None if place is None else place[1])
                elif not is_loading and place is not None and (told is None or told - place[0] >= max(1, told // 10)):
                    told = place[0]
                    yield Queued(model, backend, *place)
                async with asyncio.timeout_at(self._claim.deadline):
                    await self._permit.granted(LOOK_EVERY_S, or_until=change)
            finally:
                waited_ms = (time.perf_counter() - began) * 1000
                if is_loading:
                    self._waited_for_load_ms += waited_ms
                else:
                    self._trace.queued_ms += waited_ms
        if told is not None or is_load_told:
            yield Queued(model, backend, 0, 0.0)
        self._has_begun = True
        self._started_at = time.perf_counter()

    @property
    def answering(self) -> bool:
        """Whether something of the answer has come to be handed on: from here there is no way back."""
        return self._first_at is not None

    @property
    def warm_ttft_ms(self) -> float:
        """How long the model took to its first token; 0.0 where it had to be loaded first, or has yet to answer."""
        return 0.0 if self._loading_at is not None or self._ttft_ms is None else self._ttft_ms

    @property
    def ended(self) -> bool:
        return self._ended is not None

    @property
    def is_damaged(self) -> bool:
        """Whether a part of the complete answer was no text."""
        return self._ended is not None and self._ended.is_damaged

    def note(self, event: BackendEvent) -> ConductorMessage | None:
        """Take note of ``event``; what the caller is to see of it."""
        match event:
            case Ended():
                self._ended = event
                self._ended_at = time.perf_counter()
                return None
            case ModelLoading():
                self._loading_at = time.perf_counter()
                return event
            case TextDelta(text="") | ThinkingDelta(text=""):
                return None  # says nothing, so the way back stays open
            case TextDelta(text=text):
                self._so_far.texts.append(text)
            case ToolCallDelta():
                self._so_far.has_tool_calls = True
        if self._first_at is None:
            self._begin_answer()
        return event

    def _begin_answer(self) -> None:
        self._first_at = time.perf_counter()
        if not self._so_far.has_begun:
            self._so_far.has_begun = True
            self._trace.ttft_ms = self._trace.elapsed_ms()

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if not self._has_begun:
            self._permit.cancel()
            return
        if self._ended is None:
            self._ended_at = time.perf_counter()
            kind = error.kind if isinstance(error, BackendError | StreamInterrupted) else "cancelled"
            retry_after_s = error.retry_after_s if isinstance(error, BackendError) else None
            outcome = RequestOutcome(
                False,
                kind=kind,
                duration_ms=self._duration_ms,
                retry_after_s=retry_after_s,
                load_ms=self._own_load_ms,
            )
        else:
            self._trace.served(self.model.id)
            outcome = self._success(self._ended)
        record = AttemptRecord(self.model.id, outcome.kind, self._ttft_ms, self._duration_ms)
        self._trace.attempts.append(record)
        self._permit.finish(outcome, self._real_tokens(error))

    def _real_tokens(self, error: BaseException | None) -> int | None:
        """What the request read and wrote; None: as much as was thought."""
        if isinstance(error, BackendError):
            return 0
        total = None if self._ended is None else self._ended.usage.total_tokens
        return total if total is None or total <= _MAX_COUNT else None

    def finished(self) -> Finished:
        """The event that tells the caller of the end; its times are the caller's, over all attempts."""
        assert self._ended is not None
        duration_ms = self._trace.elapsed_ms()
        return Finished(
            model=self.model.id,
            backend=self.model.backend,
            finish_reason=self._ended.finish_reason,
            usage=self._ended.usage,
            ttft_ms=duration_ms if self._trace.ttft_ms is None else self._trace.ttft_ms,
            duration_ms=duration_ms,
            load_ms=self._waited_for_load_ms + (self._load_ms or 0.0),
        )

    def _success(self, ended: Ended) -> RequestOutcome:
        # Health keeps the speed of a warm model: what loading took is left out of both times.
        load_ms = self._load_ms or 0.0
        ttft_ms = self._ttft_ms
        tokens = ended.usage.completion_tokens
        return RequestOutcome(
            True,
            ttft_ms=None if ttft_ms is None else max(0.0, ttft_ms - load_ms),
            duration_ms=max(0.0, self._duration_ms - load_ms),
            tokens=tokens if tokens is not None and tokens <= _MAX_COUNT else None,
            load_ms=self._own_load_ms,
        )

    @property
    def _own_load_ms(self) -> float | None:
        """What loading took where this request had it loaded: backends tell a moment of it for warm models, too."""
        return None if self._loading_at is None else self._load_ms

    @property
    def _load_ms(self) -> float | None:
        """What the backend says, else the time from its word that it loads to the first token: never too little."""
        if self._ended is not None and self._ended.load_ms is not None:
            return self._ended.load_ms
        if self._loading_at is None or self._first_at is None:
            return None
        return (self._first_at - self._loading_at) * 1000

    @property
    def _ttft_ms(self) -> float | None:
        return None if self._first_at is None else (self._first_at - self._started_at) * 1000

    @property
    def _duration_ms(self) -> float:
        return (self._ended_at - self._started_at) * 1000
