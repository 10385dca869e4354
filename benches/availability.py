"""How soon a failure is left behind, a caller's leaving reaches the server, and a recovery is used.

The servers run in threads of their own with their own event loops. Each line of the table is one promise: what was
measured, and whether it holds. ``--l10-seconds 600`` runs the load of fifty requests a second for as long as promised.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from modelway.conductor import Conductor
from modelway.config import Config
from modelway.errors import ModelwayError
from modelway.events import ConductorMessage, FallingBack, ModelLoading, ModelSelected, TextDelta
from modelway.gateway.routes import make_app
from modelway.gateway.sockets import listening
from modelway.testing import Fault, FaultKind, MockModelConfig, MultiModelMockBackend, ServerThread, run_in_thread

NAMES = ("a", "b", "c")
#: Every request asks the failing one first: nothing is learned from failures, and second attempts are free.
NEVER_LEARNS = """
[health]
failures_to_open = 1_000
least_success_percent = 0
retry_percent = 100
retries_per_s = 1_000_000
"""
FALLBACKS, CANCELS, REQUESTS = 300, 100, 2_000


@dataclass(frozen=True)
class Line:
    what: str
    measured: str
    promised: str
    holds: bool


class HasUrl(Protocol):
    @property
    def url(self) -> str: ...


def config(servers: Sequence[HasUrl], more: str = "") -> Config:
    """One model a server, asked in their order."""
    backends = "".join(
        f'[[backends]]\nname = "{name}"\nkind = "ollama"\nurl = "{server.url}"\n'
        f'[[models]]\nid = "model-{name}"\nbackend = "{name}"\n'
        for name, server in zip(NAMES, servers, strict=False)
    )
    chain = ", ".join(f'"model-{name}"' for name, _ in zip(NAMES[1:], servers[1:], strict=False))
    return Config.from_toml(f'{more}[defaults]\ngeneral = "model-a"\n[fallbacks]\ngeneral = [{chain}]\n{backends}')


def mock(name: str) -> MultiModelMockBackend:
    return MultiModelMockBackend({f"model-{name}": MockModelConfig(reply="one two three four")})


@contextmanager
def serving(count: int) -> Iterator[list[ServerThread]]:
    with ExitStack() as stack:
        yield [stack.enter_context(run_in_thread(mock(name))) for name in NAMES[:count]]


async def first_token(conductor: Conductor) -> tuple[float, float]:
    """Milliseconds to the first token: from the beginning, and from the decision."""
    began = left = time.perf_counter()
    async with aclosing(conductor.stream("hello", task="general")) as events:
        async for event in events:
            match event:
                case ModelSelected():
                    left = time.perf_counter()
                case TextDelta():
                    came = time.perf_counter()
                    return (came - began) * 1000, (came - left) * 1000
    raise AssertionError("an answer without text")


def percentiles(values: list[float]) -> tuple[float, float]:
    """The median and the 99th percentile."""
    cuts = statistics.quantiles(values, n=100)
    return cuts[49], cuts[98]


def timed(what: str, values: list[float], most_ms: float) -> Line:
    median, p99 = percentiles(values)
    return Line(what, f"p50 {median:.1f} ms, p99 {p99:.1f} ms", f"p99 <= {most_ms:g} ms", p99 <= most_ms)


async def fallback_after_a_refused_connection() -> list[Line]:
    with serving(2) as servers:
        servers[0].run(servers[0].server.down())
        async with Conductor(config(servers, NEVER_LEARNS)) as conductor:
            await first_token(conductor)
            taken = [(await first_token(conductor))[1] for _ in range(FALLBACKS)]
    return [timed("refused connection to the fallback's first token", taken, 50.0)]


async def l5_two_failing_before_one_that_serves() -> list[Line]:
    with serving(3) as servers:
        for server, fault in zip(servers, (Fault.http(500), Fault(FaultKind.RESET_BEFORE_HEADERS)), strict=False):
            server.call(partial(_fail, server, fault))
        async with Conductor(config(servers, NEVER_LEARNS)) as conductor:
            taken = [(await first_token(conductor))[0] for _ in range(FALLBACKS)]
    return [timed("L5: a and b fail, first token of c", taken, 1000.0)]


def _fail(server: ServerThread, fault: Fault) -> None:
    for model in server.server.models:
        server.server.fail(model, fault)


async def none_visible_with_one_of_three_down() -> list[Line]:
    with serving(3) as servers:
        servers[0].run(servers[0].server.down())
        async with Conductor(config(servers)) as conductor:
            failed = 0
            for _ in range(REQUESTS // 20):
                answers = await asyncio.gather(*(first_token(conductor) for _ in range(20)), return_exceptions=True)
                failed += sum(isinstance(answer, BaseException) for answer in answers)
    return [Line(f"1 of 3 down, {REQUESTS:,} requests", f"{failed} failures seen", "0", failed == 0)]


@dataclass(frozen=True)
class Phase:
    """``reached`` by the event that tells so; ``fault`` keeps a request from beginning, ``after`` from going on."""

    name: str
    reached: type[ConductorMessage]
    after: int = 0
    fault: Fault | None = None
    more: str = ""


PHASES = (
    Phase("loading", ModelLoading, 0, Fault(FaultKind.STALL_BEFORE_HEADERS), "[deadlines]\nfirst_token_ms = 20\n"),
    Phase("waiting for the first token", ModelSelected),
    Phase("streaming", TextDelta, 2),
    Phase("falling back", FallingBack, 0, None, NEVER_LEARNS),
)


async def upstream_closes_when_the_caller_leaves() -> list[Line]:
    """From the cancellation to the moment in which the server knows that its client has left."""
    lines = []
    for phase in PHASES:
        with serving(2) as servers:
            asked = servers[phase.reached is FallingBack]
            if asked is servers[1]:
                servers[0].run(servers[0].server.down())
            async with Conductor(config(servers, phase.more)) as conductor:
                taken = [await _left_in(phase, conductor, asked) for _ in range(CANCELS)]
        lines.append(timed(f"cancelled while {phase.name}, upstream closed", taken, 100.0))
    return [*lines, await _client_leaves_the_gateway()]


async def _left_in(phase: Phase, conductor: Conductor, server: ServerThread) -> float:
    if phase.fault is None:
        server.call(partial(server.server.hold, after=phase.after))
    else:
        server.call(partial(_fail, server, phase.fault))
    reached = asyncio.Event()
    task = asyncio.create_task(_ask(conductor, phase.reached, reached))
    async with asyncio.timeout(10):
        await reached.wait()
    taken = await _closed_after(server, task.cancel)
    await asyncio.gather(task, return_exceptions=True)
    server.call(server.server.release)
    return taken


async def _ask(conductor: Conductor, is_reached: type[ConductorMessage], reached: asyncio.Event) -> None:
    async with aclosing(conductor.stream("hello", task="general")) as events:
        async for event in events:
            if isinstance(event, is_reached):
                reached.set()


async def _closed_after(server: ServerThread, leave: Callable[[], object]) -> float:
    """Leave once the server holds the request; milliseconds until it has noticed."""
    history = server.server.request_history
    await asyncio.to_thread(server.wait_for, lambda: bool(history) and history[-1].held)
    began = time.monotonic()
    leave()
    await asyncio.to_thread(server.wait_for, lambda: history[-1].ended is not None)
    ended = history[-1].ended
    assert ended is not None
    return (ended - began) * 1000


async def _client_leaves_the_gateway() -> Line:
    taken = []
    with serving(1) as servers:
        async with (
            Conductor(config(servers)) as conductor,
            listening(make_app(conductor), ("127.0.0.1",), 0, drain_s=1.0) as url,
        ):
            port = int(url.rpartition(":")[2])
            for _ in range(CANCELS):
                servers[0].call(lambda: servers[0].server.hold(after=2))
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                body = b'{"model": "auto", "stream": true, "messages": [{"role": "user", "content": "hello"}]}'
                writer.write(
                    f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
                    f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                    + body
                )
                taken.append(await _closed_after(servers[0], writer.transport.abort))
                servers[0].call(servers[0].server.release)
    return timed("a client leaves the gateway, upstream closed", taken, 100.0)


async def recovery_is_used() -> list[Line]:
    """From the moment in which a server is there again to the first answer of its model, while requests go on; after
    an outage that opened its circuit, and after one so long that probes have failed and the delay has grown."""
    lines = []
    with serving(2) as servers:
        async with Conductor(config(servers)) as conductor:
            for name, outage_s in (("short", 1.0), ("long", 12.0)):
                servers[0].run(servers[0].server.down())
                await _requests_until(conductor, _after(outage_s))
                servers[0].run(servers[0].server.up())
                began = time.perf_counter()
                await _requests_until(conductor, lambda served: served == "model-a")
                taken = time.perf_counter() - began
                lines.append(Line(f"used again after a {name} outage", f"{taken:.2f} s", "<= 6 s", taken <= 6.0))
    return lines


def _after(seconds: float) -> Callable[[str | None], bool]:
    until = time.monotonic() + seconds
    return lambda _: time.monotonic() > until


async def _requests_until(conductor: Conductor, is_over: Callable[[str | None], bool]) -> None:
    """Fifty requests a second, one after the other; ``is_over`` is told the model that served."""
    while not is_over(await _served_by(conductor)):  # noqa: ASYNC110
        await asyncio.sleep(0.02)


async def _served_by(conductor: Conductor) -> str | None:
    try:
        return (await conductor.complete("hello", task="general")).model
    except ModelwayError:
        return None


async def l7_connections_are_kept() -> list[Line]:
    requests, at_once = 500, 8
    with serving(1) as servers:
        async with Conductor(config(servers)) as conductor:
            for _ in range(requests // at_once):
                await asyncio.gather(*(_served_by(conductor) for _ in range(at_once)))
        asked, connections = sum(servers[0].server.path_counts.values()), servers[0].server.connections
    reuse = 1 - connections / asked
    what = f"L7: {asked} requests, {at_once} at once, {connections} connections"
    return [Line(what, f"{reuse:.1%} reused", "> 90 %", reuse > 0.9)]


class Child:
    """A mock server in a process of its own: what it remembers takes none of our memory."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.url = process.stdout.readline().strip()


