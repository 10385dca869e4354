"""What models take: as measured, else as it is written or estimated."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelway.backends.base import RunningModel
    from modelway.config.settings import ResolvedModel


class Sizes:
    """What servers said of the models they had in memory, by our ids."""

    def __init__(self) -> None:
        #: Whether the memory that is managed is that of graphics cards.
        self.has_gpu = False
        self._measured: dict[str, int] = {}
        self._split: dict[str, tuple[int, int]] = {}
        self._context: dict[str, tuple[int, int]] = {}

    def note(self, model: ResolvedModel, running: RunningModel) -> int | None:
        """Its server says that it has ``model`` so; the bytes that count, None: it does not say."""
        self.gone(model.id)
        if running.context is not None and model.num_ctx is not None and running.context < model.num_ctx:
            self._context[model.id] = model.num_ctx, running.context
        if running.size_bytes is None:
            return None
        size, on_card = running.size_bytes, running.vram_bytes
        if on_card is not None and on_card < size and (on_card or self.has_gpu):
            self._split[model.id] = size, on_card
        if self.has_gpu and on_card:
            size = on_card
        if not model.is_memory_estimated:
            # A written size is corrected upwards only.
            size = max(size, model.memory_bytes or 0)
        self._measured[model.id] = size
        return size

    def gone(self, model: str) -> None:
        """It is not there any more; what it took is still what it will take."""
        self._split.pop(model, None)
        self._context.pop(model, None)

    def split(self, model: str) -> tuple[int, int] | None:
        """Bytes in all and in graphics memory of a model that is not wholly there, though it could be."""
        return self._split.get(model)

    def reduced_context(self, model: str) -> tuple[int, int] | None:
        """The tokens of context that were asked for and those that there are, where its server gave it fewer."""
        return self._context.get(model)

    def thought(self, model: ResolvedModel) -> int | None:
        """What ``model`` is thought to take; None: nobody knows."""
        return self._measured.get(model.id, model.memory_bytes)
