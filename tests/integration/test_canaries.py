"""Nothing of what is asked or answered, and no key, is found anywhere but in the request and its answer.

Each row of the fault table is played with marked words in all that is secret, at the DEBUG level of every logger: on
this device, and through the way out with a consent and the ledger.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from egress_world import aside
from fault_network import tls_server
from fault_rows import ROWS, Row
from fault_scene import Protocol, Scene, scene
from gateway_support import CHAT, client_of, gateway_over

import modelway as mw
from modelway.backends.mock import Fault, FaultKind, MockModelConfig
from modelway.conductor import Conductor
from modelway.gateway.status import status_document

CANARY = "Zaunkoenig"
KEY = f"sk-{CANARY}-key"
CALL = {
    "id": f"call-{CANARY}",
    "type": "function",
    "function": {"name": "weather", "arguments": f'{{"c": "{CANARY}"}}'},
}
MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": f"You are {CANARY}-system."},
    {"role": "user", "content": f"read {CANARY}-notes.txt"},
    {"role": "assistant", "content": f"{CANARY}-before", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": CALL["id"], "content": f"{CANARY}-result"},
    {"role": "user", "content": f"hello {CANARY}-prompt"},
]
TOOLS = [{"type": "function", "function": {"name": "weather", "description": f"{CANARY}-tool", "parameters": {}}}]
SECRET_HEADERS = {"Authorization": f"Bearer {KEY}", "X-Anything": CANARY, "X-Modelway-Conversation": f"{CANARY}-talk"}
#: Long enough for every fault that strikes behind some pieces.
REPLY = f"one {CANARY}-answer three {CANARY}-more five"


class Logged(logging.Handler):
    """Keeps all that is logged, as it would be printed, and what it was made of."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name} {self.format(record)} {record.args!r}")


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[Logged]:
    """All that is logged by anybody; afterwards nothing of it may hold a marked word."""
    monkeypatch.setenv("MODELWAY_TEST_KEY", KEY)
    for name in (None, "modelway", "modelway.privacy", "aiohttp", "asyncio", "filelock"):
        caplog.set_level(logging.DEBUG, name)
    logged = Logged()
    logging.getLogger().addHandler(logged)
    yield logged
    logging.getLogger("modelway.privacy").debug("this is seen")
    logging.getLogger().removeHandler(logged)
    assert "this is seen" in logged.lines[-1]
    assert CANARY not in "\n".join(logged.lines)


