"""What is remembered of each request: models, times and outcomes, and its words only where the user wants them kept.

The prompt stands there as an HMAC under a key that lives and dies with the process: equal prompts can
be told, and nothing can be looked up in a table of hashes.
"""

from __future__ import annotations

import hmac
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from modelway.errors import (
    BackendError,
    ContextTooLong,
    ModelwayError,
    NoModelAvailable,
    QueueFull,
    RateLimited,
    StreamInterrupted,
)

#: How many requests a conductor remembers.
HISTORY_LENGTH = 1_000

_KEY = secrets.token_bytes(32)


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One model that was asked. ``outcome`` is a kind of :class:`modelway.RequestOutcome`."""

    model: str
    outcome: str
    ttft_ms: float | None
    duration_ms: float


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request, from its arrival to its end.

    ``started_at`` is wall time in UTC, for display only. ``task`` is None where no decision was
    reached. ``attempts`` are the models that were asked, in order; ``model`` is the one that served,
    else None. ``outcome`` is ``success``, ``cancelled``, ``interrupted`` (it broke off after its first
    token), ``no_model``, ``context_length``, ``limited``, ``queue_full``, or the outcome kind of an error that
    went to the caller (``rejected``, ``unauthorized``). ``queued_ms`` is what it waited in queues, over all
    candidates, also in vain. ``ttft_ms`` counts from the arrival, over all attempts. ``prompt`` is None unless
    ``[privacy] history_text`` is on.
    """

    request_id: str
    started_at: datetime
    prompt_hash: str
    task: str | None
    attempts: tuple[AttemptRecord, ...]
    model: str | None
    queued_ms: float
    ttft_ms: float | None
    duration_ms: float
    outcome: str
    # Left out of the repr: it would end up in logs.
    prompt: str | None = field(default=None, repr=False)


class Trace:
    """A request while it runs; ``record`` freezes it. Cancelled is what it is until something else is known."""

    def __init__(self, request_id: str, prompt: str, *, keeps_text: bool) -> None:
        self.request_id = request_id
        self.task: str | None = None
        self.attempts: list[AttemptRecord] = []
        self.model: str | None = None
        self.queued_ms = 0.0
        self.ttft_ms: float | None = None
        self.outcome = "cancelled"
        self._prompt = prompt if keeps_text else None
        self._prompt_hash = hmac.digest(_KEY, prompt.encode(), "sha256").hex()
        self._started_at = datetime.now(UTC)
        self._started = time.perf_counter()

    def elapsed_ms(self) -> float:
        return (time.perf_counter() - self._started) * 1000

    def served(self, model: str) -> None:
        self.model = model
        self.outcome = "success"

    def failed(self, error: ModelwayError) -> None:
        match error:
            case StreamInterrupted():
                self.outcome = "interrupted"
            case BackendError():
                self.outcome = error.kind
            case ContextTooLong():
                self.outcome = "context_length"
            case NoModelAvailable():
                self.outcome = "no_model"
            case RateLimited():
                self.outcome = "limited"
            case QueueFull():
                self.outcome = "queue_full"

    def record(self) -> RequestRecord:
        return RequestRecord(
            request_id=self.request_id,
            started_at=self._started_at,
            prompt_hash=self._prompt_hash,
            task=self.task,
            attempts=tuple(self.attempts),
            model=self.model,
            queued_ms=self.queued_ms,
            ttft_ms=self.ttft_ms,
            duration_ms=self.elapsed_ms(),
            outcome=self.outcome,
            prompt=self._prompt,
        )
