"""What the manager does at the router's word: each action is reported once, however it ends."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest
from residency_kit import GB, Box, broken, config_text, too_large

from modelway.backends.base import LoadCall
from modelway.config import Config
from modelway.errors import NoModelAvailable
from modelway.residency.machine import Machine
from modelway.residency.manager import TASK_NAME
from modelway.types import RequestOutcome

#: Two of which one fits, and what each action is reported as.
TWO = config_text(10, a=6, b=6)
REPORTED = {"load": ("loaded", "not loaded", "did not fit"), "unload": ("unloaded",)}


def check_reports(box: Box) -> None:
    """Each action that reached the backend has one report, in the same order a model."""
    for model in box.router.profiles:
        done = [what for what, name in box.backend.done if name == model]
        told = [what for what, name in box.router.reports if name == model]
        assert len(done) == len(told), (model, done, told)
        assert all(report in REPORTED[what] for what, report in zip(done, told, strict=True))


def tasks() -> list[asyncio.Task[object]]:
    return [task for task in asyncio.all_tasks() if task.get_name() == TASK_NAME]


async def test_what_fits_is_loaded_once_for_all_who_wait() -> None:
    async with Box(config_text(10, a=4, b=4)) as box:
        await asyncio.gather(*(box.serve(model) for model in "ababab"))
        assert sorted(box.backend.done) == [("load", "a"), ("load", "b")]
        assert box.held() == {"a": "ready", "b": "ready"}
    check_reports(box)


async def test_what_does_not_fit_beside_it_makes_it_go() -> None:
    async with Box(TWO) as box:
        for model in "aab":
            await box.serve(model)
        assert box.backend.done == [("load", "a"), ("unload", "a"), ("load", "b")]
        assert box.router.memory("box") == (10 * GB, 6 * GB)
    check_reports(box)


async def test_l4_models_of_8_4_2_and_8_gb_in_16_are_never_above_it() -> None:
    sizes = {"large": 8, "middle": 4, "small": 2, "other": 8}
    async with Box(config_text(16, **sizes)) as box:
        for model in [*sizes, "small", "large", "other"]:
            await box.serve(model)
            capacity, in_use = box.router.memory("box")
            assert capacity is not None
            assert in_use <= capacity
            assert sum(sizes[name] for name in box.backend.there) * GB == in_use
            assert model in box.backend.there
    check_reports(box)


async def test_a_load_goes_on_when_whoever_waited_has_left() -> None:
    async with Box(TWO) as box:
        box.backend.go.clear()
        with box.ask("a") as permit:
            await box.steps()
            assert permit.is_waiting
            assert box.manager.is_loading("a")
        box.backend.go.set()
        await box.steps()
        assert box.held() == {"a": "ready"}
        assert not box.manager.is_loading("a")
    check_reports(box)


async def test_whoever_waits_is_told_when_a_load_begins_and_ends() -> None:
    async with Box(TWO) as box:
        box.backend.go.clear()
        begins = box.manager.change_of("a")
        permit = box.ask("a")
        assert begins.done(), "at once: it was caused on the manager's own thread"
        ends = box.manager.change_of("a")
        assert ends is box.manager.change_of("a")
        assert not await permit.granted(0.01, or_until=ends)
        box.backend.go.set()
        await ends
        assert not box.manager.is_loading("a")
        assert await permit.granted()
        permit.finish(RequestOutcome(True))


async def test_what_was_measured_corrects_an_estimate_and_never_undercuts_what_was_written() -> None:
    text = config_text(10, a=6) + '[[models]]\nid = "unknown"\n'
    async with Box(text) as box:
        box.backend.sizes = {"a": 5 * GB, "unknown": 3 * GB}
        await box.serve("a")
        await box.serve("unknown")
        assert {one.model: one.memory_bytes for one in box.router.residents("box")} == {"a": 6 * GB, "unknown": 3 * GB}


@pytest.mark.parametrize(("has_gpu", "in_use"), [(True, 3), (False, 5)])
async def test_on_a_card_only_its_own_share_counts_and_the_rest_is_told(has_gpu: bool, in_use: int) -> None:
    async with Box('[[models]]\nid = "a"\n' + config_text(10), Machine(None, has_gpu=has_gpu)) as box:
        box.backend.sizes, box.backend.vram = {"a": 5 * GB}, {"a": 3 * GB}
        await box.serve("a")
        assert box.router.memory("box") == (10 * GB, in_use * GB)
        assert box.manager.split("a") == (5 * GB, 3 * GB)


@pytest.mark.parametrize(
    ("has_gpu", "vram", "is_told"),
    [(True, 5, False), (True, 0, True), (False, 0, False), (False, 5, False), (True, None, False)],
)
async def test_a_model_that_is_wholly_where_it_can_be_is_no_split_one(
    has_gpu: bool, vram: int | None, is_told: bool
) -> None:
    async with Box(config_text(10, a=1), Machine(None, has_gpu=has_gpu)) as box:
        box.backend.sizes = {"a": 5}
        box.backend.vram = {} if vram is None else {"a": vram}
        await box.serve("a")
        assert (box.manager.split("a") is not None) == is_told


async def test_what_can_not_be_loaded_is_refused_and_counts_against_its_health(caplog) -> None:
    async with Box(TWO) as box:
        box.backend.fails = {"a": [broken("a")]}
        with pytest.raises(NoModelAvailable, match="could not be loaded"):
            await box.serve("a")
        assert box.router.health("a").consecutive_failures == 1
        assert not box.manager.did_not_fit("a")
        assert "the file is damaged" in caplog.text
        await box.serve("a")
        assert box.held() == {"a": "ready"}
    check_reports(box)


async def test_out_of_memory_unloads_what_is_idle_and_is_tried_once_more() -> None:
    async with Box(config_text(10, idle=2, large=6)) as box:
        await box.serve("idle")
        box.backend.fails = {"large": [too_large("large")]}
        await box.serve("large")
        assert box.backend.done == [("load", "idle"), ("load", "large"), ("unload", "idle"), ("load", "large")]
        assert not box.manager.did_not_fit("large")
        assert box.router.health("large").consecutive_failures == 0
        # It is known to take a fifth more than was written.
        assert box.router.memory("box") == (10 * GB, 6 * GB * 12 // 10)
    check_reports(box)


async def test_out_of_memory_twice_is_a_refusal_that_is_known_for_what_it_is() -> None:
    async with Box(config_text(10, large=6)) as box:
        for times in (1, 2):
            box.backend.fails = {"large": [too_large("large"), too_large("large")]}
            with pytest.raises(NoModelAvailable, match="could not be loaded"):
                await box.serve("large")
            assert box.manager.did_not_fit("large")
            assert box.router.health("large").consecutive_failures == times
            assert box.backend.done == [("load", "large")] * 2 * times
        await box.serve("large")
        assert not box.manager.did_not_fit("large")
    check_reports(box)


async def test_a_model_larger_than_all_that_was_measured_is_tried_with_all_there_is() -> None:
    async with Box(config_text(None, large=6, small=2), Machine(4 * GB, has_gpu=True)) as box:
        await box.serve("small")
        await box.serve("large")
        assert box.backend.done == [("load", "small"), ("unload", "small"), ("load", "large")]
        assert box.router.memory("box") == (4 * GB, 4 * GB)


async def test_a_load_that_crashes_is_reported_and_the_next_is_begun(caplog) -> None:
    async with Box(TWO) as box:
        box.backend.fails = {"a": [RuntimeError("a fault of ours")]}
        with pytest.raises(NoModelAvailable):
            await box.serve("a")
        await box.serve("a")
        assert [record.levelno for record in caplog.records] == [logging.ERROR]
    check_reports(box)


async def test_an_unload_that_crashes_is_reported_and_its_model_looked_for(caplog) -> None:
    async with Box(TWO) as box:
        await box.serve("a")
        box.backend.fails = {"a": [RuntimeError("a fault of ours")]}
        await box.serve("b")
        await box.steps()
        assert box.router.reports == [("loaded", "a"), ("unloaded", "a"), ("loaded", "a"), ("loaded", "b")]
        assert [record.levelno for record in caplog.records] == [logging.ERROR]


@pytest.mark.parametrize("model", "ab", ids=["load", "unload"])
async def test_closing_at_any_moment_of_an_action_reports_it_once_and_leaves_no_task(model: str) -> None:
    for steps in range(12):
        box = Box(TWO)
        await box.manager.start()
        await box.serve("a") if model == "b" else None
        box.backend.go.clear()
        waiting = asyncio.create_task(box.serve(model))
        await box.steps(steps)
        await box.manager.aclose()
        assert tasks() == []
        begun = [what for what, _ in box.backend.done]
        if steps > 3:
            assert begun[-1] == ("unload" if model == "b" else "load")
        # A load that never reached the backend was begun all the same.
        assert len(begun) <= len(box.router.reports) <= len(begun) + 1
        assert box.router.managed == {}
        waiting.cancel()
        await asyncio.wait({waiting})
        await box.manager.aclose()


async def test_after_it_has_closed_models_are_asked_as_they_are() -> None:
    box = Box(config_text(None, a=6), Machine(10 * GB, has_gpu=True))
    await box.manager.start()
    await box.serve("a")
    await box.manager.aclose()
    await box.serve("a")
    assert box.backend.done == [("load", "a")]


async def test_the_pin_wins_against_an_unload() -> None:
    """Who asks while the model is on its way out waits until it has been loaded again, and never meets it half gone."""
    async with Box(TWO) as box:
        await box.serve("a")
        box.backend.go.clear()
        other = asyncio.create_task(box.serve("b"))
        await asyncio.wait_for(_until(lambda: ("unload", "a") in box.backend.done), 2)
        late = box.ask("a")
        assert late.is_waiting
        box.backend.go.set()
        assert await late.granted()
        assert [what for what, model in box.backend.done if model == "a"] == ["load", "unload", "load"]
        late.finish(RequestOutcome(True))
        await other
    check_reports(box)


async def test_what_is_in_use_is_not_unloaded() -> None:
    async with Box(TWO) as box:
        running = box.ask("a")
        await running.granted()
        other = asyncio.create_task(box.serve("b"))
        await box.steps()
        assert ("unload", "a") not in box.backend.done
        running.finish(RequestOutcome(True))
        await other
    check_reports(box)


async def test_effects_from_another_thread_are_acted_on() -> None:
    async with Box(TWO) as box:
        permits = []

        def ask() -> None:
            async def admitted() -> None:
                permits.append(box.ask("a"))
                await permits[0].granted()
                permits[0].finish(RequestOutcome(True))

            asyncio.run(admitted())

        thread = threading.Thread(target=ask)
        thread.start()
        while thread.is_alive():  # noqa: ASYNC110  (it ends with the load, which this loop does)
            await asyncio.sleep(0.001)
        assert box.held() == {"a": "ready"}
    check_reports(box)


async def test_a_configuration_replaced_during_a_load_leaves_nothing_behind() -> None:
    async with Box(TWO) as box:
        box.backend.go.clear()
        waiting = asyncio.create_task(box.serve("a"))
        await box.steps()
        box.router.replace_config(Config.from_toml(config_text(10, b=6)))
        box.backend.go.set()
        await waiting
        await box.serve("b")
        assert box.held()["b"] == "ready"
        assert tasks() == []


async def test_where_nothing_is_known_of_memory_nothing_is_managed() -> None:
    async with Box(config_text(None, a=6, b=6)) as box:
        for model in "ab":
            permit = box.ask(model)
            assert not permit.is_waiting
            permit.finish(RequestOutcome(True))
        assert box.backend.done == []
        assert box.router.managed == {}


async def test_of_two_managers_of_one_router_the_first_does_the_work() -> None:
    async with Box(TWO) as box:
        second = Box(TWO)
        second.manager._router = box.router
        await second.manager.start()
        await second.manager.aclose()
        await box.serve("a")
        assert (box.backend.done, second.backend.done) == ([("load", "a")], [])


async def _until(is_so) -> None:
    while not is_so():  # noqa: ASYNC110  (the linger of an idle model ends by a timer of the waiters)
        await asyncio.sleep(0.001)


async def test_a_load_may_take_four_times_what_loads_of_the_model_took(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed: list[float | None] = []
    async with Box(config_text(10, a=6)) as box:
        load = box.backend.load

        async def noted(call: LoadCall) -> None:
            allowed.append(call.load_s)
            await load(call)

        monkeypatch.setattr(box.backend, "load", noted)
        await box.serve("a")
        box.router.model_loaded("a", load_ms=60_000.0)
        measured = box.router.health("a").load_ms
        assert measured is not None
        box.router.model_unloaded("a")
        await box.serve("a")
    assert allowed[0] is None, "as configured"
    assert allowed[1] == pytest.approx(max(4 * measured, 30_000.0) / 1000)