def told_of(error: BaseException | None) -> str:
    """All that is printed of an error and of those behind it."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        error = error.__cause__ or error.__context__
    told = [f"{one} {one!r} {one.args!r} {getattr(one, '__notes__', '')}" for one in seen]
    return "\n".join([*told, *("".join(traceback.format_exception(one)) for one in seen)])


def shown_by(conductor: Conductor) -> str:
    """All that a conductor tells of itself."""
    status = orjson.dumps(status_document(conductor), default=str).decode()
    parts = (conductor, conductor.router, conductor.consents, list(conductor.history), conductor.pool_stats())
    return f"{status} {parts!r}"


async def play(stage: Scene, row: Row) -> None:
    """Ask twice, so that what the fault leaves behind is there; look at all that is shown."""
    asks = {**row.asks, "tools": TOOLS, "user": "somebody"}
    for _ in range(2):
        events: list[mw.ConductorMessage] = []
        error: Exception | None = None
        try:
            async for event in stage.conductor.stream(MESSAGES, **asks):
                events.append(event)  # noqa: PERF401  (what came before an error is wanted too)
        except mw.ModelwayError as raised:
            error = raised
        assert CANARY not in repr(events)
        assert CANARY not in told_of(error)
        assert CANARY not in told_of(next((event.error for event in events if isinstance(event, mw.Failed)), None))
    assert CANARY not in shown_by(stage.conductor)
    sent = [record for server in (stage.first, stage.second) for record in server.request_history]
    bodies = b"".join(orjson.dumps(record.body) for record in sent)
    assert not sent or CANARY.encode() in bodies, "what is looked for was there"
    assert CANARY not in repr(sent)


def marked(stage: Scene) -> None:
    able = ["completion", "tools"]
    stage.first.models["first-model"] = MockModelConfig(reply=REPLY, capabilities=able)
    stage.second.models["second-model"] = MockModelConfig(reply=REPLY, capabilities=able)


def one_protocol(row: Row, wanted: Protocol) -> Protocol:
    return wanted if wanted in row.protocols else row.protocols[0]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_here_nothing_is_told(row: Row, log: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    tls = tls_server(row.certificate, monkeypatch) if row.certificate else None
    protocol = one_protocol(row, "openai")
    key = "" if protocol == "ollama" else 'api_key_env = "MODELWAY_TEST_KEY"'
    async with scene(protocol, hasty=row.hasty, url=row.url, tls=tls, backend=key) as stage:
        await arrange(stage, row, monkeypatch)
        await play(stage, row)


async def arrange(stage: Scene, row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    marked(stage)
    if fault := row.fault_now:
        stage.first.fail("first-model", fault, times=row.times)
    if row.arrange:
        await row.arrange(stage, monkeypatch)


@pytest.mark.parametrize("row", [row for row in ROWS if row.url is None], ids=lambda row: row.name)
async def test_on_the_way_out_nothing_is_told(
    row: Row, log: Logged, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    protocol = one_protocol(row, "closing" if row.hasty else "ollama")
    key = "" if protocol == "ollama" else 'api_key_env = "MODELWAY_TEST_KEY"'
    more = (
        "[privacy]\nallow_external = true\nsecret_scan_before_external = false\n"
        f'[state]\nfolder = "{tmp_path}"\n[memory]\nmanage = false\n'
    )
    async with scene(protocol, hasty=row.hasty, more=more, backend=f'location = "external"\n{key}') as stage:
        destination = stage.first.url.removeprefix("http://")
        await stage.conductor.consents.grant(destination, ("text", "code", "tool_results"), model="first-model")
        await arrange(stage, replace(row, asks={}), monkeypatch)
        await play(stage, replace(row, asks={"model": "first-model"}))
    written = aside(lambda: {file.name: file.read_text() for file in tmp_path.iterdir() if file.is_file()})
    assert {"consents.json", "egress.jsonl"} <= set(written), "what is looked into was there"
    assert CANARY not in repr(written)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_the_gateway_tells_nothing(row: Row, log: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    tls = tls_server(row.certificate, monkeypatch) if row.certificate else None
    key = 'api_key_env = "MODELWAY_TEST_KEY"'
    async with scene(one_protocol(row, "openai"), hasty=row.hasty, url=row.url, tls=tls, backend=key) as stage:
        await arrange(stage, row, monkeypatch)
        async with gateway_over(stage.conductor) as url, client_of(url) as client:
            for stream in (True, False):
                asked = {"model": "auto", "messages": MESSAGES, "tools": TOOLS, "stream": stream}
                async with client.post(CHAT, json=asked, headers=SECRET_HEADERS) as answer:
                    await answer.read()
                    assert CANARY not in repr(dict(answer.headers))
            async with client.get("/modelway/status") as answer:
                assert CANARY not in await answer.text()


async def test_no_route_tells(log: Logged) -> None:
    async with scene("openai", backend='api_key_env = "MODELWAY_TEST_KEY"') as stage:
        marked(stage)
        stage.first.fail("first-model", Fault(FaultKind.RESET_MID_STREAM, after=2), times=1)
        async with gateway_over(stage.conductor) as url, client_of(url) as client:
            for model in ("auto", "auto", f"{CANARY}-model"):
                asked = {"model": model, "messages": MESSAGES, "tools": TOOLS, "stream": True}
                async with client.post(CHAT, json=asked, headers=SECRET_HEADERS) as answer:
                    assert CANARY in await answer.text()
                    assert CANARY not in repr(dict(answer.headers))
            for path in ("/ready", "/modelway/status", "/v1/models"):
                async with client.get(path) as answer:
                    assert CANARY not in await answer.text()
            async with client.get("/modelway/events") as answer:
                assert CANARY.encode() not in await answer.content.readany()
        assert CANARY not in shown_by(stage.conductor)


def test_errors_and_what_holds_words_show_none() -> None:
    """The parts that hold what is asked, one by one."""
    request = mw.RoutingRequest(f"hello {CANARY}")
    holders = [request, mw.TextDelta(CANARY), mw.StreamInterrupted("it broke off", partial=CANARY, model="m")]
    assert CANARY not in repr(holders)
    assert CANARY not in told_of(holders[-1])  # type: ignore[arg-type]
