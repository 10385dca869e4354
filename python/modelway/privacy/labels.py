"""Warnings beside an answer, never inside of it: once a conversation and kind."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from modelway.events import WarningLabel

if TYPE_CHECKING:
    from modelway.config.trust import WarningsConfig
    from modelway.terminology import Words

#: So many conversations are remembered; of one that was forgotten the warnings come once more.
_CONVERSATIONS = 10_000
#: Tasks whose answers have a warning of their own.
_OF_TASK = {"math": "math", "code": "code"}


class Labels:
    """What was told in which conversation. Requests that name none are each a conversation of their own."""

    def __init__(self) -> None:
        self._told: OrderedDict[str, set[str]] = OrderedDict()

    def beside(
        self, config: WarningsConfig, words: Words, *, conversation: str | None, task: str, stakes: Iterable[str]
    ) -> list[WarningLabel]:
        """For an answer to ``task`` (short name); ``stakes``: which of ``tax``, ``medical``, ``legal`` it is about."""
        kind = _OF_TASK.get(task)
        labels = []
        if kind is not None and getattr(config, kind) and self._is_new(conversation, kind):
            labels.append(WarningLabel(kind, words.label(kind)))
        if config.high_stakes:
            new = [stake for stake in stakes if self._is_new(conversation, stake)]
            labels += [WarningLabel("high_stakes", words.label(stake)) for stake in new]
        return labels

    def before_sending(
        self, config: WarningsConfig, words: Words, *, conversation: str | None, destination: str
    ) -> list[WarningLabel]:
        """Before a request leaves for ``destination``."""
        if config.external and self._is_new(conversation, f"external {destination}"):
            return [WarningLabel("external", words.label("external", destination=destination))]
        return []

    def _is_new(self, conversation: str | None, kind: str) -> bool:
        if conversation is None:
            return True
        told = self._told.setdefault(conversation, set())
        self._told.move_to_end(conversation)
        if len(self._told) > _CONVERSATIONS:
            self._told.popitem(last=False)
        is_new = kind not in told
        told.add(kind)
        return is_new
