"""What one request carries from its first step to its last."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modelway.conductor.seam import SoFar
from modelway.conductor.turn import Claim

if TYPE_CHECKING:
    from modelway.backends.base import ChatCall
    from modelway.conductor.deadlines import Deadline, RequestDeadlines
    from modelway.conductor.failures import Failures
    from modelway.conductor.history import Trace
    from modelway.types import RoutingRequest

#: Tokens of an answer that nobody has seen yet, where its own limit is not less: a few paragraphs. Too many would
#: keep short requests from small limits; what they really were is counted in the end.
EXPECTED_ANSWER_TOKENS = 256


@dataclass(slots=True)
class Run:
    """One request. Its parts change as it goes along the chain."""

    request: RoutingRequest = field(repr=False)
    call: ChatCall = field(repr=False)
    trace: Trace
    deadlines: RequestDeadlines
    failures: Failures = field(repr=False)
    so_far: SoFar = field(default_factory=SoFar)

    @property
    def deadline(self) -> Deadline | None:
        """The one that counts now."""
        return self.deadlines.total if self.so_far.has_begun else self.deadlines.first_token

    @property
    def claim(self) -> Claim:
        """What the next candidate is asked for. Only what was sent before makes it a second attempt."""
        most = self.call.options.get("max_tokens")
        answer = min(most, EXPECTED_ANSWER_TOKENS) if isinstance(most, int) else EXPECTED_ANSWER_TOKENS
        tokens = self.request.context_tokens + max(0, answer)
        until = None if self.deadline is None else self.deadline.at
        return Claim(self.request.user, tokens, until, is_retry=bool(self.trace.attempts))
