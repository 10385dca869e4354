"""Ways to get less than was asked for, each over two models on a server here and one that is said to be elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from conductor_kit import PNG, TOOLS

import modelway as mw
from modelway.backends.mock import Fault, FaultKind, MockModelConfig, MultiModelMockBackend
from modelway.conductor import Conductor


class Stage:
    """Two models on a server here, ``b`` the next after ``a``, and ``far``, which is said to be elsewhere."""

    def __init__(self, server: MultiModelMockBackend, there: MultiModelMockBackend, conductor: Conductor) -> None:
        self.server, self.there, self.conductor = server, there, conductor
        self.running: list[asyncio.Task[mw.Reply]] = []


Act = Callable[[Stage], Awaitable[None]]
NO_ROOM = "model requires more system memory (9.1 GiB) than is available (3.2 GiB)"
ABLE = ("completion", "tools", "vision")
MANAGED = "memory_bytes = 10_000"


@dataclass(frozen=True)
class Way:
    """A way to get less than was asked for, what is told of it by an event, and what a client of the gateway sees.

    ``shown`` is looked for among headers (``name: value``) and comments. ``then`` comes once a comment has
    come that ``after`` is in.
    """

    name: str
    event: str
    shown: str
    config: str = ""
    backend: str = ""
    first: str = ""
    model: MockModelConfig = field(default_factory=lambda: MockModelConfig(reply="one two", capabilities=ABLE))
    asks: dict[str, Any] = field(default_factory=dict)
    arrange: Act | None = None
    then: Act | None = None
    after: str = ""
    headers: dict[str, str] = field(default_factory=dict)


def failing(fault: Fault, times: int = 1) -> Act:
    async def arrange(stage: Stage) -> None:
        stage.server.fail("a", fault, times=times)

    return arrange


async def has_failed(stage: Stage) -> None:
    stage.server.fail("a", Fault.http(500), times=1)
    await stage.conductor.complete("hello")


async def has_other_in_memory(stage: Stage) -> None:
    await stage.conductor.complete("hello", model="b")


async def is_busy(stage: Stage) -> None:
    gate = stage.server.hold("a")
    stage.running.append(asyncio.create_task(stage.conductor.complete("hello", user="before")))
    await stage.server.wait_for(lambda: gate.waiting == 1)


async def is_held(stage: Stage) -> None:
    stage.server.hold("a")


async def goes_on(stage: Stage) -> None:
    stage.server.release()


LONG = [{"role": "user", "content": "word " * 500}]
CHAIN_GOES_ON = "[fallbacks]\ncontinue_midstream = true\ngeneral = ['b']\n"
WAYS = [
    Way("it fails", "FallingBack", r"^x-modelway-fallback: a->b$", arrange=failing(Fault.http(500))),
    Way(
        "it has failed",
        "Degraded fallback",
        r"^x-modelway-warning: b answers instead of a: it failed lately",
        config="[health]\nfailures_to_open = 1\n",
        arrange=has_failed,
    ),
    Way(
        "its answer breaks off",
        "FallingBack",
        r"^: seam from=a to=b after_chars=3$",
        config=CHAIN_GOES_ON,
        arrange=failing(Fault(FaultKind.RESET_MID_STREAM, after=1)),
    ),
    Way(
        "out of memory, a smaller one",
        "Degraded memory",
        r"^x-modelway-warning: .*b answers instead of a, which does not fit into memory",
        backend=MANAGED,
        model=MockModelConfig(reply="one two", size_bytes=6_000),
        arrange=failing(Fault.http(500, NO_ROOM), times=2),
    ),
    Way(
        "in part on the processor",
        "Degraded cpu_offload",
        r"^x-modelway-warning: a runs in part on the processor",
        backend=MANAGED,
        model=MockModelConfig(reply="one two", size_bytes=6_000, vram_bytes=2_000),
    ),
    Way(
        "the same behind headers that have gone out",
        "Degraded cpu_offload",
        r"^: warning a runs in part on the processor",
        config="[server]\nnotice_after_ms = 1\n",
        backend=MANAGED,
        model=MockModelConfig(reply="one two", size_bytes=6_000, vram_bytes=2_000),
        arrange=is_held,
        then=goes_on,
    ),
    Way(
        "less context",
        "Degraded context",
        r"^x-modelway-warning: a was loaded with a context of 1000 tokens instead of 4000",
        backend=MANAGED,
        first="max_context = 4_000",
        model=MockModelConfig(reply="one two", size_bytes=6_000, max_context=1_000),
    ),
    Way(
        "one in memory instead",
        "Degraded warm",
        r"^x-modelway-warning: b answers instead of a: it would have to be loaded first",
        backend=MANAGED,
        model=MockModelConfig(reply="one two", size_bytes=6_000),
        headers={"x-modelway-prefer-warm": "true"},
        arrange=has_other_in_memory,
    ),
    Way(
        "a load",
        "ModelLoading",
        r"^: loading model=a",
        config="[server]\nnotice_after_ms = 1\n",
        backend=MANAGED,
        model=MockModelConfig(reply="one two", size_bytes=6_000),
        arrange=is_held,
        then=goes_on,
        after="loading",
    ),
    Way(
        "a queue",
        "Queued",
        r"^: queued position=1",
        config="[server]\nnotice_after_ms = 1\n",
        first="max_concurrent = 1",
        arrange=is_busy,
        then=goes_on,
        after="queued",
    ),
    Way(
        "it takes no tools",
        "Degraded capability",
        r"^x-modelway-warning: b answers instead of a: it takes no tools",
        first="supports_tools = false",
        asks={"model": "a", "tools": TOOLS},
    ),
    Way(
        "it reads no images",
        "Degraded capability",
        r"^x-modelway-warning: b answers instead of a: it reads no images",
        first='capabilities = ["TextGeneration"]',
        asks={
            "model": "a",
            "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG}}]}],
        },
    ),
    Way(
        "its context is too short",
        "Degraded context_length",
        r"^x-modelway-warning: b answers instead of a: the request is longer than its context",
        first="max_context = 100",
        asks={"model": "a", "messages": LONG},
    ),
    Way(
        "it is elsewhere, where nothing may go",
        "Degraded privacy",
        r"^x-modelway-warning: \w answers instead of far: it runs at a provider",
        asks={"model": "far"},
    ),
    Way(
        "it is elsewhere, and nobody has consented",
        "ConsentNeeded",
        r"^x-modelway-warning: .*far",
        config="[privacy]\nallow_external = true\nsecret_scan_before_external = false\n[defaults]\ngeneral = 'far'\n",
    ),
    Way(
        "its first word comes late",
        "Degraded slow",
        r"^x-modelway-warning: a took .* were wanted",
        config="[timeouts]\nquick_ms = 1\nstandard_ms = 1\n",
        model=MockModelConfig(reply="one two", ttft_s=0.02),
    ),
    Way(
        "an option that it can't honour",
        "Degraded options",
        r"^x-modelway-warning: a can't honour tool_choice",
        asks={"tool_choice": "required", "tools": TOOLS},
    ),
    Way(
        "bytes that are no text",
        "Degraded encoding",
        r"^: warning a sent bytes that are no text",
        arrange=failing(Fault(FaultKind.INVALID_UTF8)),
    ),
]


def text_of(way: Way, here: str, there: str) -> str:
    """The configuration; what is quick is the same as what is general, so the shape of a prompt does not matter."""
    config = way.config
    if "[timeouts]" not in config:
        config += "[timeouts]\nquick_ms = 60_000\nstandard_ms = 60_000\n"
    for table, usual in (("fallbacks", "general = ['b']"), ("defaults", "general = 'a'")):
        if f"[{table}]" not in config:
            config += f"[{table}]\n{usual}\n"
    able = '["TextGeneration", "VisionInput"]'
    first = way.first if "capabilities" in way.first else f"{way.first}\ncapabilities = {able}"
    return (
        f"{config}\n"
        f"[[backends]]\nname = 'here'\nkind = 'ollama'\nurl = '{here}'\n{way.backend}\n"
        f"[[backends]]\nname = 'there'\nkind = 'openai'\nurl = '{there}'\nlocation = 'external'\n"
        f"[[models]]\nid = 'a'\nbackend = 'here'\n{first}\n"
        f"[[models]]\nid = 'b'\nbackend = 'here'\nsupports_tools = true\ncapabilities = {able}\n"
        "[[models]]\nid = 'far'\nbackend = 'there'\nsupports_tools = true\n"
    )


@asynccontextmanager
async def staged(way: Way, folder: Path) -> AsyncGenerator[Stage, None]:
    models = {"a": way.model, "b": MockModelConfig(reply="from the other", capabilities=ABLE, size_bytes=2_000)}
    async with MultiModelMockBackend(models) as here, MultiModelMockBackend({"far": MockModelConfig()}) as there:
        text = f'{text_of(way, here.url, there.url)}[state]\nfolder = "{folder}"\n'
        async with Conductor(mw.Config.from_toml(text)) as conductor:
            stage = Stage(here, there, conductor)
            if way.arrange:
                await way.arrange(stage)
            yield stage
            here.release()
            await asyncio.gather(*stage.running)


ASKABLE = "[privacy]\nallow_external = true\nsecret_scan_before_external = false\n"
CHAIN = "[fallbacks]\ngeneral = ['b', 'far']\n"


def both(fault: Fault) -> Act:
    async def arrange(stage: Stage) -> None:
        for model in ("a", "b"):
            stage.server.fail(model, fault)

    return arrange


async def is_gone(stage: Stage) -> None:
    await stage.server.down()


async def breaks_off_and_the_next_fails(stage: Stage) -> None:
    stage.server.fail("a", Fault(FaultKind.RESET_MID_STREAM, after=1))
    stage.server.fail("b", Fault.http(500))


async def have_failed(stage: Stage) -> None:
    await both(Fault.http(500))(stage)
    with pytest.raises(mw.NoModelAvailable):
        await stage.conductor.complete("hello", allow_external=False)


@dataclass(frozen=True)
class Shortage:
    """Why no model here serves."""

    name: str
    arrange: Act
    config: str = CHAIN
    backend: str = ""


SHORTAGES = [
    Shortage("both fail", both(Fault.http(500))),
    Shortage("the server is gone", is_gone),
    Shortage("both are out of memory", both(Fault.http(500, NO_ROOM)), backend=MANAGED),
    Shortage("both have failed", have_failed, config=f"{CHAIN}[health]\nfailures_to_open = 1\n"),
    Shortage(
        "it breaks off and the next fails",
        breaks_off_and_the_next_fails,
        config=CHAIN.replace("\n", "\ncontinue_midstream = true\n", 1),
    ),
    Shortage(
        "both are limited by their server",
        both(Fault.http(429, retry_after="100")),
        config=f"{CHAIN}[health]\nretry_percent = 0\n",
    ),
]
