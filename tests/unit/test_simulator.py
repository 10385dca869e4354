"""The simulator itself: a device that refuses what no machine can do, traffic by seed, and the policies it compares."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

import pytest

from modelway.testing.simulator import (
    AgainstNature,
    Ask,
    Client,
    Device,
    OrderOfArrival,
    Policy,
    Request,
    Result,
    Routed,
    SimModel,
    StaticGroups,
    bursts,
    later,
    own_lists,
    percentile,
    poisson,
    shared_list,
    simulate,
    zipf,
)

SMOL = {"load_s": 0.53, "serve_s": 0.11}
TINY = {"load_s": 0.26, "serve_s": 0.008}


def models(names: str, slots: int = 1, **times: float) -> list[SimModel]:
    return [SimModel(name, slots=slots, **(times or SMOL)) for name in names]  # type: ignore[arg-type]


def orders() -> list[list[int]]:
    """Every order of A and B in which the first requests of eight clients can arrive, as an order of the clients."""
    found = []
    for odd in itertools.combinations(range(8), 4):
        number = {"even": iter((0, 2, 4, 6)), "odd": iter((1, 3, 5, 7))}
        found.append([next(number["odd" if place in odd else "even"]) for place in range(8)])
    return found


@pytest.mark.parametrize("times", [SMOL, TINY], ids=["smol", "tiny"])
def test_order_of_arrival_loads_as_often_as_a_real_server_was_counted_to(times) -> None:
    one = simulate(OrderOfArrival(), own_lists(1, 60), models("AB", **times), capacity_bytes=1)
    assert one.loads == 60
    three = simulate(OrderOfArrival(), own_lists(1, 30, "ABC"), models("ABC", **times), capacity_bytes=2)
    assert three.loads == 21
    by_hand = simulate(
        OrderOfArrival(), [iter([Ask(name) for name in "A" * 30 + "B" * 30])], models("AB", **times), capacity_bytes=1
    )
    assert by_hand.loads == 2


@pytest.mark.parametrize("slots", [1, 4])
@pytest.mark.parametrize("times", [SMOL, TINY], ids=["smol", "tiny"])
def test_eight_clients_come_out_where_a_real_server_did(times, slots) -> None:
    """Counted were 39 loads, and 22 in another run, with four slots. How many it takes is settled by the order in which
    the eight first requests reach the scheduler, which nobody measured; slots and times change nothing. So all 70
    orders are tried: the two most frequent groups of outcomes are the two that were counted, within 15 %.
    """
    loads = Counter(
        simulate(OrderOfArrival(), own_lists(8, 60, order=order), models("AB", slots, **times), capacity_bytes=1).loads
        for order in orders()
    )
    assert loads == {9: 2, 23: 16, 24: 6, 25: 2, 37: 12, 38: 12, 39: 12, 52: 2, 53: 6}
    near = {counted: sum(loads[n] for n in loads if abs(n - counted) <= 0.15 * counted) for counted in (39, 22)}
    assert near == {39: 36, 22: 24}


def test_the_time_is_that_of_the_real_server() -> None:
    """39 loads took it 29 s."""
    runs = [simulate(OrderOfArrival(), own_lists(8, 60, order=o), models("AB"), capacity_bytes=1) for o in orders()]
    assert {round(run.span_s) for run in runs if run.loads == 39} == {28}


def test_the_least_recently_used_is_not_the_rule_of_the_real_server() -> None:
    policy = OrderOfArrival(least_recent=True)
    assert simulate(policy, own_lists(1, 30, "ABC"), models("ABC"), capacity_bytes=2).loads == 30


def test_a_full_line_for_loads_refuses_and_its_client_asks_on() -> None:
    clients: list[Client] = [iter([Ask("A")]), *(iter([Ask("B"), Ask("A", 5.0)]) for _ in range(3))]
    result = simulate(OrderOfArrival(max_queue=2), clients, models("AB"), capacity_bytes=1)
    assert (result.refused, len(result.served()), len(result.served("B"))) == (1, 6, 2)


def test_max_loaded_is_a_limit_beside_memory() -> None:
    policy = OrderOfArrival(max_loaded=1)
    assert simulate(policy, own_lists(1, 6, "ABC"), models("ABC"), capacity_bytes=3).loads == 6


def test_static_groups_never_push_out_each_other() -> None:
    result = simulate(StaticGroups(["A", "BC"]), own_lists(2, 60, "ABC"), models("ABC"), capacity_bytes=2)
    assert Counter(stay.model for stay in result.stays)["A"] == 1
    with pytest.raises(ValueError, match="make fewer groups"):
        simulate(StaticGroups(["A", "B"]), own_lists(1, 2), models("AB"), capacity_bytes=1)


class Rash:
    """A policy that does to the device what a list says, whatever happens."""

    def __init__(self, commands: Sequence[tuple[str, str]]):
        self._commands = list(commands)

    def attach(self, device: Device) -> None:
        self.device = device

    def on_arrival(self, request: Request) -> None:
        for command, model in self._commands:
            if command == "send":
                self.device.send(request)
            else:
                getattr(self.device, command)(model)

    def on_finished(self, request: Request) -> None: ...
    def on_loaded(self, model: str) -> None: ...
    def on_unloaded(self, model: str) -> None: ...


@pytest.mark.parametrize(
    ("commands", "why"),
    [
        ([("send", "A")], "send to A: it is not ready"),
        ([("unload", "A")], "unload A: it is not ready"),
        ([("load", "A"), ("load", "A")], "load A: it is in memory already"),
        ([("load", "A"), ("load", "B")], "load B: A is being loaded, and loads go one at a time"),
        ([("load", "A"), ("unload", "A")], "unload A: it is not ready"),
        ([("load", "huge")], "load huge: it takes 9 bytes and 2 are free"),
    ],
)
def test_commands_against_nature_are_told(commands, why) -> None:
    policy: Policy = Rash(commands)
    with pytest.raises(AgainstNature, match=why):
        simulate(policy, [iter([Ask("A")])], [*models("AB"), SimModel("huge", memory_bytes=9)], capacity_bytes=2)


def test_a_model_in_use_is_not_unloaded() -> None:
    class Cruel(OrderOfArrival):
        def on_loaded(self, model: str) -> None:
            super().on_loaded(model)
            self._device.unload(model)

    with pytest.raises(AgainstNature, match="unload A: 1 requests use it"):
        simulate(Cruel(), [iter([Ask("A")])], models("A"), capacity_bytes=1)


def test_a_policy_that_forgets_somebody_is_told() -> None:
    with pytest.raises(RuntimeError, match=r"1 requests were forgotten, the first for A at 0\.001 s"):
        simulate(Rash([]), [iter([Ask("A")])], models("A"), capacity_bytes=1)


def everything(result: Result) -> list[object]:
    return [(request.model, request.client, request.arrived_s, request.ended_s) for request in result.requests]


@pytest.mark.parametrize("policy", [OrderOfArrival, Routed, lambda: StaticGroups(["AB", "CD"])])
def test_the_same_seed_gives_the_same_run_and_another_another(policy) -> None:
    def run(seed: int) -> list[object]:
        traffic = [
            *zipf("ABCD", 60, clients=4, seed=seed),
            *bursts("ABCD", 3, 5, every_s=4.0, seed=seed),
            *poisson("A", 1.0, 10.0, seed=seed),
        ]
        return everything(simulate(policy(), traffic, models("ABCD"), capacity_bytes=2))

    assert run(1) == run(1)
    assert run(1) != run(2)


def asks(clients: Sequence[Client]) -> list[list[str]]:
    return [[ask.model for ask in client] for client in clients]


def test_what_clients_ask() -> None:
    assert asks(own_lists(3, 7)) == [["A", "B", "A"], ["B", "A"], ["A", "B"]]
    first, second = shared_list(2, 5)
    assert [next(first).model, next(second).model, next(second).model, *asks([first])[0]] == ["A", "B", "A", "B", "A"]
    counts = Counter(ask.model for client in zipf("ABCD", 4000, clients=3, seed=7) for ask in client)
    assert counts["A"] / counts["B"] == pytest.approx(2, rel=0.1)
    assert counts["A"] / counts["D"] == pytest.approx(4, rel=0.15)
    times = [ask.after_s for client in later(poisson("A", 5.0, 100.0, seed=1), 10.0) for ask in client]
    assert len(times) == pytest.approx(500, rel=0.1)
    assert 10 < min(times) < max(times) < 110
    assert [next(client).after_s for client in own_lists(2, 4, order=[1, 0])] == [0, 0.0001]


def test_percentiles_are_values_that_were_measured() -> None:
    values = [1.0, 2.0, 3.0, 4.0]
    assert [percentile(values, percent) for percent in (1, 25, 26, 50, 95, 100)] == [1, 1, 2, 2, 4, 4]
    with pytest.raises(ValueError, match="nobody was served"):
        percentile([], 50)


def test_slots_serve_at_one_time_and_work_takes_its_time() -> None:
    clients = [iter([Ask("A", work=work)]) for work in (1.0, 2.0, 1.0)]
    result = simulate(OrderOfArrival(), clients, [SimModel("A", slots=2, load_s=1.0, serve_s=1.0)], capacity_bytes=1)
    assert [request.began_s for request in result.requests] == [1.001, 1.001, 2.001]
    assert [request.ended_s for request in result.requests] == [2.001, 3.001, 3.001]
    assert (result.span_s, result.waits_s()) == (3.001, pytest.approx([1.0, 1.0, 2.0]))
