"""Requests whose models do not fit together, over the mock server: who is loaded when, and what callers are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from conductor_kit import PATIENT

from modelway.backends.mock import Fault, MockModelConfig, MultiModelMockBackend
from modelway.conductor import Conductor
from modelway.config import Config
from modelway.errors import NoModelAvailable, UnknownModel
from modelway.events import Degraded, FallingBack, Finished, ModelLoading, Queued, TextDelta
from modelway.gateway.facts import Facts
from modelway.gateway.status import status_document
from modelway.types import SelectionReason

NO_ROOM = "model requires more system memory (9.1 GiB) than is available (3.2 GiB)"


@pytest.fixture
async def server() -> AsyncIterator[MultiModelMockBackend]:
    models = {name: MockModelConfig(reply=f"{name} says so", size_bytes=6_000) for name in ("a", "b")}
    async with MultiModelMockBackend(models) as server:
        yield server


@asynccontextmanager
async def over(
    server: MultiModelMockBackend, capacity: int | None = 10_000, more: str = ""
) -> AsyncIterator[Conductor]:
    room = "" if capacity is None else f"memory_bytes = {capacity}\n"
    text = f'{more}[defaults]\ngeneral = "a"\n[fallbacks]\ngeneral = ["b"]\n[[backends]]\nname = "box"\n'
    text += f'kind = "ollama"\nurl = "{server.url}"\n{room}{PATIENT}'
    text += '[[models]]\nid = "a"\n[[models]]\nid = "b"\n'
    async with Conductor(Config.from_toml(text)) as conductor:
        yield conductor


def sent(server: MultiModelMockBackend) -> list[str]:
    """What was asked of the server: load, unload or chat, and of which model."""
    words = []
    for request in server.request_history:
        is_load = not request.body["messages"]
        what = "unload" if request.body.get("keep_alive") == 0 else "load" if is_load else "chat"
        words.append(f"{what} {request.model}")
    return words


async def test_models_that_do_not_fit_together_take_turns(server) -> None:
    async with over(server) as conductor:
        for model in ("a", "a", "b"):
            reply = await conductor.complete("hello", model=model)
            assert reply.text == f"{model} says so"
    assert sent(server) == ["load a", "chat a", "chat a", "unload a", "load b", "chat b"]


async def test_without_a_size_of_the_memory_everything_is_as_ever(server) -> None:
    async with over(server, None) as conductor:
        for model in ("a", "b"):
            await conductor.complete("hello", model=model)
        told = {(one["warmth"], one["why_unknown"]) for one in status_document(conductor)["models"]}
        assert told == {(None, "its server loads and unloads as it likes")}
    assert sent(server) == ["chat a", "chat b"]
    assert "/api/ps" not in server.path_counts


async def test_what_is_loaded_already_is_not_loaded_again(server) -> None:
    async with over(server) as conductor:
        await conductor.complete("hello", model="a")
    async with over(server) as conductor:
        await conductor.complete("hello", model="a")
    assert sent(server) == ["load a", "chat a", "chat a"]


async def test_a_caller_is_told_of_the_load_then_of_its_end(server) -> None:
    gate = server.hold("a")
    async with over(server) as conductor:
        stream = conductor.stream("hello", task="general")
        facts = Facts(lambda _: ("box", "device"), lambda _: {})
        told: list[Any] = []
        async for event in stream:
            facts.note(event)
            told.append(event)
            if isinstance(event, ModelLoading):
                await server.wait_for(lambda: gate.waiting == 1)
                server.release()
    kinds = [type(event) for event in told[1:]]
    assert kinds == [ModelLoading, Queued, TextDelta, TextDelta, TextDelta, Finished]
    assert told[2] == Queued("a", "box", 0, 0.0)
    assert 0 < told[-1].load_ms < told[-1].duration_ms
    assert int(facts.headers()["x-modelway-load-ms"]) == round(told[-1].load_ms)
    assert told[1].announce().startswith("a is being loaded")


async def test_while_it_is_loaded_it_is_seen_to_be(server) -> None:
    gate = server.hold("a")
    async with over(server) as conductor:
        asking = asyncio.create_task(conductor.complete("hello", task="general"))
        await server.wait_for(lambda: gate.waiting == 1)
        document = status_document(conductor)
        (memory,) = document["memory"]
        assert (memory["backend"], memory["is_managed"], memory["capacity_bytes"]) == ("box", True, 10_000)
        assert memory["device"] == "backend box"
        assert [(one["model"], one["state"]) for one in memory["models"]] == [("a", "loading")]
        assert {one["model"]: one["warmth"] for one in document["models"]} == {"a": "loading", "b": "cold"}
        server.release()
        await asking
        warm = {one["model"]: (one["warmth"], one["held_bytes"]) for one in status_document(conductor)["models"]}
        assert warm == {"a": ("warm", 6_000), "b": ("cold", 0)}


async def test_of_a_server_that_does_not_answer_nobody_knows_what_is_in_memory(server) -> None:
    async with over(server, more="[health]\nrecheck_ms = 10\ncheck_ms = 10\n") as conductor:
        await conductor.complete("hello", model="a")
        await server.down()
        while conductor.monitor.is_reachable("box"):  # noqa: ASYNC110  (nobody tells)
            await asyncio.sleep(0)
        document = status_document(conductor)
        known = {(one["warmth"], one["held_bytes"], one["why_unknown"]) for one in document["models"]}
        assert known == {(None, None, "its server does not answer")}
        assert not document["memory"][0]["is_up_to_date"]


async def test_what_does_not_fit_is_answered_by_a_smaller_one_with_notice(server) -> None:
    server.models["b"] = MockModelConfig(reply="b says so", size_bytes=2_000)
    async with over(server) as conductor:
        server.fail("a", Fault.http(500, NO_ROOM), times=2)
        reply = await conductor.complete("hello", task="general")
    assert reply.text == "b says so"
    (fallback,) = [event for event in reply.events if isinstance(event, FallingBack)]
    assert fallback.why == "it does not fit into memory"
    (degraded,) = [event for event in reply.events if isinstance(event, Degraded)]
    assert (degraded.kind, degraded.detail) == ("memory", "b answers instead of a, which does not fit into memory.")
    assert sent(server) == ["load a", "load a", "load b", "chat b"]


GB = 10**9


def chain(server: MultiModelMockBackend, **sizes: int) -> Config:
    """Each model the next one's fallback, of so many GB; the backend has 20. ``pinned`` is; 0: nobody says how many."""
    first, *others = sizes
    server.models.clear()  # what else it has would be found, and stand in the chain
    text = f'[defaults]\ngeneral = "{first}"\n[fallbacks]\ngeneral = {others}\n[[backends]]\nname = "box"\n'
    text += f'kind = "ollama"\nurl = "{server.url}"\nmemory_bytes = {20 * GB}\n{PATIENT}'
    for name, size in sizes.items():
        server.models[name] = MockModelConfig(reply=f"{name} says so", size_bytes=size * GB)
        size_line = f"memory_bytes = {size * GB}\n" if size else ""
        text += f'[[models]]\nid = "{name}"\npinned = {str(name == "pinned").lower()}\n{size_line}'
    return Config.from_toml(text)


