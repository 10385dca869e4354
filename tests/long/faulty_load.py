"""Many requests with faults, cancellations and slow readers, over four models of two servers; what is left behind.

``python faulty_load.py REQUESTS SEED`` runs them through one conductor and its gateway in this process, with the
servers in others, prints how it goes, and as its last line one JSON object of figures. Five stretches of equal length,
and after each, when nothing runs any more, everything that this process holds is counted.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import subprocess
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

from live_memory import descriptors, live_bytes, resident_bytes
from load_callers import CALLERS, Ask

from modelway.conductor import Conductor
from modelway.config import Config
from modelway.gateway.routes import make_app
from modelway.gateway.sockets import listening
from modelway.monitor.watch import TASK_NAME
from modelway.router import ModelRouter
from modelway.types import RequestOutcome

STRETCHES = 5
AT_ONCE = 48
#: Far more than all deadlines and delays of a request together.
HANGS_AFTER_S = 60.0
#: How long what was given up at the end of a stretch has to be gone.
SETTLES_WITHIN_S = 10.0
MODELS = {"first": ["a-one", "a-two"], "second": ["b-one", "b-two"]}
CONFIG = """
[defaults]
general = "a-one"
code = "b-one"
math = "a-two"
quick = "b-two"
[fallbacks]
general = ["code"]
code = ["math"]
math = ["quick"]
[deadlines]
load_ms = 500
first_token_ms = 500
between_tokens_ms = 500
[health]
backoff_ms = 10
max_backoff_ms = 100
[[backends]]
name = "first"
kind = "ollama"
url = "{}"
max_connections = 20
[[backends]]
name = "second"
kind = "openai"
url = "{}"
[[models]]
id = "a-one"
backend = "first"
[[models]]
id = "a-two"
backend = "first"
max_concurrent = 4
[[models]]
id = "b-one"
backend = "second"
[[models]]
id = "b-two"
backend = "second"
max_concurrent = 8
"""


class Ledger(ModelRouter):
    """A router that knows which tickets are out; each must come back once."""

    def __init__(self, _: Config) -> None:
        self.out: set[int] = set()
        self.given = 0
        self.returned_wrongly = 0

    def admit(self, model: str, user: str | None = None, **terms: Any) -> Any:
        answer = super().admit(model, user, **terms)
        self.out.add(answer.ticket)
        self.given += 1
        return answer

    def finish(self, ticket: int, outcome: RequestOutcome, tokens: int | None = None) -> Any:
        self._take_back(ticket)
        return super().finish(ticket, outcome, tokens)

    def cancel(self, ticket: int) -> Any:
        self._take_back(ticket)
        return super().cancel(ticket)

    def _take_back(self, ticket: int) -> None:
        if ticket in self.out:
            self.out.remove(ticket)
        else:
            self.returned_wrongly += 1

    def held(self) -> int:
        """Tickets that are out, and requests that the core counts as running or waiting."""
        loads = [self.load(model) for model in self.profiles]
        return len(self.out) + sum(load.running + load.waiting for load in loads)


def tasks_of_requests() -> int:
    """All but the monitor's, which come and go with time."""
    return sum(task.get_name() != TASK_NAME for task in asyncio.all_tasks())


@dataclass(frozen=True)
class Standing:
    """What the process holds when nothing runs."""

    live_bytes: int | None
    resident_bytes: int
    descriptors: int
    tasks: int
    held: int


@dataclass
class Figures:
    """What became of the requests. ``wrong``: those that ended in no way they may. ``complaints``: exceptions that
    nobody fetched, things left open, errors logged. ``standings``: the first before all, one a stretch, the last when
    all is closed."""

    ended: Counter[str] = field(default_factory=Counter)
    by_caller: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    complaints: Counter[str] = field(default_factory=Counter)
    standings: list[Standing] = field(default_factory=list)
    tickets: int = 0
    returned_wrongly: int = 0
    servers: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def stand(self, router: Ledger) -> None:
        standing = Standing(live_bytes(), resident_bytes(), descriptors(), tasks_of_requests(), router.held())
        self.standings.append(standing)
        print(f"{sum(self.by_caller.values()):7}: {standing}", flush=True)

    def complain(self, error: BaseException | None, message: str) -> None:
        what = f"{message}: {error!r}"[:300]
        if not self.complaints[what]:
            print(what, "".join(traceback.format_exception(error)) if error else "", flush=True)
        self.complaints[what] += 1


