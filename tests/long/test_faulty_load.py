"""Requests with faults, cancellations and slow readers: nothing is left behind, nothing hangs, none ends oddly.

Some hundred in this process, with the servers in threads; and with ``make test-long`` as many as
``MODELWAY_LONG_REQUESTS`` says, chosen by ``MODELWAY_LONG_SEED``, in a process of their own, whose memory and
descriptors are theirs alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from faulty_load import MODELS, run
from faulty_server import FaultyServer

from modelway.backends.mock import ServerThread, run_in_thread

FEW = 200
REQUESTS = int(os.environ.get("MODELWAY_LONG_REQUESTS", "0"))
SEED = os.environ.get("MODELWAY_LONG_SEED", "6")
#: What live memory may grow by after the first stretch: of a hundred bytes a request kept, the long run would tell.
GROWTH_BYTES = 1 << 20
#: From so many requests on memory is judged: a fifth of them fills all that is bounded, such as the history of 1,000
#: requests.
MEASURED_FROM = 10_000
#: A run with faults of all kinds still answers most, and interrupts some.
LEAST_COMPLETE = 0.5
ENDS = ("complete", "interrupted", "left")
TYPED = ("NoModelAvailable", "BackendError", "QueueFull", "RateLimited", "gateway ")


def judge(requests: int, figures: Mapping[str, Any]) -> None:
    """Every request ended as one may, and nothing is held when nothing runs."""
    assert figures["wrong"] == {}
    assert figures["complaints"] == {}
    ended = figures["ended"]
    assert [end for end in ended if not end.startswith((*ENDS, *TYPED))] == []
    assert sum(ended.values()) == requests
    assert ended["complete"] > LEAST_COMPLETE * requests
    assert all(ended[end] for end in ENDS)
    assert figures["tickets"] >= requests / 2
    assert figures["returned_wrongly"] == 0
    assert [server["running"] for server in figures["servers"]] == [0, 0]


class InThread:
    """A faulty server in a thread of this process."""

    def __init__(self, thread: ServerThread) -> None:
        self._thread = thread
        self.url = thread.url

    def seen(self) -> dict[str, Any]:
        server = self._thread.server
        assert isinstance(server, FaultyServer)
        self._thread.wait_for(lambda: server.seen()["running"] == 0)
        return server.seen()


async def test_some_hundred_requests_leave_nothing_behind() -> None:
    with (
        run_in_thread(FaultyServer(MODELS["first"], SEED)) as first,
        run_in_thread(FaultyServer(MODELS["second"], SEED)) as second,
    ):
        figures = await run(FEW, SEED, [InThread(first), InThread(second)])
    judge(FEW, vars(figures))
    before, *stretches, after = figures.standings
    assert {standing.held for standing in stretches} == {0}
    assert len({standing.tasks for standing in stretches}) == 1
    assert (after.held, after.tasks) == (0, before.tasks)


def output_of(process: subprocess.Popen[str]) -> Iterator[str]:
    """Its lines, shown as they come."""
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        yield line


@pytest.mark.long
@pytest.mark.timeout(0)
@pytest.mark.skipif(not REQUESTS, reason="make test-long, or MODELWAY_LONG_REQUESTS=N: takes minutes")
def test_very_many_requests_leave_nothing_behind() -> None:
    command = [sys.executable, str(Path(__file__).with_name("faulty_load.py")), str(REQUESTS), SEED]
    environment = os.environ | {"PYTHONMALLOC": "malloc"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        *_, last = output_of(process)
    assert process.returncode == 0
    figures: dict[str, Any] = json.loads(last)
    judge(REQUESTS, figures)
    before, *stretches, after = figures["standings"]
    assert {(standing["held"], standing["tasks"]) for standing in stretches} == {(0, stretches[0]["tasks"])}
    assert (after["held"], after["tasks"], after["descriptors"]) == (0, before["tasks"], before["descriptors"])
    first, *later = (standing["live_bytes"] for standing in stretches)
    if first is not None and REQUESTS >= MEASURED_FROM:
        grown = max(later) - first
        print(f"live memory after the first {REQUESTS // len(stretches):,} requests: at most {grown:+,} bytes")
        assert grown <= GROWTH_BYTES
