"""M24: a caller that leaves, in each phase of a request and in each way, leaves nothing behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count

import pytest
from conductor_kit import CODE, BookkeepingRouter, asked, collect, few, going_on, one_at_a_time
from leaving import CLOSED_WITHIN_S, SERVED_PHASES, WAYS, prepared, until_held, within_turns
from scripted_backend import DONE, PAUSE, ScriptedBackend, Step, failure

from modelway.conductor import Conductor, RequestRecord
from modelway.events import FallingBack, ModelLoading, ModelSelected, Queued, TextDelta

URL = "http://127.0.0.1:9"
SAYS = [PAUSE, TextDelta("a"), PAUSE, PAUSE, TextDelta("b"), PAUSE, DONE]
LOADS = [PAUSE, ModelLoading("code-model", "local"), PAUSE, *SAYS]
BREAKS = [PAUSE, TextDelta("a"), PAUSE, failure("interrupted")]
FAILS = [PAUSE, failure("reset")]


def is_seam(event: object) -> bool:
    return isinstance(event, FallingBack) and event.continues_after is not None


def is_again(event: object) -> bool:
    return isinstance(event, FallingBack) and event.from_model == event.to_model


def of(kind: type) -> Callable[[object], bool]:
    return lambda event: isinstance(event, kind)


#: Phase -> the configuration, the scripts, and the event at which the caller leaves.
PHASES = {
    "chosen": (str, {"code": SAYS}, of(ModelSelected)),
    "queued": (one_at_a_time, {"code": SAYS}, of(Queued)),
    "loading": (str, {"code": LOADS}, of(ModelLoading)),
    "streaming": (str, {"code": SAYS}, of(TextDelta)),
    "falling back": (str, {"code": FAILS, "deep": SAYS}, of(FallingBack)),
    "fallen back": (str, {"code": FAILS, "deep": SAYS}, of(TextDelta)),
    "pausing": (lambda _: few(URL, "code"), {"code": [FAILS, SAYS]}, is_again),
    "at the seam": (going_on, {"code": BREAKS, "deep": SAYS}, is_seam),
    "behind the seam": (going_on, {"code": BREAKS, "deep": SAYS}, lambda event: event == TextDelta("b")),
}


@asynccontextmanager
async def in_phase(scripted, phase: str, holder: Sequence[Step]) -> AsyncIterator[tuple[Conductor, ScriptedBackend]]:
    """A conductor that is brought into ``phase`` by its next request; in the end its books are balanced.

    ``holder`` is the script of the request for which the next one has to wait in the queue.
    """
    edit, scripts, _ = PHASES[phase]
    conductor, backend = scripted(edit=edit, **scripts)
    holding = None
    if phase == "queued":
        backend.scripts["code-model"] = [list(holder), SAYS]
        holding = asyncio.create_task(conductor.complete(CODE))
        await within_turns(lambda: backend.running == 1)
    yield conductor, backend
    if holding is not None:
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)
    router = conductor.router
    assert isinstance(router, BookkeepingRouter)
    router.check_books()
    assert backend.running == 0


def records(conductor: Conductor) -> list[RequestRecord]:
    """Those of the request that leaves."""
    return [record for record in conductor.history if record.request_id == "leaver"]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("phase", PHASES)
async def test_m24_left_at_an_event_nothing_stays_behind(scripted, phase, way):
    async with in_phase(scripted, phase, [asyncio.Event()]) as (conductor, backend):
        held = backend.running
        await way(conductor.stream(CODE, request_id="leaver"), PHASES[phase][2])
        await within_turns(lambda: backend.running == held and bool(records(conductor)))
        (record,) = records(conductor)
        assert record.outcome == "cancelled"
        assert all(attempt.outcome in ("cancelled", "reset", "interrupted") for attempt in record.attempts)
        asked_by_then = len(backend.calls)
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(backend.calls) == asked_by_then, "nobody is asked for a caller that left"


@pytest.mark.parametrize("mode", ["streaming", "whole"])
@pytest.mark.parametrize("phase", PHASES)
async def test_m24_cancelled_at_each_await_in_turn_nothing_stays_behind(scripted, phase, mode):
    """The loop counts: the request is cancelled after one turn of the loop, after two, until it ends by itself."""
    read = Conductor.complete if mode == "whole" else collect
    for turns in count():
        async with in_phase(scripted, phase, [*[PAUSE] * 12, TextDelta("x"), DONE]) as (conductor, _):
            task = asyncio.create_task(read(conductor, CODE, request_id="leaver"))
            for _ in range(turns):
                await asyncio.sleep(0)
            is_over = task.done()
            task.cancel()
            (result,) = await asyncio.gather(task, return_exceptions=True)
            if isinstance(result, asyncio.CancelledError):
                assert [record.outcome for record in records(conductor)] == (["cancelled"] if turns else [])
            else:
                assert [record.outcome for record in records(conductor)] == ["success"]
        if is_over:
            break
    assert turns >= 5, "it had some awaits to be cancelled at"


@pytest.mark.parametrize("mode", ["streaming", "whole"])
@pytest.mark.parametrize("phase", SERVED_PHASES)
async def test_m24_the_upstream_is_closed_within_100_ms(server, open_conductor, phase, mode):
    read = Conductor.complete if mode == "whole" else collect
    conductor = open_conductor(prepared(server, phase))
    took_s = []
    for _ in range(3):
        server.request_history.clear()
        server.path_counts.clear()
        readers = [asyncio.create_task(read(conductor, CODE, request_id="leaver"))]
        if phase == "queued":
            readers.append(asyncio.create_task(read(conductor, CODE, request_id="leaver")))
        await until_held(server, phase, conductor)
        left_at = time.monotonic()
        for reader in reversed(readers):
            reader.cancel()
        await server.wait_for(lambda: not any(record.running for record in server.request_history))
        took_s.append(max(record.ended or 0.0 for record in server.request_history) - left_at)
        await asyncio.gather(*readers, return_exceptions=True)
        assert server.request_history[-1].cancelled
        assert len(asked(server)) == (2 if phase in ("falling back", "behind the seam") else 1)
    assert min(took_s) <= CLOSED_WITHIN_S
    assert {record.outcome for record in conductor.history} == {"cancelled"}
    assert {record.model for record in conductor.history} == {None}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_m24_each_way_of_leaving_closes_the_upstream_within_100_ms(server, either, way):
    server.hold("code-model", after=1)
    took_s = []
    for _ in range(3):
        server.request_history.clear()
        left_at = await way(either.stream(CODE, request_id="leaver"), of(TextDelta))
        await within_turns(lambda: len(records(either)) > len(took_s))
        await server.wait_for(lambda: server.request_history[0].cancelled)
        assert server.request_history[0].ended is not None
        took_s.append(server.request_history[0].ended - left_at)
    assert min(took_s) <= CLOSED_WITHIN_S
