"""Who asks what, and when: clients as iterators of what they ask.

A client asks, waits for the answer, and asks again ``after_s`` later: a closed loop, as of somebody with a list of
work. Traffic that does not wait is many clients that ask once, each at its time.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

#: Between an answer and the next request of a program on the same machine.
TURNAROUND_S = 0.001

#: Between first requests that are sent at the same time: their order counts, the time does not.
_INSTANT_S = 0.0001


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to ``model``, ``after_s`` seconds after the answer to the one before, or the beginning.

    ``work`` is how many usual answers its answer takes.
    """

    model: str
    after_s: float = TURNAROUND_S
    user: str | None = None
    work: float = 1.0


Client = Iterator[Ask]


def own_lists(
    clients: int, total: int, models: Sequence[str] = ("A", "B"), *, order: Sequence[int] = ()
) -> list[Client]:
    """``total`` requests of clients that each go through ``models`` again and again, client n beginning with the n-th.

    ``order`` is the one in which the clients' first requests arrive, by default that of their numbers.
    """

    def client(number: int, place: int) -> Client:
        count = total // clients + (number < total % clients)
        for k in range(count):
            yield Ask(models[(number + k) % len(models)], place * _INSTANT_S if k == 0 else TURNAROUND_S)

    order = order or range(clients)
    return [client(number, place) for place, number in enumerate(order)]


def shared_list(workers: int, total: int, models: Sequence[str] = ("A", "B")) -> list[Client]:
    """Workers that each take the next of one list, which goes through ``models`` again and again."""
    left = iter([models[k % len(models)] for k in range(total)])

    def worker(place: int) -> Client:
        for k, model in enumerate(left):
            yield Ask(model, place * _INSTANT_S if k == 0 else TURNAROUND_S)

    # Each takes its first now, in order; a generator would take it when it is first asked.
    return [worker(place) for place in range(workers)]


def with_embeddings(clients: Sequence[Client], embedding: str) -> list[Client]:
    """The same clients, each asking ``embedding`` before whatever it asks, as who answers from documents does."""

    def client(asks: Client) -> Client:
        for ask in asks:
            yield replace(ask, model=embedding)
            yield replace(ask, after_s=TURNAROUND_S)

    return [client(asks) for asks in clients]


def zipf(
    models: Sequence[str],
    total: int,
    *,
    clients: int,
    seed: int,
    exponent: float = 1.0,
    think_s: float = TURNAROUND_S,
    user: str | None = None,
) -> list[Client]:
    """Clients that ask for the k-th of ``models`` with a frequency that falls as 1 / k^exponent.

    Between an answer and the next request pass ``think_s`` seconds on average, exponentially distributed.
    """
    weights = [1 / (rank + 1) ** exponent for rank in range(len(models))]

    def client(number: int) -> Client:
        chance = random.Random(f"zipf {seed} {number}")
        for model in chance.choices(models, weights, k=total // clients + (number < total % clients)):
            yield Ask(model, _exponential(chance, think_s), user)

    return [client(number) for number in range(clients)]


def bursts(models: Sequence[str], count: int, size: int, *, every_s: float, seed: int) -> list[Client]:
    """Every ``every_s`` seconds ``size`` requests within a tenth of a second, each for one of ``models`` by chance."""
    chance = random.Random(f"bursts {seed}")
    times = [(burst * every_s + 0.1 * chance.random()) for burst in range(count) for _ in range(size)]
    return [iter([Ask(chance.choice(models), at_s)]) for at_s in sorted(times)]


def poisson(model: str, rate_per_s: float, until_s: float, *, seed: int, user: str | None = None) -> list[Client]:
    """Requests that come independently of one another and of any answer, ``rate_per_s`` on average."""
    chance = random.Random(f"poisson {model} {seed}")
    asks: list[Client] = []
    at_s = _exponential(chance, 1 / rate_per_s)
    while at_s < until_s:
        asks.append(iter([Ask(model, at_s, user)]))
        at_s += _exponential(chance, 1 / rate_per_s)
    return asks


def busy(model: str, clients: int, total: int, *, user: str | None = None, work: float = 1.0) -> list[Client]:
    """Clients that keep one model busy: each asks again as soon as it is answered."""

    def client(number: int) -> Client:
        count = total // clients + (number < total % clients)
        for k in range(count):
            yield Ask(model, number * _INSTANT_S if k == 0 else TURNAROUND_S, user, work)

    return [client(number) for number in range(clients)]


def now_and_then(model: str, times_s: Sequence[float], *, user: str | None = None, work: float = 1.0) -> list[Client]:
    """Single requests at given times."""
    return [iter([Ask(model, at_s, user, work)]) for at_s in times_s]


def later(clients: Sequence[Client], begin_s: float) -> list[Client]:
    """The same clients, each beginning ``begin_s`` seconds later."""

    def client(asks: Client) -> Client:
        for k, ask in enumerate(asks):
            yield replace(ask, after_s=ask.after_s + begin_s) if k == 0 else ask

    return [client(asks) for asks in clients]


def _exponential(chance: random.Random, mean_s: float) -> float:
    return -mean_s * math.log(1.0 - chance.random())
