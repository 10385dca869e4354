"""modelway's own scheduling: the core that decides in production, on a simulated clock.

What a conductor and its memory manager do with the core's answers is all that stands here: granted requests are sent,
loads and unloads done and reported, outcomes told, and the core is asked again when it wants to be.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from modelway._core import CoreRouter
from modelway.config import Config
from modelway.config.settings import resolve
from modelway.router import for_core
from modelway.testing.simulator.device import Device, Request, SimModel
from modelway.types import Admitted, Effects, RequestOutcome

_BACKEND = "device"


class Routed:
    """The core as policy. ``backend`` are settings of the core's backend, like ``max_wait_ms``, ``models`` those of
    models by name, like ``is_pinned``.
    """

    def __init__(
        self, *, backend: Mapping[str, Any] | None = None, models: Mapping[str, Mapping[str, Any]] | None = None
    ):
        self._backend = dict(backend or {})
        self._models = {name: dict(settings) for name, settings in (models or {}).items()}
        self._requests: dict[int, Request] = {}
        self._tickets: dict[Request, int] = {}
        self._load_began_s: dict[str, float] = {}
        self._wake_s: float | None = None

    def attach(self, device: Device) -> None:
        self._device = device
        settings = self._settings(list(device.models.values()), device.capacity_bytes)
        self.router = CoreRouter(settings, clock=lambda: device.agenda.now_s)

    def on_arrival(self, request: Request) -> None:
        answer = self.router.admit(request.model, request.user)
        self._requests[answer.ticket] = request
        self._tickets[request] = answer.ticket
        if isinstance(answer, Admitted):
            self._device.send(request)
        self._obey(answer.effects)

    def on_finished(self, request: Request) -> None:
        ticket = self._tickets.pop(request)
        del self._requests[ticket]
        self._obey(self.router.finish(ticket, RequestOutcome(True)))

    def on_loaded(self, model: str) -> None:
        load_ms = (self._device.agenda.now_s - self._load_began_s.pop(model)) * 1000
        self._obey(self.router.model_loaded(model, load_ms=load_ms))

    def on_unloaded(self, model: str) -> None:
        self._obey(self.router.model_unloaded(model))

    def _obey(self, effects: Effects) -> None:
        for ticket, error in effects.refused:
            request = self._requests.pop(ticket)
            del self._tickets[request]
            raise RuntimeError(f"Routed: a request for {request.model} was refused, which no traffic provokes: {error}")
        for ticket in effects.granted:
            self.router.begin_admitted(ticket)
            self._device.send(self._requests[ticket])
        for model in effects.evicted:
            self._device.unload(model)
        for model in effects.load:
            self._load_began_s[model] = self._device.agenda.now_s
            self._device.load(model)
        self._wake()

    def _wake(self) -> None:
        """Ask the core again when time alone will let somebody go on, at the earliest moment it names."""
        wait_s = self.router.next_wake_s()
        if wait_s is None:
            self._wake_s = None
            return
        # Times of the core are whole milliseconds: one that is all but there is asked again a moment later.
        wait_s = max(wait_s, 0.0001)
        wake_s = self._device.agenda.now_s + wait_s
        if self._wake_s is None or wake_s < self._wake_s - 1e-6 or self._wake_s <= self._device.agenda.now_s:
            self._wake_s = wake_s
            self._device.agenda.after(wait_s, partial(self._tick, wake_s))

    def _tick(self, wake_s: float) -> None:
        if self._wake_s == wake_s:
            self._wake_s = None
            self._obey(self.router.tick())

    def _settings(self, models: list[SimModel], capacity_bytes: int) -> dict[str, Any]:
        names = "".join(f'\n[[models]]\nid = "{model.name}"\nbackend = "{_BACKEND}"\n' for model in models)
        text = f'[defaults]\ngeneral = "{models[0].name}"\n[[backends]]\nname = "{_BACKEND}"\nkind = "mock"\n{names}'
        settings = for_core(resolve(Config.from_toml(text)))
        # All that may depend on the machine that simulates, said.
        device = {"memory_bytes": capacity_bytes, "is_managed": True, "max_wait_ms": 30_000, "computes_alone": False}
        settings["backends"] = [
            backend | device | self._backend if backend["name"] == _BACKEND else backend
            for backend in settings["backends"]
        ]
        known = {model.name: model for model in models}
        settings["models"] = [
            model
            | {"memory_bytes": known[model["id"]].memory_bytes, "max_concurrent": known[model["id"]].slots}
            | {"strengths": ["embedding"] if known[model["id"]].makes_embeddings else []}
            | self._models.get(model["id"], {})
            for model in settings["models"]
        ]
        return settings
