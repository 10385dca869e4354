"""`ModelRouter`: from settings to the table of the Rust core."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from modelway._core import CoreRouter

if TYPE_CHECKING:
    from modelway.config import Config
    from modelway.config.settings import ResolvedBackend, ResolvedModel, Settings
    from modelway.privacy.consent import Consent
    from modelway.waiters import Waiters


@dataclass(frozen=True, slots=True)
class ManagedMemory:
    """What the models of one backend share, where somebody loads and unloads them at the router's word.

    ``computes_alone``: only one of them computes at a time. ``device``: backends that name the same one share it, and
    say the same of it; None: it is the backend's own.
    """

    capacity_bytes: int
    computes_alone: bool
    device: str | None = None


_NOTHING: Mapping[str, ManagedMemory] = MappingProxyType({})


class ModelRouter(CoreRouter):
    """Decides which model serves a request.

    Thread-safe and without I/O: one router may be used from any number of threads and event loops.
    ``ModelRouter(config)`` takes what :func:`modelway.load_config` gives; None loads the configuration
    from its usual places. Raises ``ConfigError`` with every problem at once.

    >>> router = ModelRouter(load_config("models.toml"))        # doctest: +SKIP
    >>> str(router.select("solve x^2 = 2").task)                # doctest: +SKIP
    'math'
    """

    settings: Settings
    #: Whoever waits for this router's admission; the first conductor makes it, and all that share the router share it.
    waiters: Waiters
    #: The backends whose memory is managed, and by whom; see :meth:`manage`.
    managed: Mapping[str, ManagedMemory]
    memory_manager: object | None
    #: Consents beside those of the configuration, and those.
    _given: tuple[Mapping[str, Any], ...]
    _configured: tuple[Consent, ...]
    _telling: Lock

    def __new__(cls, config: Config | None = None) -> ModelRouter:
        settings = _resolved(config)
        router = super().__new__(cls, for_core(settings))
        router.settings = settings
        router.managed = _NOTHING
        router.memory_manager = None
        router._given = ()
        router._configured = ()
        router._telling = Lock()
        router._tell_consents()
        return router

    def replace_config(self, config: Config) -> None:
        """Swap the whole table for that of ``config``; the health of models whose ids stay is kept.

        Decisions made before keep what they were made from. Raises ``ConfigError``; then nothing has
        changed.
        """
        settings = _resolved(config)
        self.replace_table(for_core(settings, self.managed))
        self.settings = settings
        self._tell_consents()
        self._let_go_on()

    def set_consents(self, consents: Iterable[Mapping[str, Any]]) -> None:
        """What may be sent where from now on, beside what the configuration consents to.

        Each is what ``Consent.for_core`` makes. Passes made under a consent that is not there any more are void.
        """
        with self._telling:
            self._given = tuple(consents)
        self._tell_consents()

    def _tell_consents(self) -> None:
        with self._telling:
            written = self.settings.privacy.consents
            if written or self._configured:
                from modelway.privacy.consent import consents_of

                self._configured = consents_of(written, self._configured)
            super().set_consents([*self._given, *(consent.for_core() for consent in self._configured)])

    def manage(self, memory: Mapping[str, ManagedMemory]) -> None:
        """From now on the caller loads and unloads the models of these backends (by name) as ``Effects`` say, and
        reports it, also under configurations to come. What is configured of a backend's memory stands before it: then
        it has a device of its own.
        """
        self.replace_table(for_core(self.settings, memory))
        self.managed = MappingProxyType(dict(memory))
        self._let_go_on()

    def _let_go_on(self) -> None:
        """Those whom the new settings let go on."""
        if "waiters" in vars(self):
            self.waiters.tick()

    def limits_in_force(self) -> list[dict[str, Any]]:
        """Each limit in force: those that the core keeps, and the connections of each backend.

        ``what`` is its kind and ``of`` whose it is; ``limit`` counts ``unit``, in ``window_s`` seconds where it is a
        rate or a quota, of which ``burst`` may come at once where it is a rate.
        """
        connections = [
            {"what": "connections", "unit": "connections", "limit": most, "of": f"backend {backend.name}"}
            for backend in self.settings.backends
            if (most := backend.max_connections)
        ]
        return [*self.limits(), *connections]


def _resolved(config: Config | None) -> Settings:
    from modelway.config import load_config
    from modelway.config.settings import resolve

    return resolve(load_config() if config is None else config)


def for_core(settings: Settings, managed: Mapping[str, ManagedMemory] = _NOTHING) -> dict[str, Any]:
    """Plain values, one dict a model and a backend: what the binding reads."""
    fields = (
        "id", "backend", "aliases", "strengths", "weaknesses", "capabilities", "avg_ttft_ms", "avg_tokens_per_sec",
        "max_context", "max_concurrent", "supports_streaming", "supports_tools", "cost_tier",
        "license_tier", "license", "location", "destination",
    )  # fmt: skip
    sizes = _sizes(settings, managed)
    backends = {backend.name: backend for backend in settings.backends}
    return {
        "models": [
            {field: _plain(getattr(model, field)) for field in fields}
            | {"limits": asdict(model.limits), "is_pinned": model.pinned}
            | {"memory_bytes": sizes[model.id], "is_own_network": _is_own_network(model, backends[model.backend])}
            for model in settings.models
        ],
        "backends": [
            {
                "name": backend.name,
                **_memory_shared(backend, managed.get(backend.name), settings),
                "max_wait_ms": round(settings.memory.max_wait_s * 1000),
                "max_waiting": settings.fairness.max_waiting,
                "limits": asdict(backend.limits),
                "retry_percent": settings.health.retry_percent,
                "retry_reserve_per_s": settings.health.retries_per_s,
                "location": backend.location,
                "destination": backend.destination,
                "is_own_network": _is_own_network(backend, backend),
            }
            for backend in settings.backends
        ],
        "limits": {
            "all": asdict(settings.limits),
            "user": asdict(settings.user_limits),
            "quota": [asdict(quota) for quota in settings.quotas],
        },
        "privacy": {
            "allow_external": settings.privacy.allow_external,
            "allow_lan": settings.privacy.allow_lan,
            "secret_scan": settings.privacy.secret_scan_before_external,
        },
        "forbid_licenses": list(settings.forbid_licenses),
        "prefer_warm": settings.prefer_warm,
        "max_users": settings.fairness.max_users,
        "shares": list((settings.fairness.shares or {}).items()),
        "defaults": list(settings.defaults.items()),
        "fallbacks": [(name, list(links)) for name, links in settings.fallbacks.items()],
        "keywords": [(task, list(words)) for task, words in settings.keywords.items()],
        "weights": _weights(settings),
        "threshold": settings.classifier.threshold,
        "priors": list(settings.classifier.priors.items()),
        "budgets_ms": {
            "quick": settings.timeouts.quick_ms,
            "standard": settings.timeouts.standard_ms,
            "deep": settings.timeouts.deep_ms,
        },
        "failures_to_open": settings.health.failures_to_open,
        "backoff_ms": settings.health.backoff_ms,
        "max_backoff_ms": settings.health.max_backoff_ms,
        "window_ms": settings.health.window_ms,
        "least_success_percent": settings.health.least_success_percent,
        "samples_to_judge": settings.health.samples_to_judge,
    }


def _is_own_network(there: ResolvedBackend | ResolvedModel, backend: ResolvedBackend) -> bool:
    """Whether ``there`` is a server on the local network whose literal address the user wrote, or a model of one.

    A model that such a server hands on to another is not: nobody wrote that one's address.
    """
    is_there = there.location == backend.location == "lan" and there.destination == backend.destination
    return is_there and there.destination is not None and backend.is_literal


def _memory_shared(backend: ResolvedBackend, managed: ManagedMemory | None, settings: Settings) -> dict[str, Any]:
    if managed is None:
        return {"memory_bytes": backend.memory_bytes}
    return {
        "memory_bytes": backend.memory_bytes or managed.capacity_bytes,
        "is_managed": True,
        "computes_alone": managed.computes_alone,
        "embedding_bytes": settings.memory.embedding_bytes,
        "device": _device(backend, managed),
    }


def _device(backend: ResolvedBackend, managed: ManagedMemory | None) -> str:
    """The device that the backend's models live on, by the name that the core knows it by."""
    shared = managed.device if managed is not None and backend.memory_bytes is None else None
    return shared or f"backend {backend.name}"


