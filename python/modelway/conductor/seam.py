"""What the caller has got of an answer, and how another model goes on with one that broke off.

The next model reads the conversation, the piece of answer as its own, and the request to go on exactly there. The place
where it does is the seam: told by an event, never hidden.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelway.backends.base import ChatCall

_GO_ON = (
    "Your answer broke off there. Go on from exactly where it stopped, in the middle of a word if need be: repeat "
    "nothing, add no introduction, and do not mention the interruption."
)


@dataclass(slots=True)
class SoFar:
    """The answer as far as it has been handed on, over all models that had a part in it."""

    texts: list[str] = field(default_factory=list, repr=False)
    has_begun: bool = False
    has_tool_calls: bool = False

    @property
    def text(self) -> str:
        return "".join(self.texts)

    @property
    def characters(self) -> int:
        return sum(map(len, self.texts))


def can_go_on(call: ChatCall, so_far: SoFar) -> bool:
    """Whether another model could go on: with text it can.

    A tool call that broke off is no call, and a model that is held to a format would begin it anew.
    """
    return not so_far.has_tool_calls and not call.options.get("response_format")


def continued(call: ChatCall, text: str) -> ChatCall:
    """``call``, its answer to be gone on with behind ``text``; of an answer without text there is nothing to repeat."""
    if not text:
        return call
    messages = [*call.messages, {"role": "assistant", "content": text}, {"role": "user", "content": _GO_ON}]
    return replace(call, messages=messages)
