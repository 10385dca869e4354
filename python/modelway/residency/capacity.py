"""Which backends are managed, and which memory their models share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from modelway.router import ManagedMemory

if TYPE_CHECKING:
    from modelway.config.settings import ResolvedBackend, Settings
    from modelway.residency.machine import Machine

#: Kinds of backends that load and unload at our word and whose models live in this machine's memory.
_HERE = frozenset({"ollama", "llama_cpp"})
#: What the router calls this machine's memory, which all backends share that have none of their own.
_MACHINE = "machine"


def managed_memory(settings: Settings, machine: Machine) -> Mapping[str, ManagedMemory]:
    """What is managed under ``settings`` on ``machine``: the backends on this device whose memory is known.

    Where nothing is written of a backend's memory, it shares the machine's with all others of which nothing is.
    """
    if not settings.memory.manage:
        return {}
    alone = settings.memory.computes_alone
    computes_alone = not machine.has_gpu if alone is None else alone
    return {
        backend.name: ManagedMemory(capacity, computes_alone, None if backend.memory_bytes else _MACHINE)
        for backend in settings.backends
        if (capacity := _capacity(backend, machine)) is not None
    }


def _capacity(backend: ResolvedBackend, machine: Machine) -> int | None:
    if backend.location != "device":
        return None
    if backend.kind in _HERE:
        return backend.memory_bytes or machine.memory_bytes
    # The mock server takes no memory, and plays that it does where somebody says how much there is.
    return backend.memory_bytes if backend.kind == "mock" else None
