"""What is never done to people: nobody is hurried, no other model answers and nothing gets less without a word, nothing
goes to a provider because something here has failed.

That no limit is hidden stands in ``test_limits_shown.py``.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from gateway_support import CHAT, HELLO, client_of, gateway_over
from lesser_ways import ASKABLE, SHORTAGES, WAYS, Shortage, Way, staged

import modelway as mw
from modelway.conductor import Conductor, notices
from modelway.gateway import relay
from modelway.terminology import LANGUAGES

PACKAGE = Path(mw.__file__).parent

# Nobody is hurried.

#: What hurries people, or frightens them into staying, in the languages of the catalogues.
URGENT = re.compile(
    r"\bhurry|\bnow!|only \d+ (\w+ )?(left|more)|last chance|limited time|don.t miss|act (fast|now)|running out|"
    r"\bupgrade (now|to)|expires (soon|in)|before it.s too late|beeil|nur noch|letzte chance|jetzt!|¡|ap[uú]rate|"
    r"[uú]ltima oportunidad|solo quedan|d[eé]p[eê]che|derni[eè]re chance|plus que \d|赶快|仅剩|最后机会|立即升级",
    re.IGNORECASE,
)


def texts_of(module: Path) -> Iterator[str]:
    """The texts in a module, but for what is said to its readers; what is put into them at run time is left out."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "1" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.value


def catalogues() -> Iterator[tuple[str, str]]:
    """Each catalogue of messages, and each text in it: that of every language, and every module."""
    for name in (*LANGUAGES, "names"):
        tables = tomllib.loads(files("modelway.terminology").joinpath(f"{name}.toml").read_text(encoding="utf-8"))
        for table in tables.values():
            for text in table.values() if isinstance(table, dict) else (table,):
                yield f"{name}.toml", text
    for module in sorted(PACKAGE.rglob("*.py")):
        yield from ((str(module.relative_to(PACKAGE)), text) for text in texts_of(module))


def test_nothing_hurries_anybody() -> None:
    told = list(catalogues())
    assert {"zh.toml", "explain.py", "events.py", "cli/consenting.py"} <= {where for where, _ in told}
    assert [(where, text) for where, text in told if URGENT.search(text)] == []
    assert [text for where, text in told if where.endswith(".toml") and re.search(r"[!！]", text)] == []


@pytest.mark.parametrize("text", ["Only 3 questions left!", "Hurry", "Nur noch heute", "solo quedan 2", "仅剩 3 次"])
def test_what_hurries_is_known(text: str) -> None:
    assert URGENT.search(text)


# Nothing gets less without a word.


def recorded(conductor: Conductor, patch: pytest.MonkeyPatch) -> list[mw.ConductorMessage]:
    """The events of the requests from now on."""
    events: list[mw.ConductorMessage] = []
    stream = conductor.stream

    async def recording(*arguments: Any, **fields: Any) -> AsyncGenerator[mw.ConductorMessage, None]:
        async with aclosing(stream(*arguments, **fields)) as source:
            async for event in source:
                events.append(event)
                yield event

    patch.setattr(conductor, "stream", recording)
    return events


def names_of(events: list[mw.ConductorMessage]) -> set[str]:
    return {f"Degraded {event.kind}" if isinstance(event, mw.Degraded) else type(event).__name__ for event in events}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
async def test_what_is_less_is_told(way: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "NOTICE_EVERY_S", 0.01)
    async with staged(way, tmp_path) as stage:
        events = recorded(stage.conductor, monkeypatch)
        body = {"model": "auto:general", "messages": HELLO, "stream": True, **way.asks}
        async with (
            gateway_over(stage.conductor) as url,
            client_of(url) as client,
            client.post(CHAT, json=body, headers=way.headers) as response,
        ):
            comments: list[str] = []
            if way.then:
                while not comments or way.after not in comments[-1]:
                    comments.append((await response.content.readline()).decode().strip())
                await way.then(stage)
            comments += (await response.text()).splitlines()
            headers = [f"{name.lower()}: {value}" for name, value in response.headers.items()]
        assert response.status == 200
        assert way.event in names_of(events)
        shown = [line for line in (*headers, *comments) if re.search(way.shown, line)]
        # That somebody waits is told again and again, all else once.
        assert len(shown) == 1 or (shown and way.after)
        assert (stage.there.connections, stage.there.path_counts.total()) == (0, 0)


def test_there_is_no_other_way() -> None:
    """Each kind of ``Degraded`` that is told anywhere is provoked above."""
    kinds = {str(reason) for reason in notices._DEGRADED | notices._PASSED_OVER}
    for module in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Degraded":
                kinds |= {str(argument.value) for argument in node.args[:1] if isinstance(argument, ast.Constant)}
    assert {f"Degraded {kind}" for kind in kinds} == {way.event for way in WAYS if way.event.startswith("Degraded")}


# Nothing goes to a provider because something here has failed.


@pytest.mark.parametrize("consent", ["none", "of another kind", "to another place", "given"])
@pytest.mark.parametrize("shortage", SHORTAGES, ids=lambda shortage: shortage.name)
async def test_a_provider_is_asked_only_by_consent(shortage: Shortage, consent: str, tmp_path: Path) -> None:
    way = Way("", "", "", ASKABLE + shortage.config, shortage.backend, arrange=shortage.arrange)
    async with staged(way, tmp_path) as stage:
        place = stage.there.url.removeprefix("http://")
        kind = "code" if consent == "of another kind" else "text"
        if consent != "none":
            await stage.conductor.consents.grant("other.example" if consent == "to another place" else place, (kind,))
        events: list[mw.ConductorMessage] = []
        error: Exception | None = None
        try:
            async for event in stage.conductor.stream("hello", task="general"):
                events.append(event)  # noqa: PERF401  (what came before an error is wanted too)
        except mw.ModelwayError as raised:
            error = raised
        if consent == "given":
            assert (error, [record.model for record in stage.there.request_history]) == (None, ["far"])
            return
        assert (stage.there.connections, stage.there.path_counts.total()) == (0, 0)
        assert error is not None
        told = [event.destination for event in events if isinstance(event, mw.ConsentNeeded)]
        assert told == [place] or place in str(error), "it is said what would have served"
