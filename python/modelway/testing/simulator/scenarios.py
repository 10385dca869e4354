"""The traffic that docs/scheduling.md tells of and the tests hold bars to: each scenario with models and memory.

Times of models are measured, on a CPU: SmolLM2-135M loads in 0.53 s and gives a short answer in 0.11 s, a tiny model in
0.26 s and 0.008 s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from modelway.testing.simulator.device import Policy, SimModel
from modelway.testing.simulator.run import Result, simulate
from modelway.testing.simulator.traffic import (
    Client,
    bursts,
    busy,
    later,
    now_and_then,
    own_lists,
    poisson,
    shared_list,
    with_embeddings,
    zipf,
)

#: In which the first requests of eight clients reach the scheduler: one of the orders that lead to what was counted on
#: a real server, 39 loads by order of arrival. (Of the 70 orders of four A and four B 36 lead to 37 to 39 loads.)
MEASURED_ORDER = (0, 1, 2, 3, 5, 4, 6, 7)


@dataclass(frozen=True, slots=True)
class Scenario:
    """Traffic for a device. ``traffic`` makes it anew for each run; ``groups`` are the static ones to compare with.

    ``watched`` are those whose waits are told: name, model (None: any), user (None: any).
    """

    title: str
    models: Sequence[SimModel]
    capacity_bytes: int
    traffic: Callable[[], list[Client]]
    groups: Sequence[Sequence[str]]
    watched: Sequence[tuple[str, str | None, str | None]] = (("all", None, None),)

    def run(self, policy: Policy) -> Result:
        return simulate(policy, self.traffic(), self.models, capacity_bytes=self.capacity_bytes)


def _smol(names: Sequence[str]) -> list[SimModel]:
    return [SimModel(name) for name in names]


_TWELVE = [f"m{number:02}" for number in range(12)]
_SMALL = [f"s{number}" for number in range(6)]
_SMALL_MODELS = [SimModel(name, memory_bytes=2, load_s=0.4, serve_s=0.05) for name in _SMALL]
_A_AND_B = (("A", "A", None), ("B", "B", None))

OWN_LISTS = Scenario(
    "Two models, memory for one: 8 clients that each ask A, B, A, B, ... (60 requests)",
    _smol("AB"),
    1,
    lambda: own_lists(8, 60, order=MEASURED_ORDER),
    ["AB"],
)
SHARED_LIST = Scenario(
    "Two models, memory for one: 8 workers on one list A, B, A, B, ... (60 requests)",
    _smol("AB"),
    1,
    lambda: shared_list(8, 60),
    ["AB"],
)
ONE_CLIENT = Scenario(
    "Two models, memory for one: one client that asks A, B, A, B, ... (60 requests)",
    _smol("AB"),
    1,
    lambda: own_lists(1, 60),
    ["AB"],
)
THREE_IN_TURN = Scenario(
    "Three models, memory for two: 8 clients that each ask A, B, C, A, B, C, ... (120 requests)",
    _smol("ABC"),
    2,
    lambda: own_lists(8, 120, "ABC"),
    ["A", "BC"],
)
BUSY_NEIGHBOUR = Scenario(
    "Two models, memory for one: B now and then, beside two clients that keep A busy",
    _smol("AB"),
    1,
    lambda: busy("A", 2, 500) + now_and_then("B", [3.0 + 9.0 * number for number in range(6)]),
    ["AB"],
    _A_AND_B,
)
WARM_BESIDE_LOADS = Scenario(
    "Three models, memory for two: A three times a second, and from 5 s on two clients that alternate B and C",
    _smol("ABC"),
    2,
    lambda: poisson("A", 3.0, 60.0, seed=1) + later(own_lists(2, 60, "BC"), 5.0),
    ["A", "BC"],
    (*_A_AND_B, ("C", "C", None)),
)
ZIPF = Scenario(
    "Twelve models, memory for three: 16 clients, the k-th model asked 1/k as often as the first (600 requests)",
    _smol(_TWELVE),
    3,
    lambda: zipf(_TWELVE, 600, clients=16, seed=1),
    [_TWELVE[0::3], _TWELVE[1::3], _TWELVE[2::3]],
)
ZIPF_CALM = Scenario(
    "The same with 8 clients",
    _smol(_TWELVE),
    3,
    lambda: zipf(_TWELVE, 600, clients=8, seed=1),
    [_TWELVE[0::3], _TWELVE[1::3], _TWELVE[2::3]],
)
BURSTS = Scenario(
    "Four models, memory for two: 12 requests for any of them at once, every 6 s",
    _smol("ABCD"),
    2,
    lambda: bursts("ABCD", 10, 12, every_s=6.0, seed=1),
    ["AB", "CD"],
)
HEAVY_USER = Scenario(
    "Two models, memory for one: one user with six clients on A, one who asks A now and then, one who asks B",
    _smol("AB"),
    1,
    lambda: [
        *busy("A", 6, 300, user="heavy"),
        *now_and_then("A", [0.5 + 2.0 * number for number in range(12)], user="light"),
        *now_and_then("B", [1.0 + 4.0 * number for number in range(6)], user="other"),
    ],
    ["AB"],
    (("heavy", None, "heavy"), ("light", None, "light"), ("other", None, "other")),
)
BIG_BESIDE_SMALL = Scenario(
    "One big model that leaves room for one of six small ones: the small ones by six clients, the big one every 7 s",
    [SimModel("big", memory_bytes=8, load_s=4.0, serve_s=2.0), *_SMALL_MODELS],
    10,
    lambda: [
        *zipf(_SMALL, 600, clients=6, seed=1, think_s=0.2, user="small"),
        *now_and_then("big", [2.0 + 7.0 * number for number in range(5)]),
    ],
    [["big", *_SMALL]],
    (("big", "big", None), ("small", None, "small")),
)

FROM_DOCUMENTS = Scenario(
    "Four models, memory for three, or for two and E, which makes embeddings: 6 clients ask E, A, E, B, ... (180)",
    [
        *(SimModel(name, memory_bytes=31, load_s=4.0, serve_s=1.5, slots=2) for name in "ABCD"),
        SimModel("E", memory_bytes=8, load_s=0.26, serve_s=0.02, slots=4, makes_embeddings=True),
    ],
    100,
    lambda: with_embeddings(own_lists(6, 90, "ABCD"), "E"),
    ["AB", "CD", "E"],
    (("all", None, None), ("E", "E", None)),
)

SCENARIOS = (
    OWN_LISTS, SHARED_LIST, ONE_CLIENT, THREE_IN_TURN, BUSY_NEIGHBOUR, WARM_BESIDE_LOADS, ZIPF, ZIPF_CALM, BURSTS,
    HEAVY_USER, BIG_BESIDE_SMALL, FROM_DOCUMENTS,
)  # fmt: skip
