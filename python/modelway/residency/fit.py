"""Which models did not fit into memory, and what that says of a second try, and of other models."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from modelway.residency.shortage import is_shortage, raised

if TYPE_CHECKING:
    from modelway.config.settings import ResolvedModel
    from modelway.errors import BackendError
    from modelway.residency.sizes import Sizes
    from modelway.router import ModelRouter

_log = logging.getLogger("modelway.residency")


class Fit:
    """What came of the loads of ``router``'s managed backends."""

    def __init__(self, router: ModelRouter, sizes: Sizes) -> None:
        self._router = router
        self._sizes = sizes
        self._did_not_fit: set[str] = set()
        self._tried_again: set[str] = set()

    def did_not_fit(self, model: str) -> bool:
        """Whether its last load failed for want of memory."""
        return model in self._did_not_fit

    def loaded(self, model: str) -> None:
        self._did_not_fit.discard(model)
        self._tried_again.discard(model)

    def failed(self, model: str, backend: str, error: BackendError | None) -> int | None:
        """What the model is to be thought to take, and to be loaded again with; None: it has failed."""
        if error is not None and is_shortage(error):
            self._did_not_fit.add(model)
            if model not in self._tried_again:
                self._tried_again.add(model)
                _log.warning("%s; once more, when what is idle has made room", error)
                return self._more_than_thought(model, backend)
        self._tried_again.discard(model)
        return None

    def needs_as_much(self, model: ResolvedModel, failed: ResolvedModel) -> tuple[int, int] | None:
        """What ``model`` and ``failed`` are thought to take, where the first would have to be loaded into the memory
        that is too little for the second, and is not smaller.

        None also where that is not known: of a backend that is not managed nobody knows what is there.
        """
        if not {model.backend, failed.backend} <= self._router.managed.keys():
            return None
        if self._router.device(model.backend) != self._router.device(failed.backend):
            return None
        needs, did_not_fit = self._sizes.thought(model), self._sizes.thought(failed)
        if needs is None or did_not_fit is None or needs < did_not_fit or self._is_there(model):
            return None
        return needs, did_not_fit

    def _is_there(self, model: ResolvedModel) -> bool:
        held = self._router.residents(model.backend)
        return any(one.model == model.id and one.state != "unloading" for one in held)

    def _more_than_thought(self, model: str, backend: str) -> int:
        held = self._router.residents(backend)
        thought = next((one.memory_bytes for one in held if one.model == model), 0)
        capacity, _ = self._router.memory(backend)
        return raised(thought) if capacity is None else min(raised(thought), capacity)