async def test_after_want_of_memory_only_a_smaller_model_is_asked_and_the_rest_is_told(server) -> None:
    async with Conductor(chain(server, a=6, larger=8, equal=6, small=2)) as conductor:
        server.fail("a", Fault.http(500, NO_ROOM), times=2)
        reply = await conductor.complete("hello", task="general")
    assert sent(server) == ["load a", "load a", "load small", "chat small"]
    assert [(event.from_model, event.to_model) for event in reply.events if isinstance(event, FallingBack)] == [
        ("a", "small")
    ]
    (degraded,) = [event for event in reply.events if isinstance(event, Degraded)]
    assert degraded.kind == "memory"
    assert degraded.detail == (
        "small answers instead of a, which does not fit into memory; larger and equal, not smaller, were not tried."
    )


@pytest.mark.parametrize(("sizes", "loads"), [({"pinned": 8}, []), ({"unknown": 0}, ["load unknown"])])
async def test_a_model_that_is_there_or_of_unknown_size_is_asked_all_the_same(server, sizes, loads) -> None:
    (name,) = sizes
    async with Conductor(chain(server, a=6, **sizes)) as conductor:
        if not loads:
            await conductor.complete("hello", model=name)
        server.fail("a", Fault.http(500, NO_ROOM), times=2)
        reply = await conductor.complete("hello", task="general")
    assert reply.model == name
    assert sent(server)[-3 - len(loads) :] == ["load a", "load a", *loads, f"chat {name}"]


