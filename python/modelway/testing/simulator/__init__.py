"""What scheduling policies are worth, tried on simulated traffic: same seed, same result, no time passes.

A *device* has memory, loads models one at a time and answers in slots, each taking the time it takes. *Traffic* are
clients that ask. A *policy* decides what is loaded and who goes next:

- :class:`Routed` is modelway's own, by the very core that decides in production;
- :class:`OrderOfArrival` is what Ollama does, held to counts from a real server;
- :class:`StaticGroups` is memory divided by hand.

>>> from modelway.testing.simulator import OrderOfArrival, SimModel, own_lists, simulate
>>> two = [SimModel("A"), SimModel("B")]
>>> simulate(OrderOfArrival(), own_lists(1, 60), two, capacity_bytes=1).loads
60
"""

from modelway.testing.simulator.arrival_order import OrderOfArrival
from modelway.testing.simulator.device import AgainstNature, Device, Policy, Request, SimModel, Stay
from modelway.testing.simulator.routed import Routed
from modelway.testing.simulator.run import Result, percentile, simulate
from modelway.testing.simulator.static_groups import StaticGroups
from modelway.testing.simulator.traffic import (
    Ask,
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

__all__ = [
    "AgainstNature",
    "Ask",
    "Client",
    "Device",
    "OrderOfArrival",
    "Policy",
    "Request",
    "Result",
    "Routed",
    "SimModel",
    "StaticGroups",
    "Stay",
    "bursts",
    "busy",
    "later",
    "now_and_then",
    "own_lists",
    "percentile",
    "poisson",
    "shared_list",
    "simulate",
    "with_embeddings",
    "zipf",
]