async def serve_until_told() -> None:
    """What that process runs."""
    async with mock(NAMES[0]) as server:
        print(server.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def l10_fifty_a_second(seconds: float) -> list[Line]:
    """Memory and descriptors are looked at once a fifth of the time has passed."""
    pace, asked, failed = 50, 0, 0
    marks: list[tuple[int, int]] = []
    command = [sys.executable, __file__, "serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: ASYNC220
        async with Conductor(config([Child(process)])) as conductor:
            began = time.perf_counter()
            answers: set[asyncio.Task[str | None]] = set()
            while (elapsed := time.perf_counter() - began) < seconds:
                while asked < elapsed * pace:
                    answers.add(asyncio.create_task(_served_by(conductor)))
                    asked += 1
                await asyncio.sleep(1 / pace)
                done = {answer for answer in answers if answer.done()}
                answers -= done
                failed += sum(answer.result() is None for answer in done)
                if elapsed > seconds / 5:
                    marks.append((_resident_bytes(), _descriptors()))
            failed += sum(answer is None for answer in await asyncio.gather(*answers))
        assert process.stdin is not None
        process.stdin.close()
    grown = (marks[-1][0] - marks[0][0]) / 2**20
    least, most = min(mark[1] for mark in marks), max(mark[1] for mark in marks)
    what = f"L10: {asked:,} requests at {pace}/s for {seconds:g} s"
    return [
        Line(what, f"{failed / asked:.2%} failed", "< 1 %", failed < asked / 100),
        Line("L10: resident memory after the first fifth", f"{grown:+.1f} MiB", "<= 4 MiB", grown <= 4),
        Line("L10: descriptors after the first fifth", f"{least} to {most}", f"<= {pace} more", most <= least + pace),
    ]


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def main(l10_seconds: float) -> None:
    measurements: tuple[Callable[[], Awaitable[list[Line]]], ...] = (
        fallback_after_a_refused_connection,
        l5_two_failing_before_one_that_serves,
        none_visible_with_one_of_three_down,
        upstream_closes_when_the_caller_leaves,
        recovery_is_used,
        l7_connections_are_kept,
        lambda: l10_fifty_a_second(l10_seconds),
    )
    for measure in measurements:
        for line in await measure():
            verdict = "holds" if line.holds else "DOES NOT HOLD"
            print(f"{line.what:60} {line.measured:27} promised {line.promised}: {verdict}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        asyncio.run(serve_until_told())
    else:
        options = argparse.ArgumentParser(description=__doc__)
        options.add_argument("--l10-seconds", type=float, default=20.0, metavar="SECONDS", help="promised for 600")
        asyncio.run(main(options.parse_args().l10_seconds))
