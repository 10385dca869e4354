"""The written configuration, kept completed with what the backends say they have."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from modelway.discovery.survey import complete, tells_its_models
from modelway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelway.backends.base import ServedModel
    from modelway.config import Config
    from modelway.config.settings import ResolvedBackend
    from modelway.router import ModelRouter

_log = logging.getLogger("modelway.monitor")


class Completion:
    """Completes ``written`` in ``router`` until somebody else replaces it there, and answers for it from then on.

    ``written`` None: the router's configuration is somebody else's from the beginning.
    """

    def __init__(self, router: ModelRouter, written: Config | None) -> None:
        #: The configuration as it was completed last.
        self.config = written
        self._router = router
        self._written = written
        self._settings = router.settings
        #: The last answer of each backend; one that is away still has its models.
        self._answers: dict[str, Sequence[ServedModel]] = {}
        self._is_news = False

    @property
    def is_ours(self) -> bool:
        return self._written is not None and self._router.settings is self._settings

    def note(self, backend: ResolvedBackend, served: Sequence[ServedModel]) -> None:
        """What a backend has said."""
        if tells_its_models(backend) and self._answers.get(backend.name) != served:
            self._answers[backend.name] = served
            self._is_news = True

    def put_in_force(self) -> None:
        """Replace the router's configuration where the answers have changed it."""
        if not self._is_news or self._written is None or not self.is_ours:
            return
        self._is_news = False
        completed = complete(self._written, self._answers)
        if completed == self.config:
            return
        self.config = completed
        try:
            self._router.replace_config(completed)
        except ConfigError as error:
            _log.warning("what the servers say can't be used: %s", error)
        self._settings = self._router.settings