class Load:
    """The requests of one run, each known by its number, ``AT_ONCE`` of them under way."""

    def __init__(self, conductor: Conductor, router: Ledger, gateway: str, seed: str, figures: Figures) -> None:
        self._conductor = conductor
        self._router = router
        self._gateway = gateway
        self._seed = seed
        self._figures = figures
        self._began = time.monotonic()

    async def run(self, requests: int) -> None:
        at_rest = tasks_of_requests()
        for begin, end in pairwise(requests * stretch // STRETCHES for stretch in range(STRETCHES + 1)):
            numbers = iter(range(begin, end))
            await asyncio.gather(*(self._work(numbers) for _ in range(AT_ONCE)))
            await self._settle(at_rest)
            self._figures.stand(self._router)

    async def _work(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            await self._one(number)
            if number % 2_000 == 0 and number:
                self._tell(number)

    async def _one(self, number: int) -> None:
        chance = random.Random(f"{self._seed}/{number}")
        (caller,) = chance.choices([*CALLERS], [*CALLERS.values()])
        self._figures.by_caller[caller.__name__] += 1
        try:
            async with asyncio.timeout(HANGS_AFTER_S) as time_out:
                ended = await caller(Ask(number, chance, self._conductor, self._gateway))
            self._figures.ended[ended] += 1
        except Exception as error:
            what = "hangs" if time_out.expired() else f"{type(error).__name__}: {error}"
            self._figures.wrong[f"{caller.__name__}: {what}"[:300]] += 1
            if self._figures.wrong.total() <= 5:
                print(f"request {number} went wrong", "".join(traceback.format_exception(error)), flush=True)

    async def _settle(self, at_rest: int) -> None:
        """Return when what was given up has come to its end; what does not is counted next."""
        until = time.monotonic() + SETTLES_WITHIN_S
        while (self._router.held() or tasks_of_requests() > at_rest) and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    def _tell(self, done: int) -> None:
        pace = done / (time.monotonic() - self._began)
        ended = ", ".join(f"{name} {count}" for name, count in self._figures.ended.most_common(5))
        print(f"{done:7}: {pace:.0f}/s, {resident_bytes() >> 20} MiB resident; {ended}", flush=True)


class Server(Protocol):
    """A faulty server somewhere else; ``seen`` is what it tells of itself."""

    @property
    def url(self) -> str: ...
    def seen(self) -> dict[str, Any]: ...


class Child:
    """A faulty server in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._orders, self._answers = process.stdin, process.stdout

    @cached_property
    def url(self) -> str:
        """Its address; waits until it has started."""
        return self._answers.readline().strip()

    def seen(self) -> dict[str, Any]:
        self._orders.write("\n")
        self._orders.flush()
        answer: dict[str, Any] = json.loads(self._answers.readline())
        return answer


@contextmanager
def child(seed: str, models: list[str]) -> Iterator[Child]:
    command = [sys.executable, str(Path(__file__).with_name("faulty_server.py")), seed, *models]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        try:
            yield Child(process)
        finally:
            process.stdin.close()


async def run(requests: int, seed: str, servers: list[Server]) -> Figures:
    """All requests, through a conductor and a gateway that live as long as they."""
    figures = Figures()
    began = time.monotonic()
    with complaints(figures):
        await _run(requests, seed, servers, figures)
    figures.servers = [server.seen() for server in servers]
    figures.seconds = time.monotonic() - began
    return figures


async def _run(requests: int, seed: str, servers: list[Server], figures: Figures) -> None:
    router = Ledger(Config.from_toml(CONFIG.format(*(server.url for server in servers))))
    figures.stand(router)
    async with (
        Conductor(router=router) as conductor,
        listening(make_app(conductor), ("127.0.0.1",), 0, drain_s=1.0) as gateway,
    ):
        await Load(conductor, router, gateway, seed, figures).run(requests)
    await asyncio.sleep(0)  # closed transports tell their protocols in the next turn
    figures.stand(router)
    figures.tickets, figures.returned_wrongly = router.given, router.returned_wrongly


@contextmanager
def complaints(figures: Figures) -> Iterator[None]:
    """What the event loop, the interpreter and the loggers have to say while requests run goes to ``figures``."""

    class Errors(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            figures.complain(record.exc_info[1] if record.exc_info else None, record.getMessage())

    errors, hook = Errors(logging.ERROR), sys.unraisablehook
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: figures.complain(context.get("exception"), context["message"]))
    sys.unraisablehook = lambda lost: figures.complain(lost.exc_value, lost.err_msg or "in a finalizer")
    logging.getLogger().addHandler(errors)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ResourceWarning)
            yield
    finally:
        logging.getLogger().removeHandler(errors)
        sys.unraisablehook = hook
        loop.set_exception_handler(None)


def main(requests: int, seed: str) -> None:
    with child(seed, MODELS["first"]) as first, child(seed, MODELS["second"]) as second:
        figures = asyncio.run(run(requests, seed, [first, second]))
    print(json.dumps(vars(figures) | {"standings": [asdict(standing) for standing in figures.standings]}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
