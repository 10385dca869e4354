"""A mock server in a process of its own whose answers go wrong by chance, and that goes away now and then.

``python faulty_server.py SEED MODEL...`` prints its address; then it answers each line on its standard input with one
line of JSON, and ends with its standard input. What a model says to a prompt is known to whoever asks: ``words_of``.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
from collections import Counter

from modelway.backends.mock import Fault, FaultKind, MockModelConfig, ModelRequest, MultiModelMockBackend

#: So many requests of a hundred thousand meet this; the others are served well.
FAULTS = [
    (1_500, Fault(FaultKind.RESET_BEFORE_HEADERS)),
    (150, Fault(FaultKind.STALL_BEFORE_HEADERS)),
    (500, Fault(FaultKind.RESET_MID_STREAM, after=0)),
    (1_500, Fault(FaultKind.RESET_MID_STREAM, after=2)),
    (1_500, Fault(FaultKind.END_WITHOUT_DONE, after=2)),
    (150, Fault(FaultKind.STALL_MID_STREAM, after=2)),
    (300, Fault(FaultKind.TRICKLE, after=1, interval_s=0.001)),
    (1_000, Fault(FaultKind.ERROR_RECORD, after=1)),
    (1_000, Fault(FaultKind.MALFORMED_RECORD, after=2)),
    (500, Fault(FaultKind.WRONG_TYPE, after=1)),
    (500, Fault(FaultKind.CUT_UTF8, after=2)),
    (1_000, Fault(FaultKind.EMPTY_ANSWER)),
    (50, Fault(FaultKind.GIANT_RECORD, after=2)),
    (1_000, Fault(FaultKind.DATA_AFTER_DONE)),
    (300, Fault(FaultKind.REPACKETED, size=1)),
    (2_000, Fault(FaultKind.REPACKETED, size=100_000)),
    (500, Fault.http(400)),
    (500, Fault.http(429, retry_after="0.02")),
    (5, Fault.http(429, retry_after="rubbish")),
    (2_000, Fault.http(500)),
    (1_000, Fault.http(503, retry_after="0.01")),
    (500, Fault.html(502)),
]
#: Seconds between two absences, on average, and how long one lasts.
AWAY_EVERY_S, AWAY_S = 8.0, 0.05
#: Requests remembered; those that still run are not forgotten.
REMEMBERED = 500
#: One answer of so many is long enough that a slow reader holds it up.
LONG_EVERY, LONG_WORDS, LONG_WORD_BYTES = 250, 300, 1_000


def words_of(model: str, number: int) -> list[str]:
    """What ``model`` says to prompt ``number``, a word a piece; no two answers have a word in common."""
    if number % LONG_EVERY == 0:
        return [f"{model}-{number}-{i} ".ljust(LONG_WORD_BYTES, "x") for i in range(LONG_WORDS)]
    return [f"{model}-{number}-{i} " for i in range(3 + number % 8)]


def prompt_of(number: int) -> str:
    return f"Question {number}, please."


class FaultyServer(MultiModelMockBackend):
    """Each request draws its fault."""

    def __init__(self, models: list[str], seed: str) -> None:
        super().__init__(
            {
                # One of the models takes its time, so that answers cross.
                name: MockModelConfig(reply=_answer, ttft_s=0.002, per_token_s=0.0005 if index else 0.0)
                for index, name in enumerate(models)
            }
        )
        self.met: Counter[str] = Counter()
        self._chance = random.Random(f"{seed} {models}")
        self._faults = [None, *(fault for _, fault in FAULTS)]
        weights = [weight for weight, _ in FAULTS]
        self._weights = [100_000 - sum(weights), *weights]

    def take_fault(self, model: str) -> Fault | None:
        if len(self.request_history) > 2 * REMEMBERED:
            old, new = self.request_history[:-REMEMBERED], self.request_history[-REMEMBERED:]
            self.request_history[:] = [record for record in old if record.running] + new
        (fault,) = self._chance.choices(self._faults, self._weights)
        self.met["none" if fault is None else fault.kind.value] += 1
        return fault

    def seen(self) -> dict[str, object]:
        """Requests that run, connections that came, and the faults that were met."""
        running = sum(record.running for record in self.request_history)
        return {"running": running, "connections": self.connections, "met": self.met}

    async def be_away_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / AWAY_EVERY_S))
            await self.down()
            self.met["away"] += 1
            await asyncio.sleep(AWAY_S)
            await self.up()


def _answer(request: ModelRequest) -> list[str]:
    found = re.search(r"\d+", request.body["messages"][-1]["content"])
    assert found
    return words_of(request.model, int(found[0]))


async def main(seed: str, models: list[str]) -> None:
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    async with FaultyServer(models, seed) as server:
        absences = asyncio.create_task(server.be_away_now_and_then())
        print(server.url, flush=True)
        while await orders.readline():
            print(json.dumps(server.seen()), flush=True)
        absences.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
