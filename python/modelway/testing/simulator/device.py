"""The machine that a policy commands: memory, loads, and slots that generate.

It does what it is told, takes the time that this takes, and raises where a command is against its nature. So every
simulation is also a test: no policy can use more memory than there is, load two models at once, ask a model that is
not there, or take one away from under a request.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from modelway.testing.simulator.agenda import Agenda


@dataclass(frozen=True, slots=True)
class SimModel:
    """A model as the machine knows it: bytes, seconds for a load, an answer and an unload, answers at one time.

    ``makes_embeddings`` matters to policies that tell such models from others.
    """

    name: str
    memory_bytes: int = 1
    load_s: float = 0.53
    serve_s: float = 0.11
    slots: int = 1
    unload_s: float = 0.01
    makes_embeddings: bool = False


@dataclass(eq=False, slots=True)
class Request:
    """One request on its way: times in seconds of the simulation, None before they have come.

    ``arrived_s`` is when the policy heard of it, ``began_s`` when a slot took it; ``work`` is how many usual answers
    its answer takes. ``was_refused``: the policy sent it away.
    """

    model: str
    user: str | None
    work: float
    client: int
    arrived_s: float
    began_s: float | None = None
    ended_s: float | None = None
    was_refused: bool = False

    @property
    def wait_s(self) -> float:
        """From its arrival until a slot took it. Raises ``ValueError`` for one that none has taken."""
        if self.began_s is None:
            raise ValueError(f"Request.wait_s: no slot of {self.model} has taken it; look at served requests only")
        return self.began_s - self.arrived_s


@dataclass(frozen=True, slots=True)
class Stay:
    """A model in memory: when its load began, when it was ready, when it had gone (None: it stayed to the end)."""

    model: str
    began_s: float
    ready_s: float
    gone_s: float | None = None


class Policy(Protocol):
    """Who decides: hears what happens and commands the device. Requests are sent or refused, now or later."""

    def attach(self, device: Device) -> None:
        """Called once, before anything happens."""

    def on_arrival(self, request: Request) -> None: ...
    def on_finished(self, request: Request) -> None: ...
    def on_loaded(self, model: str) -> None: ...
    def on_unloaded(self, model: str) -> None: ...


class AgainstNature(Exception):
    """A command that no machine can obey. Names the command, the model and what stands against it."""


@dataclass(slots=True)
class _Held:
    """A model that takes memory."""

    model: SimModel
    began_s: float
    ready_s: float | None = None
    is_leaving: bool = False
    running: int = 0
    queue: deque[Request] = field(default_factory=deque)

    @property
    def users(self) -> int:
        return self.running + len(self.queue)

    @property
    def is_ready(self) -> bool:
        return self.ready_s is not None and not self.is_leaving


class Device:
    """One device with ``capacity_bytes`` for ``models``, commanded by ``policy``."""

    def __init__(self, capacity_bytes: int, models: Iterable[SimModel], policy: Policy, agenda: Agenda):
        self.capacity_bytes = capacity_bytes
        self.models = {model.name: model for model in models}
        self.agenda = agenda
        self.stays: list[Stay] = []
        self.loads = 0
        self._held: dict[str, _Held] = {}
        self._policy = policy
        policy.attach(self)

    def memory_in_use(self) -> int:
        """Bytes of what is ready, loading or leaving."""
        return sum(held.model.memory_bytes for held in self._held.values())

    def ready(self) -> list[str]:
        """The models that requests can be sent to, by name."""
        return sorted(name for name, held in self._held.items() if held.is_ready)

    def is_ready(self, model: str) -> bool:
        return model in self._held and self._held[model].is_ready

    def users(self, model: str) -> int:
        """How many requests of a model that is in memory run, or wait in its process for a slot."""
        return self._held[model].users

    def load(self, model: str) -> None:
        """Begin to load; ``on_loaded`` comes when it is ready."""
        if model in self._held:
            raise AgainstNature(f"load {model}: it is in memory already")
        busy = [name for name, held in self._held.items() if held.ready_s is None]
        if busy:
            raise AgainstNature(f"load {model}: {busy[0]} is being loaded, and loads go one at a time")
        need = self.models[model].memory_bytes
        if self.memory_in_use() + need > self.capacity_bytes:
            free = self.capacity_bytes - self.memory_in_use()
            raise AgainstNature(f"load {model}: it takes {need} bytes and {free} are free")
        self.loads += 1
        self._held[model] = _Held(self.models[model], self.agenda.now_s)
        self.agenda.after(self.models[model].load_s, lambda: self._loaded(model))

    def unload(self, model: str) -> None:
        """Begin to unload; its memory is free when ``on_unloaded`` comes."""
        held = self._held.get(model)
        if held is None or not held.is_ready:
            raise AgainstNature(f"unload {model}: it is not ready")
        if held.users:
            raise AgainstNature(f"unload {model}: {held.users} requests use it")
        held.is_leaving = True
        self.agenda.after(held.model.unload_s, lambda: self._unloaded(model))

    def send(self, request: Request) -> None:
        """Hand a request to its model, whose process serves its slots in the order of arrival."""
        held = self._held.get(request.model)
        if held is None or not held.is_ready:
            raise AgainstNature(f"send to {request.model}: it is not ready")
        held.queue.append(request)
        self._serve(held)

    def finish_books(self) -> None:
        """At the end of a simulation: what is in memory has stayed to the end."""
        for held in self._held.values():
            self._note_stay(held, None)

    def _serve(self, held: _Held) -> None:
        while held.queue and held.running < held.model.slots:
            request = held.queue.popleft()
            held.running += 1
            request.began_s = self.agenda.now_s
            self.agenda.after(held.model.serve_s * request.work, partial(self._served, held, request))

    def _served(self, held: _Held, request: Request) -> None:
        held.running -= 1
        request.ended_s = self.agenda.now_s
        self._serve(held)
        self._policy.on_finished(request)

    def _loaded(self, model: str) -> None:
        self._held[model].ready_s = self.agenda.now_s
        self._policy.on_loaded(model)

    def _unloaded(self, model: str) -> None:
        self._note_stay(self._held.pop(model), self.agenda.now_s)
        self._policy.on_unloaded(model)

    def _note_stay(self, held: _Held, gone_s: float | None) -> None:
        if held.ready_s is not None:
            self.stays.append(Stay(held.model.name, held.began_s, held.ready_s, gone_s))
