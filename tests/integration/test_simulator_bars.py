"""What scheduling is worth, by the very core that decides: bars against order of arrival, for the traffic of
docs/scheduling.md. The device of the simulation raises where memory would be exceeded, two models loaded at once, or
one unloaded in use, so every run here is a test of that, too.
"""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from modelway.testing.simulator import (
    OrderOfArrival,
    Result,
    Routed,
    SimModel,
    busy,
    later,
    now_and_then,
    own_lists,
    percentile,
    poisson,
    shared_list,
    simulate,
    zipf,
)
from modelway.testing.simulator.scenarios import (
    BIG_BESIDE_SMALL,
    BURSTS,
    BUSY_NEIGHBOUR,
    FROM_DOCUMENTS,
    HEAVY_USER,
    OWN_LISTS,
    SCENARIOS,
    SHARED_LIST,
    THREE_IN_TURN,
    ZIPF,
)

ROOT = Path(__file__).parents[2]

TWO = [SimModel("A"), SimModel("B")]

#: The core's own, of its settings: how long anybody waits for a load.
MAX_WAIT_S = 30.0


def p95(ordered: list[float]) -> float:
    return percentile(ordered, 95)


def test_an_embedding_before_each_answer_costs_one_load_in_all() -> None:
    parted, whole = FROM_DOCUMENTS.run(Routed()), FROM_DOCUMENTS.run(Routed(backend={"embedding_bytes": 0}))
    assert [stay.model for stay in parted.stays].count("E") == 1
    assert parted.loads <= 0.5 * whole.loads
    assert parted.span_s <= 0.8 * whole.span_s
    assert p95(parted.waits_s("E")) <= 0.3, "once loaded, an embedding waits for nobody"


def test_clients_that_alternate_get_batches() -> None:
    ours, theirs = OWN_LISTS.run(Routed()), OWN_LISTS.run(OrderOfArrival())
    assert theirs.loads == 39
    assert ours.loads <= 11
    assert ours.span_s <= 0.55 * theirs.span_s
    assert ours.waits_s()[-1] <= MAX_WAIT_S


def test_whatever_the_order_in_which_they_begin() -> None:
    chance = random.Random(7)
    for _ in range(50):
        order = chance.sample(range(8), 8)
        assert simulate(Routed(), own_lists(8, 60, order=order), TWO, capacity_bytes=1).loads <= 11


@pytest.mark.parametrize("slots", [1, 2, 4])
@pytest.mark.parametrize("times", [(0.53, 0.11), (0.26, 0.008), (8.0, 1.0)], ids=["smol", "tiny", "large"])
def test_whatever_the_models_take(times, slots) -> None:
    load_s, serve_s = times
    models = [SimModel(name, load_s=load_s, serve_s=serve_s, slots=slots) for name in "AB"]
    assert simulate(Routed(), own_lists(8, 60), models, capacity_bytes=1).loads <= 11
    assert simulate(Routed(), shared_list(8, 60), models, capacity_bytes=1).loads <= 7


def test_workers_on_one_list_get_batches() -> None:
    assert SHARED_LIST.run(Routed()).loads <= 7
    assert THREE_IN_TURN.run(Routed()).loads <= THREE_IN_TURN.run(OrderOfArrival()).loads / 2


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("least_recent", "times_fewer"), [(False, 2.0), (True, 1.8)], ids=["as Ollama", "least recently used"]
)
def test_many_models_asked_unevenly_are_loaded_half_as_often_at_no_longer_waits(
    least_recent, times_fewer, seed
) -> None:
    def run(policy: OrderOfArrival | Routed) -> Result:
        names = [model.name for model in ZIPF.models]
        return simulate(policy, zipf(names, 600, clients=16, seed=seed), ZIPF.models, capacity_bytes=3)

    ours, theirs = run(Routed()), run(OrderOfArrival(least_recent=least_recent))
    assert ours.loads <= theirs.loads / times_fewer
    assert p95(ours.waits_s()) <= p95(theirs.waits_s())
    assert ours.waits_s()[-1] <= MAX_WAIT_S


