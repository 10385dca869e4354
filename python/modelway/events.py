"""What a request tells its caller while it runs: the ``ConductorMessage`` variants.

Each event is a small frozen record; ``announce()`` gives the one plain sentence that a screen reader
or a log line wants. Backends produce the delta events and ``Ended``; the conductor adds the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelway.types import RoutingDecision

#: How a place is called in a sentence for people.
PLACES = {"device": "on this device", "lan": "on your network", "external": "at a provider"}


def _about(eta_s: float | None) -> str:
    if eta_s is None:
        return ""
    seconds = max(1, round(eta_s))
    return ", about a second" if seconds == 1 else f", about {seconds} seconds"


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts as the backend reported them; None where it did not."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    @property
    def total_tokens(self) -> int | None:
        if self.prompt_tokens is None or self.completion_tokens is None:
            return None
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class ModelSelected:
    """The router chose a model; sent once, before anything is asked of it.

    ``display_name`` is what people call it, ``hand_off`` what is said of the change to a specialist, empty for none.
    """

    model: str
    backend: str
    task: str
    confidence: float
    location: str
    reason: str
    explanation: str
    request_id: str
    decision: RoutingDecision = field(repr=False, compare=False)
    display_name: str = ""
    hand_off: str = ""

    def announce(self) -> str:
        name = self.display_name or self.model
        return " ".join(filter(None, (self.hand_off, f"{name}, {PLACES[self.location]}, answers: {self.explanation}")))


@dataclass(frozen=True, slots=True)
class Queued:
    """The request waits for the model.

    ``position`` 1 is next; 0 ends the wait: it is the request's turn. ``eta_s`` is how many seconds it will
    take at the present pace, None before that is known. Told again when the position has changed by a tenth,
    at most once a second.
    """

    model: str
    backend: str
    position: int
    eta_s: float | None

    def announce(self) -> str:
        if self.position == 0:
            return ""  # the answer follows
        place = "next in line" if self.position == 1 else f"number {self.position} in line"
        return f"The request waits for {self.model}: {place}{_about(self.eta_s)}."


@dataclass(frozen=True, slots=True)
class ModelLoading:
    """The model is not in memory yet and is being loaded; ``eta_s``: in so many seconds it is there, None: unknown."""

    model: str
    backend: str
    eta_s: float | None = None

    def announce(self) -> str:
        return f"{self.model} is being loaded{_about(self.eta_s)}."


@dataclass(frozen=True, slots=True)
class FallingBack:
    """A model could not serve, and the next is asked; or the same again, where no other is left.

    ``continues_after``: so many characters of the answer have been handed on, and from this seam on they are
    ``to_model``'s. None: nothing has.
    """

    from_model: str
    to_model: str
    why: str
    continues_after: int | None = None

    def announce(self) -> str:
        if self.continues_after is not None:
            return (
                f"The answer of {self.from_model} broke off ({self.why}); from here on, after {self.continues_after} "
                f"characters, {self.to_model} answers."
            )
        asked = "asking it again" if self.to_model == self.from_model else f"asking {self.to_model} instead"
        return f"{self.from_model} could not answer ({self.why}); {asked}."


@dataclass(frozen=True, slots=True)
class Degraded:
    """Something is less than what was asked for; ``kind`` is a short stable word, ``detail`` a sentence."""

    kind: str
    detail: str

    def announce(self) -> str:
        return self.detail


@dataclass(frozen=True, slots=True)
class WarningLabel:
    """What should be known beside the answer; no part of its text.

    ``kind`` is ``math``, ``code``, ``external`` (told before anything is sent) or ``high_stakes``. Once a conversation
    and kind.
    """

    kind: str
    text: str

    def announce(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class ConsentNeeded:
    """A model that would have been preferred is elsewhere, and nobody has consented to what would be sent to it.

    It was passed over. ``kinds`` are the kinds of data that the request holds.
    """

    model: str
    destination: str
    kinds: tuple[str, ...]

    def announce(self) -> str:
        what = ", ".join(kind.replace("_", " ") for kind in self.kinds)
        return f"{self.model} was passed over: it would need your consent to send {what} to {self.destination}."


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer's text."""

    text: str = field(repr=False)

    def announce(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    """A piece of the model's thinking, kept apart from its answer."""

    text: str = field(repr=False)

    def announce(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a tool call.

    Pieces with the same ``index`` belong together; ``id`` and ``name`` come with the first, and the
    ``arguments`` of all pieces joined are one JSON document.
    """

    index: int
    id: str | None
    name: str | None
    arguments: str = field(repr=False)

    def announce(self) -> str:
        return f"The model calls {self.name}." if self.name else ""


@dataclass(frozen=True, slots=True)
class Ended:
    """A backend's stream ended well. Not shown to callers: the conductor turns it into ``Finished``.

    ``finish_reason`` is ``stop``, ``length`` or ``tool_calls``. ``load_ms`` is the time the backend
    itself spent on loading the model for this request, where known. ``raw`` holds the metrics of the
    protocol's last record as the backend sent them. ``is_damaged``: a part of the answer was no text
    and stands in it as U+FFFD.
    """

    finish_reason: str
    usage: Usage = Usage()
    load_ms: float | None = None
    raw: dict[str, Any] = field(default_factory=dict)
    is_damaged: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer is complete."""

    model: str
    backend: str
    finish_reason: str
    usage: Usage
    ttft_ms: float
    duration_ms: float
    load_ms: float

    def announce(self) -> str:
        cut = " It was cut at the length limit." if self.finish_reason == "length" else ""
        return f"{self.model} finished after {self.duration_ms / 1000:.1f} seconds.{cut}"


@dataclass(frozen=True, slots=True)
class Failed:
    """The request failed; the last event of its stream, followed by the error itself being raised."""

    error: Exception = field(compare=False)
    message: str
    partial: str = field(repr=False)

    def announce(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class AvailabilityChanged:
    """A model or a backend is in trouble that lasts, or is out of it; no part of any request.

    ``what``: ``unreachable`` (the server does not answer), ``circuit`` (requests failed, and are kept away),
    ``missing`` (the server does not have a default's model), ``unauthorized`` (it refuses the key). ``model`` is None
    where it is the whole backend. Each trouble is told once, and its end once; ``lasted_s`` is how long it has lasted.
    """

    model: str | None
    backend: str
    what: str
    is_over: bool
    lasted_s: float
    message: str

    def announce(self) -> str:
        return self.message


ToolCall = dict[str, Any]
ConductorMessage = (
    ModelSelected
    | Queued
    | ModelLoading
    | FallingBack
    | Degraded
    | WarningLabel
    | ConsentNeeded
    | TextDelta
    | ThinkingDelta
    | ToolCallDelta
    | Finished
    | Failed
)
BackendEvent = ModelLoading | TextDelta | ThinkingDelta | ToolCallDelta | Ended
