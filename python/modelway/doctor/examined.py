"""All that the checks look at, gathered once: by what discovery may ask, and by files of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from modelway.backends.base import Backend, RunningModel
from modelway.backends.factory import make_backend
from modelway.config import Config
from modelway.config.settings import ResolvedBackend, ResolvedModel, Settings, resolve
from modelway.discovery.survey import complete, tells_its_models
from modelway.doctor.machine import Kept, kept_files, ollama_host, open_ports
from modelway.errors import BackendError, StateError
from modelway.monitor.checks import LIST_S, Seen, listed
from modelway.pools import PoolManager
from modelway.privacy.consent import Consent, ConsentStore
from modelway.privacy.ledger import EgressLedger
from modelway.residency.machine import read_machine
from modelway.router import ModelRouter


@dataclass(frozen=True)
class Machine:
    """What this machine shows. ``ledger_problem`` None: the ledger is whole."""

    kept: Sequence[Kept] = ()
    open_ports: frozenset[int] = frozenset()
    ollama_host: str = ""
    has_gpu: bool = False
    consents: Sequence[Consent] = ()
    ledger_problem: str | None = None


@dataclass(frozen=True)
class Examined:
    """``config`` is completed by what the servers say; ``seen`` and ``running`` are by backend, of those asked."""

    config: Config
    seen: Mapping[str, Seen]
    running: Mapping[str, Sequence[RunningModel]]
    machine: Machine
    now: datetime

    @cached_property
    def settings(self) -> Settings:
        return resolve(self.config)

    @cached_property
    def backends(self) -> dict[str, ResolvedBackend]:
        return {backend.name: backend for backend in self.settings.backends}

    @cached_property
    def defaults(self) -> dict[str, str]:
        """The ids of the models of ``[defaults]`` by task."""
        router = ModelRouter(self.config)
        return {task: router.resolve(name) for task, name in self.settings.defaults.items()}

    @property
    def all_answered(self) -> bool:
        """Whether every server that was asked has told what it has, so that what nobody named is not there."""
        return all(seen.served is not None for seen in self.seen.values())


async def examine(config: Config) -> Examined:
    """Ask the backends on this device, look at files, and complete ``config``. Raises :class:`ConfigError`."""
    settings = resolve(config)
    asked = [backend for backend in settings.backends if tells_its_models(backend)]
    pools = PoolManager()
    try:
        machine, looks = await asyncio.gather(
            asyncio.to_thread(_look_around, config, settings),
            asyncio.gather(*(_look_at(backend, settings.models, pools) for backend in asked)),
        )
    finally:
        await pools.aclose()
    seen = {backend.name: look[0] for backend, look in zip(asked, looks, strict=True)}
    running = {backend.name: look[1] for backend, look in zip(asked, looks, strict=True)}
    completed = complete(config, {name: one.served for name, one in seen.items() if one.served is not None})
    return Examined(completed, seen, running, machine, datetime.now(UTC))


async def _look_at(
    backend: ResolvedBackend, models: Sequence[ResolvedModel], pools: PoolManager
) -> tuple[Seen, Sequence[RunningModel]]:
    client = make_backend(
        backend, [model for model in models if model.backend == backend.name], pools, backend.deadlines
    )
    try:
        seen = await listed(client)
        return seen, await _running(client) if seen.reachable else ()
    finally:
        await client.aclose()


async def _running(client: Backend) -> Sequence[RunningModel]:
    try:
        async with asyncio.timeout(LIST_S):
            return await client.running()
    except (BackendError, TimeoutError):
        return ()


def _look_around(config: Config, settings: Settings) -> Machine:
    """Blocks for as long as files are read."""
    keys = {backend.api_key_env for backend in settings.backends if backend.api_key_env}
    return Machine(
        kept_files(config.source, config.base_dir, settings.state_folder, keys),
        open_ports(),
        ollama_host(),
        read_machine().has_gpu,
        ConsentStore(settings.state_folder, settings.privacy.consents).all(),
        _ledger_problem(settings),
    )


def _ledger_problem(settings: Settings) -> str | None:
    try:
        return EgressLedger(settings.state_folder).verify()
    except StateError as error:
        return str(error)