@pytest.mark.parametrize("rate_per_s", [3.0, 5.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_loads_of_others_delay_no_request_for_a_warm_model(rate_per_s, seed) -> None:
    def times_of_a(*, with_others: bool) -> list[float]:
        traffic = poisson("A", rate_per_s, 60.0, seed=seed)
        if with_others:
            traffic += later(own_lists(2, 60, "BC"), 5.0)
        result = simulate(Routed(), traffic, [SimModel(name) for name in "ABC"], capacity_bytes=2)
        assert (result.loads > 20) == with_others
        return result.times_s("A")

    assert p95(times_of_a(with_others=True)) <= 1.1 * p95(times_of_a(with_others=False))


def test_who_waits_beside_a_busy_model_waits_no_longer_than_the_bound() -> None:
    alone = simulate(Routed(), busy("A", 2, 500), TWO, capacity_bytes=1)
    beside = BUSY_NEIGHBOUR.run(Routed())
    assert beside.waits_s("B")[-1] <= MAX_WAIT_S
    assert p95(beside.times_s("A")) <= 1.5 * p95(alone.times_s("A"))
    assert BUSY_NEIGHBOUR.run(OrderOfArrival()).waits_s("B")[-1] > MAX_WAIT_S, "what this is about"


@pytest.mark.parametrize("max_wait_s", [2.0, 5.0, 10.0, 20.0])
def test_the_bound_is_the_one_that_was_set(max_wait_s) -> None:
    """With loads of 4 s patience alone would let B wait for 32 s. What can't be faster are the end of what runs, the
    unload and the load. (Its length is known from the file's size before the first: a gigabyte a second.)
    """
    models = [SimModel(name, memory_bytes=3_750_000_000, load_s=4.0, serve_s=0.5) for name in "AB"]
    traffic = [*busy("A", 4, 300), *now_and_then("B", [10.0])]
    policy = Routed(backend={"max_wait_ms": int(max_wait_s * 1000)})
    result = simulate(policy, traffic, models, capacity_bytes=4_000_000_000)
    assert result.waits_s("B")[-1] <= max(max_wait_s, 0.5 + 0.01 + 4.0)


def test_bursts_wait_less() -> None:
    ours, theirs = BURSTS.run(Routed()), BURSTS.run(OrderOfArrival())
    assert ours.loads <= 0.7 * theirs.loads
    assert p95(ours.waits_s()) <= 0.7 * p95(theirs.waits_s())


def test_a_heavy_user_keeps_nobody_away() -> None:
    ours = HEAVY_USER.run(Routed())
    assert ours.waits_s(user="other")[-1] <= MAX_WAIT_S / 5
    assert p95(ours.waits_s(user="light")) < p95(ours.waits_s(user="heavy"))


def test_a_big_model_and_small_ones_get_along() -> None:
    ours, theirs = BIG_BESIDE_SMALL.run(Routed()), BIG_BESIDE_SMALL.run(OrderOfArrival())
    assert ours.loads <= theirs.loads
    assert ours.span_s < theirs.span_s
    assert ours.waits_s("big")[-1] <= MAX_WAIT_S


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.title)
def test_everybody_is_served(scenario) -> None:
    result = scenario.run(Routed())
    assert result.refused == 0
    assert len(result.served()) == len(result.requests)


@pytest.mark.parametrize("seed", range(8))
def test_any_traffic_is_served_within_what_the_machine_has(seed) -> None:
    """Sizes, times, slots and clients by chance; the device raises where it is asked for what it can't do."""
    chance = random.Random(f"any {seed}")
    models = [
        SimModel(
            f"m{number}",
            memory_bytes=chance.randint(1, 6),
            load_s=chance.uniform(0.05, 3.0),
            serve_s=chance.uniform(0.005, 0.5),
            slots=chance.choice([1, 2, 4]),
            unload_s=chance.choice([0.0, 0.01, 0.3]),
        )
        for number in range(chance.randint(2, 9))
    ]
    names = [model.name for model in models]
    traffic = zipf(names, 300, clients=chance.randint(1, 20), seed=seed, think_s=chance.choice([0.001, 0.5]))
    result = simulate(Routed(), traffic, models, capacity_bytes=chance.randint(6, 14))
    assert len(result.served()) == 300


def test_the_page_tells_what_the_simulator_says() -> None:
    command = [sys.executable, ROOT / "tools/scheduling.py", "--check"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout) == (0, ""), checked.stderr