async def test_where_no_smaller_model_is_left_the_error_says_so_and_what_helps(server) -> None:
    async with Conductor(chain(server, a=6, larger=8)) as conductor:
        server.fail("a", Fault.http(500, NO_ROOM), times=2)
        with pytest.raises(NoModelAvailable) as caught:
            await conductor.complete("hello", task="general")
    assert sent(server) == ["load a", "load a"]
    assert [attempt[:2] for attempt in caught.value.attempts] == [
        ("a", "it does not fit into memory"),
        ("larger", "not asked, as it takes 8.0 GB, and a with 6.0 GB did not fit into memory"),
    ]
    assert str(caught.value).endswith(
        " | no smaller model is left: free memory, lower the context (max_context) of one of these models, "
        "or add a smaller one to [fallbacks]"
    )


async def test_a_server_that_nobody_manages_is_asked_for_each_and_the_notice_is_the_same(server) -> None:
    async with over(server, None) as conductor:
        server.fail("a", Fault.http(500, NO_ROOM))
        reply = await conductor.complete("hello", task="general")
    assert [event.kind for event in reply.events if isinstance(event, Degraded)] == ["memory"]
    assert sent(server) == ["chat a", "chat b"]


async def test_a_context_that_its_server_has_reduced_is_told_with_each_answer(server) -> None:
    server.models["a"] = MockModelConfig(reply="a says so", size_bytes=6_000, max_context=1_000)
    for context, told in ((4_000, ["a was loaded with a context of 1000 tokens instead of 4000."]), (1_000, [])):
        config = f'[[models]]\nid = "a"\nmax_context = {context}\n[[backends]]\nname = "box"\nkind = "ollama"\n'
        config += f'url = "{server.url}"\nmemory_bytes = 10_000\n{PATIENT}'
        async with Conductor(Config.from_toml(config)) as conductor:
            for _ in range(2):
                reply = await conductor.complete("hello", model="a")
                assert [event.detail for event in reply.events if isinstance(event, Degraded)] == told


async def test_the_first_choice_is_passed_over_for_a_warm_model_only_where_that_is_preferred(server) -> None:
    for more, model in (("", "a"), ("[routing]\nprefer_warm = true\n", "b")):
        async with over(server, more=more) as conductor:
            await conductor.complete("hello", model="b")
            reply = await conductor.complete("hello", task="general")
            assert reply.model == model
            assert (reply.decision.reason == SelectionReason.Warm) == bool(more)


async def test_who_is_passed_for_a_warm_model_is_told(server) -> None:
    async with over(server) as conductor:
        await conductor.complete("hello", model="b")
        reply = await conductor.complete("hello", task="general", prefer_warm=True)
    assert reply.model == "b"
    (degraded,) = [event for event in reply.events if isinstance(event, Degraded)]
    why = "it would have to be loaded first, and what is in memory is preferred"
    assert (degraded.kind, degraded.detail) == ("warm", f"b answers instead of a: {why}.")


async def test_a_preload_waits_for_nobody(server) -> None:
    async with over(server) as conductor:
        conductor.preload("b")
        await server.wait_for(lambda: sent(server) == ["load b"])
        reply = await conductor.complete("hello", model="b")
        assert reply.text == "b says so"
        with pytest.raises(UnknownModel):
            conductor.preload("nobody")
    assert sent(server) == ["load b", "chat b"]


async def test_a_mock_backend_plays_memory_where_somebody_says_how_much() -> None:
    text = '[[backends]]\nname = "play"\nkind = "mock"\nmemory_bytes = 10\n'
    text += "".join(f'[[models]]\nid = "{name}"\nbackend = "play"\nmemory_bytes = 6\n' for name in "ab")
    async with Conductor(Config.from_toml(text)) as conductor:
        for model in "aba":
            reply = await conductor.complete("hello", model=model)
            assert any(isinstance(event, ModelLoading) for event in reply.events)
