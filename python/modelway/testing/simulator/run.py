"""A whole simulation: clients, a policy, a device, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from modelway.testing.simulator.agenda import Agenda
from modelway.testing.simulator.device import Device, Policy, Request, SimModel, Stay
from modelway.testing.simulator.traffic import Client


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a simulation: ``requests`` in the order of arrival, ``stays`` in that in which they ended, how many
    ``loads``, and when the last answer had ended.
    """

    requests: Sequence[Request]
    stays: Sequence[Stay]
    loads: int
    span_s: float

    def waits_s(self, model: str | None = None, user: str | None = None) -> list[float]:
        """How long served requests waited for a slot, shortest first; of one model or user, or all."""
        return sorted(request.wait_s for request in self.served(model, user))

    def times_s(self, model: str | None = None) -> list[float]:
        """From arrival to the end of the answer, shortest first."""
        return sorted((request.ended_s or math.inf) - request.arrived_s for request in self.served(model))

    def served(self, model: str | None = None, user: str | None = None) -> list[Request]:
        """Those that were answered."""
        return [
            request
            for request in self.requests
            if not request.was_refused and model in {None, request.model} and user in {None, request.user}
        ]

    @property
    def refused(self) -> int:
        return sum(request.was_refused for request in self.requests)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The least value that is not exceeded by ``percent`` of 100 (nearest rank). Raises ``ValueError`` without any."""
    if not ordered:
        raise ValueError("percentile: of nothing; nobody was served")
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def simulate(policy: Policy, traffic: Iterable[Client], models: Sequence[SimModel], *, capacity_bytes: int) -> Result:
    """Run ``traffic`` to its end. Raises ``AgainstNature`` where the policy commands what no machine can do, and
    ``RuntimeError`` where requests are left that nobody will ever answer.
    """
    agenda = Agenda()
    teller = _Teller(policy, agenda)
    device = Device(capacity_bytes, models, teller, agenda)
    for number, client in enumerate(traffic):
        teller.next_of(number, client)
    agenda.run()
    device.finish_books()
    forgotten = [request for request in teller.requests if request.ended_s is None and not request.was_refused]
    if forgotten:
        first = forgotten[0]
        raise RuntimeError(
            f"simulate: {len(forgotten)} requests were forgotten, the first for {first.model} at {first.arrived_s} s; "
            "a policy must send or refuse all that it hears of"
        )
    span_s = max((request.ended_s or 0.0 for request in teller.requests), default=0.0)
    return Result(teller.requests, device.stays, device.loads, span_s)


class _Teller:
    """Stands between device and policy: keeps the books, and lets clients ask again when they are answered."""

    def __init__(self, policy: Policy, agenda: Agenda):
        self.requests: list[Request] = []
        self._policy = policy
        self._agenda = agenda
        self._clients: dict[int, Client] = {}

    def next_of(self, number: int, client: Client) -> None:
        """Let a client ask what it asks next, if anything."""
        self._clients[number] = client
        ask = next(client, None)
        if ask is not None:
            request = Request(ask.model, ask.user, ask.work, number, arrived_s=math.inf)
            self._agenda.after(ask.after_s, lambda: self.on_arrival(request))

    def attach(self, device: Device) -> None:
        self._policy.attach(device)

    def on_arrival(self, request: Request) -> None:
        request.arrived_s = self._agenda.now_s
        self.requests.append(request)
        self._policy.on_arrival(request)
        if request.was_refused:
            self.next_of(request.client, self._clients[request.client])

    def on_finished(self, request: Request) -> None:
        self._policy.on_finished(request)
        self.next_of(request.client, self._clients[request.client])

    def on_loaded(self, model: str) -> None:
        self._policy.on_loaded(model)

    def on_unloaded(self, model: str) -> None:
        self._policy.on_unloaded(model)
