"""The world of the egress property: two servers that are called external, one that is here, and what may go when.

The rule stands here a second time, slowly and in words of its own: nothing of it is asked of modelway.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import orjson
from conductor_kit import PNG

import modelway as mw
from modelway.backends.mock import Fault, FaultKind, MockModelConfig, MultiModelMockBackend
from modelway.backends.mock.history import ModelRequest
from modelway.conductor import Conductor, consents
from modelway.privacy.consent import ConsentStore
from modelway.privacy.ledger import EgressLedger, Entry, Receipt, Sending

_T = TypeVar("_T")
Moment = Literal["before", "queued", "ledger", "streaming"]
MOMENTS: tuple[Moment, ...] = ("before", "queued", "ledger", "streaming")

#: Each model with its server. ``handed-on`` stands on the server that is here, which passes it on to another place.
MODELS = {"small": "here", "handed-on": "here", "big": "east", "wide": "east", "far": "west"}
ELSEWHERE = {"east": ("big", "wide"), "west": ("far",), "cloud": ("handed-on",)}
CLOUD_NAME, CLOUD = "gpt:120b-cloud", "ollama.com"
FAULTS = {
    "refuses": Fault.http(500),
    "resets": Fault(FaultKind.RESET_BEFORE_HEADERS),
    "breaks off": Fault(FaultKind.RESET_MID_STREAM, after=1),
    "is silent": Fault(FaultKind.EMPTY_ANSWER),
}
#: What each shape of request holds, beside text.
SHAPES = {"text": set(), "code": {"code"}, "code in system": {"code"}, "image": {"images"}, "result": {"tool_results"}}
_BLOCK = "```python\nx = 1\n```"


@dataclass(frozen=True)
class Terms:
    """What the configuration says."""

    allow_external: bool = True
    secret_scan: bool = False
    goes_on: bool = False
    default: str = "small"
    chain: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ("openai", "ollama")
    forbidden: bool = False
    #: A consent to the server in the east in the configuration: none, one in force, one that is over, one to come.
    written: Literal["", "now", "over", "later"] = ""


@dataclass(frozen=True)
class Change:
    """A consent that is given (``kinds``), or all to a server that end, or the master switch (``server`` empty).

    ``by``: through the conductor itself, or by another process that shares the file.
    """

    moment: Moment
    server: str
    kinds: tuple[str, ...] = ()
    model: str | None = None
    by: Literal["conductor", "process"] = "process"


@dataclass(frozen=True)
class Ask:
    shape: str = "text"
    model: str | None = None
    allow_external: bool | None = None
    changes: tuple[Change, ...] = ()
    faults: tuple[tuple[str, str], ...] = ()


@dataclass
class Held:
    """A consent as this test knows it, from before it was given until after it had ended."""

    destination: str
    kinds: set[str]
    model: str | None
    since: float
    until: float = math.inf


@dataclass
class Tally:
    """What a run has seen, so that a property that holds of nothing shows."""

    asked: int = 0
    bodies: int = 0
    withheld: int = 0
    cut_off: int = 0
    changes: dict[str, int] = field(default_factory=dict)


class World:
    def __init__(self, terms: Terms, servers: dict[str, MultiModelMockBackend], folder: Path, tally: Tally) -> None:
        self.terms, self.servers, self.folder, self.tally = terms, servers, folder, tally
        self.destinations = {name: server.url.removeprefix("http://") for name, server in servers.items()}
        self.destinations["cloud"] = CLOUD
        self.held: list[Held] = []
        self.is_open_until = math.inf if terms.allow_external else -math.inf
        self.at_ledger: list[Change] = []
        #: When each line of the ledger was on the disk, by request: from then on its body may go.
        self.noted: dict[str, list[float]] = {}
        #: When the last change came that was made while a pass was in somebody's hands, by another process.
        self.late_change = -math.inf
        self.asks: dict[str, Ask] = {}
        if terms.written:
            until = math.inf if terms.written == "now" else -math.inf
            self.held.append(Held(self.destinations["east"], {"text", "code"}, None, -math.inf, until))
        self.loop = asyncio.get_running_loop()
        self.conductor = Conductor(self.config())

    def config(self, *, allow_external: bool | None = None) -> mw.Config:
        terms, urls = self.terms, {name: server.url for name, server in self.servers.items()}
        allow = terms.allow_external if allow_external is None else allow_external
        times = {"now": "", "over": "until = 2020-01-01", "later": "since = 2099-01-01"}
        written = ""
        if terms.written:
            written = (
                f'[[privacy.consents]]\ndestination = "{self.destinations["east"]}"\nkinds = ["text", "code"]\n'
                f"{times[terms.written]}\n"
            )
        backends = f'[[backends]]\nname = "here"\nkind = "ollama"\nurl = "{urls["here"]}"\n' + "".join(
            f'[[backends]]\nname = "{name}"\nkind = "{kind}"\nurl = "{urls[name]}"\nlocation = "external"\n'
            for name, kind in zip(("east", "west"), terms.kinds, strict=True)
        )
        models = "".join(
            f'[[models]]\nid = "{model}"\nbackend = "{server}"\nmax_concurrent = 1\nlicense = "{licence_of(model)}"\n'
            f'name = "{CLOUD_NAME if model == "handed-on" else model}"\n'
            'capabilities = ["TextGeneration", "VisionInput"]\nstrengths = ["General", "CodeGeneration"]\n'
            for model, server in MODELS.items()
        )
        chain = [model for model in terms.chain if model != terms.default]
        return mw.Config.from_toml(
            f"[privacy]\nallow_external = {str(allow).lower()}\n"
            f"secret_scan_before_external = {str(terms.secret_scan).lower()}\n{written}"
            f'[state]\nfolder = "{self.folder}"\n[memory]\nmanage = false\n'
            f"[licenses]\nforbid = {['llama2'] if terms.forbidden else []}\n"
            f'[defaults]\ngeneral = "{terms.default}"\ncode = "{terms.default}"\n'
            f"[fallbacks]\ncontinue_midstream = {str(terms.goes_on).lower()}\ngeneral = {chain}\ncode = {chain}\n"
            f"{backends}{models}".replace("'", '"')
        )

    async def ask(self, ask: Ask, name: str, changes: list[Change] | None = None) -> Exception | None:
        """Ask, with the ``changes`` that come while it streams; what it came to."""
        self.asks[name] = ask
        self.tally.asked += 1
        if changes:
            self.hold()
        serving, must_end, error = "", False, None
        try:
            stream = self.conductor.stream(
                messages_of(ask.shape, name), model=ask.model, allow_external=ask.allow_external, request_id=name
            )
            async for event in stream:
                match event:
                    case mw.ModelSelected(model=serving) | mw.FallingBack(to_model=serving):
                        pass
                    case mw.TextDelta() if changes:
                        await self.apply_all(changes)
                        must_end = serving in sum(ELSEWHERE.values(), ()) and not self._allows(ask, serving)
                        if not must_end:
                            self.release()
                        changes = []
        except mw.ModelwayError as raised:
            error = raised
        assert isinstance(error, mw.StreamInterrupted) or not must_end, f"{serving} was not cut off: {error!r}"
        return error

    def hold(self) -> None:
        """Every answer stops behind its first word."""
        for server in self.servers.values():
            server.hold(after=1)

    def release(self) -> None:
        for server in self.servers.values():
            server.release()

    async def play(self, ask: Ask, name: str) -> None:
        """One request with all that happens round it."""
        at = {moment: [change for change in ask.changes if change.moment == moment] for moment in MOMENTS}
        for model, fault in ask.faults:
            if fault == "is silent" and at["streaming"]:
                continue  # its first word, at which the changes come, would never be
            server = self.servers[MODELS[model]]
            server.fail(CLOUD_NAME if model == "handed-on" else model, FAULTS[fault], times=1)
        await self.apply_all(at["before"])
        self.at_ledger = at["ledger"]
        if at["queued"]:
            error = await self._ask_behind_another(ask, name, at["queued"])
        else:
            error = await self.ask(ask, name, at["streaming"])
            self.release()
        self.tally.cut_off += isinstance(error, mw.StreamInterrupted) and "consent has ended" in str(error)
        self.at_ledger = []
        for server in self.servers.values():
            await server.wait_for(lambda server=server: not any(one.running for one in server.request_history))
            for model in [*MODELS, CLOUD_NAME]:
                server.heal(model)

    async def _ask_behind_another(self, ask: Ask, name: str, changes: list[Change]) -> Exception | None:
        """The same is asked twice, and the first holds the only slot; the changes come while the second waits."""
        self.hold()
        first = asyncio.create_task(self.ask(ask, f"{name}-ahead"))
        await self._until(lambda: first.done() or self._at_rest() == 1)
        second = asyncio.create_task(self.ask(ask, name))
        await self._until(lambda: self._at_rest() == 2 - first.done() - second.done())
        await self.apply_all(changes)
        self.release()
        await first
        return await second

    def _at_rest(self) -> int:
        """How many requests go no further: held by a server, or waiting for a slot."""
        held = sum(one.held for server in self.servers.values() for one in server.request_history)
        return held + sum(self.conductor.router.load(model).waiting for model in MODELS)

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(3):
            while not holds():  # noqa: ASYNC110  (the core tells nobody)
                await asyncio.sleep(0.001)

    async def apply_all(self, changes: list[Change]) -> None:
        for change in changes:
            await self.apply(change)

    async def apply(self, change: Change) -> None:
        self.tally.changes[change.moment] = self.tally.changes.get(change.moment, 0) + 1
        destination = self.destinations.get(change.server, "")
        if not change.server:
            self.conductor.router.replace_config(self.config(allow_external=False))
            self.is_open_until = min(self.is_open_until, time.monotonic())
        elif change.kinds:
            given = Held(destination, set(change.kinds), change.model, time.monotonic())
            if change.by == "conductor":
                await self.conductor.consents.grant(destination, change.kinds, model=change.model)
            else:
                await self._by_process(lambda store: store.grant(destination, change.kinds, model=change.model))
            self._end(lambda held: (held.destination, held.model) == (destination, change.model))
            self.held.append(given)
        else:
            with suppress(LookupError):
                if change.by == "conductor":
                    await self.conductor.consents.revoke(destination)
                else:
                    await self._by_process(lambda store: store.revoke(destination))
            self._end(lambda held: held.destination == destination)
        if change.moment == "ledger" and change.by == "process":
            self.late_change = time.monotonic()

    async def _by_process(self, change: Callable[[ConsentStore], object]) -> None:
        await asyncio.to_thread(lambda: change(ConsentStore(self.folder)))

    def _end(self, is_it: Callable[[Held], bool]) -> None:
        """What stands in the configuration is ended there alone."""
        for held in self.held:
            if held.since > -math.inf and held.until == math.inf and is_it(held):
                held.until = time.monotonic()

    def opened(self, write: Callable[[EgressLedger, Sending], Receipt]) -> Callable[[EgressLedger, Sending], Receipt]:
        """The ledger's ``open``, at whose end the changes come that are made between the pass and the first byte."""

        def open_(ledger: EgressLedger, sending: Sending) -> Receipt:
            receipt = write(ledger, sending)
            changes, self.at_ledger = self.at_ledger, []
            asyncio.run_coroutine_threadsafe(self.apply_all(changes), self.loop).result(3)
            self.noted.setdefault(sending.request_id, []).append(time.monotonic())
            return receipt

        return open_

    # The rule.

    def may_have_left(self, record: ModelRequest) -> bool:
        """Whether this body might be where it came to: allowed at any time since its line stood in the ledger."""
        name = self.name_of(record)
        begun = [at for at in self.noted.get(name, ()) if at <= record.started]
        # What another process ends after that is seen when the file is looked at next.
        late = consents.WATCH_S + 0.2
        grace_s = late if record.started - self.late_change < late else 0.0
        return bool(begun) and self._allows(self.asks[name], model_of(record), begun[-1] - grace_s, record.started)

    def would_leave(self, ask: Ask) -> bool:
        """Whether a request for a named model may leave now."""
        return ask.model is not None and self._allows(ask, ask.model)

    def _allows(self, ask: Ask, model: str, since: float | None = None, until: float = math.inf) -> bool:
        """At any time between these; without them, now."""
        since = time.monotonic() if since is None else since
        destination = self.destinations["cloud" if model == "handed-on" else MODELS[model]]
        kinds = {"text"} | SHAPES[ask.shape]
        covers = any(
            held.destination == destination
            and held.model in (None, model)
            and kinds <= held.kinds
            and held.since <= until
            and since <= held.until
            for held in self.held
        )
        return (
            covers
            and since <= self.is_open_until
            and not self.terms.secret_scan
            and "images" not in kinds
            and ask.allow_external is not False
            and not (self.terms.forbidden and licence_of(model) == "llama2")
        )

    @staticmethod
    def name_of(record: ModelRequest) -> str:
        found = re.search(rb"request (\d+(-ahead)?)", orjson.dumps(record.body))
        assert found is not None
        return found[1].decode()

    def destination_of(self, record: ModelRequest) -> str:
        return self.destinations["cloud" if record.asked == CLOUD_NAME else MODELS[record.model]]

    @staticmethod
    def wall_time(monotonic: float) -> float:
        """Seconds since 1970."""
        return time.time() - time.monotonic() + monotonic

    def bodies(self) -> list[ModelRequest]:
        """All that came to places elsewhere, in order of arrival."""
        records = [*self.servers["east"].request_history, *self.servers["west"].request_history]
        records += [one for one in self.servers["here"].request_history if one.asked == CLOUD_NAME]
        return sorted(records, key=lambda record: record.started)

    def sights(self) -> dict[str, tuple[int, int]]:
        """How many connections and requests of any kind each server elsewhere has seen."""
        there = {name: self.servers[name] for name in ("east", "west")}
        return {name: (server.connections, server.path_counts.total()) for name, server in there.items()}

    def entries(self) -> list[Entry]:
        ledger = EgressLedger(self.folder)
        assert aside(ledger.verify) is None
        return aside(ledger.entries)