def _sizes(settings: Settings, managed: Mapping[str, ManagedMemory]) -> dict[str, int | None]:
    """What each model is thought to take.

    An estimate is no reason to refuse a model for ever, nor is a capacity that nobody wrote: servers use more, such as
    the machine's memory beside that of a graphics card. So one that is too large is thought to take all there is beside
    the pinned ones.
    """
    written = {backend.name: backend.memory_bytes for backend in settings.backends}
    measured = {name: memory.capacity_bytes for name, memory in managed.items()}
    device = {backend.name: _device(backend, managed.get(backend.name)) for backend in settings.backends}
    pinned = [model for model in settings.models if model.pinned]
    sizes = {}
    for model in settings.models:
        size, capacity = model.memory_bytes, written[model.backend] or measured.get(model.backend)
        is_sure = written[model.backend] is not None and not model.is_memory_estimated
        if size is not None and capacity is not None and not is_sure:
            own = device[model.backend]
            others = (other for other in pinned if device[other.backend] == own and other is not model)
            size = min(size, max(0, capacity - sum(other.memory_bytes or 0 for other in others)))
        sizes[model.id] = size
    return sizes


def _weights(settings: Settings) -> bytes | None:
    """The user's own weights; None: the shipped ones. Raises ``ConfigError`` where the file can't be read."""
    file = settings.classifier.weights
    if file is None:
        return None
    try:
        return file.read_bytes()
    except OSError as error:
        from modelway.errors import ConfigError, ConfigProblem

        problem = f'"{file}" can\'t be read ({error.strerror}); remove the line for the shipped weights'
        raise ConfigError([ConfigProblem("classifier.weights", problem)]) from error


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
