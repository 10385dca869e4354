"""A whole answer, put together from the events of its stream."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from modelway.events import (
    ConductorMessage,
    ConsentNeeded,
    Degraded,
    FallingBack,
    Finished,
    ModelSelected,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    WarningLabel,
)
from modelway.types import RoutingDecision

#: What is told in ``Reply.warnings``.
_WARNINGS = (Degraded, FallingBack, WarningLabel, ConsentNeeded)


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer.

    ``model`` is the model that served; ``decision`` stays the router's first word, so the two differ
    after a fallback. ``tool_calls`` stand in OpenAI's form, ``arguments`` as a JSON text. ``warnings``
    are the sentences of everything that was less than what was asked for, or should be known beside it. What
    the model said is left out of the repr.
    """

    text: str = field(repr=False)
    thinking: str = field(repr=False)
    tool_calls: tuple[ToolCall, ...] = field(repr=False)
    model: str
    decision: RoutingDecision
    events: tuple[ConductorMessage, ...] = field(repr=False)
    usage: Usage
    warnings: tuple[str, ...]
    finish_reason: str
    request_id: str


def reply_of(events: list[ConductorMessage]) -> Reply:
    """The reply that a stream's events make; they begin with ModelSelected and end with Finished."""
    selected, finished = events[0], events[-1]
    assert isinstance(selected, ModelSelected)
    assert isinstance(finished, Finished)
    return Reply(
        text="".join(event.text for event in events if isinstance(event, TextDelta)),
        thinking="".join(event.text for event in events if isinstance(event, ThinkingDelta)),
        tool_calls=tool_calls(event for event in events if isinstance(event, ToolCallDelta)),
        model=finished.model,
        decision=selected.decision,
        events=tuple(events),
        usage=finished.usage,
        warnings=tuple(event.announce() for event in events if isinstance(event, _WARNINGS)),
        finish_reason=finished.finish_reason,
        request_id=selected.request_id,
    )


def tool_calls(deltas: Iterable[ToolCallDelta]) -> tuple[ToolCall, ...]:
    """The whole tool calls that the pieces make, in OpenAI's form."""
    calls: dict[int, ToolCall] = {}
    for delta in deltas:
        # Not every server numbers its calls, but the message that answers one must name it.
        empty = {"id": f"call_{delta.index}", "type": "function", "function": {"name": "", "arguments": ""}}
        call = calls.setdefault(delta.index, empty)
        call["id"] = delta.id or call["id"]
        call["function"]["name"] = delta.name or call["function"]["name"]
        call["function"]["arguments"] += delta.arguments
    return tuple(calls[index] for index in sorted(calls))