def aside(work: Callable[[], _T]) -> _T:
    """On a thread of its own: files on the loop's are a fault that the tests look for."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


def licence_of(model: str) -> str:
    return "llama2" if model in ("wide", "far") else "apache-2.0"


def model_of(record: ModelRequest) -> str:
    return "handed-on" if record.asked == CLOUD_NAME else record.model


def messages_of(shape: str, name: str) -> list[dict[str, Any]]:
    said: dict[str, Any] = {"role": "user", "content": f"hello there, this is request {name}"}
    match shape:
        case "code":
            said["content"] += f"\n{_BLOCK}"
        case "image":
            image = {"type": "image_url", "image_url": {"url": PNG}}
            said["content"] = [{"type": "text", "text": said["content"]}, image]
        case "code in system":
            return [{"role": "system", "content": _BLOCK}, said]
        case "result":
            call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
            return [
                {"role": "user", "content": "what is it like in Rome"},
                {"role": "assistant", "content": "", "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
                said,
            ]
    return [said]


@asynccontextmanager
async def world(terms: Terms, folder: Path, tally: Tally) -> AsyncIterator[World]:
    def models(server: str) -> dict[str, MockModelConfig]:
        names = [model for model, where in MODELS.items() if where == server and model != "handed-on"]
        return {name: MockModelConfig(reply="one two three four") for name in names}

    cloud = {CLOUD_NAME: MockModelConfig(reply="from the cloud", remote_host="https://ollama.com:443")}
    async with (
        MultiModelMockBackend(models("here") | cloud) as here,
        MultiModelMockBackend(models("east")) as east,
        MultiModelMockBackend(models("west")) as west,
    ):
        made = World(terms, {"here": here, "east": east, "west": west}, folder, tally)
        try:
            yield made
        finally:
            await made.conductor.aclose()
