"""The monitor's rounds: whom it asks, when, what it tells the core, and what it makes of the answers."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from monitor_kit import TWO_MODELS, Bench

from modelway.backends.base import PROBE_S, ServedModel
from modelway.config import Config
from modelway.config.sections import HealthConfig
from modelway.errors import BackendError
from modelway.types import RequestOutcome

#: Circuits stay open for the whole test: only the monitor can bring their probes forward.
LONG = TWO_MODELS + "[health]\nbackoff_ms = 200_000\n"


async def test_a_backend_that_works_is_asked_for_its_models_every_thirty_seconds() -> None:
    bench = Bench()
    await bench.rounds(until_s=29.9)
    assert bench.ollama.asked == ["list"]
    await bench.rounds(until_s=90.0)
    assert bench.ollama.asked == ["list"] * 4
    assert bench.told == []


async def test_one_that_does_not_answer_is_probed_every_two_and_a_half_seconds_until_it_does() -> None:
    bench = Bench()
    bench.ollama.down()
    await bench.rounds(until_s=10.0)
    assert bench.ollama.asked == ["list", *["probe"] * 4]
    assert bench.monitor.is_reachable("ollama") is False
    bench.ollama.up()
    await bench.rounds(until_s=12.5)
    assert bench.ollama.asked[5:] == ["probe", "list"], "it may have come back with other models"
    await bench.rounds(until_s=40.0)
    assert bench.ollama.asked[7:] == []


def test_s8_what_is_back_is_seen_within_six_seconds_by_the_defaults() -> None:
    # At worst a probe that was sent too early is waited for to its end, then the pause, then one that is answered.
    worst_s = PROBE_S + HealthConfig().recheck_ms / 1000
    assert worst_s <= 6.0 - 1.0, "a second is left for the answer and the request"


async def test_s8_a_recovery_brings_exactly_one_probe_forward() -> None:
    bench = Bench(LONG)
    bench.ollama.down()
    bench.fail("coder")
    await bench.rounds(until_s=5.0)
    assert bench.router.health("coder").state == "open"
    bench.ollama.up()
    await bench.rounds(until_s=7.5)
    assert bench.router.health("coder").state == "half_open", "a check closes nothing by itself"
    assert bench.router.health("coder").available
    bench.router.begin("coder")
    assert not bench.router.health("coder").available, "one probe"


async def test_a_model_that_fails_on_a_server_that_answers_follows_its_backoff() -> None:
    bench = Bench(LONG)
    bench.fail("coder", "server_error")
    await bench.rounds(until_s=100.0)
    assert bench.router.health("coder").state == "open"


@pytest.mark.parametrize(
    ("location", "asked"), [('location = "external"', []), ('location = "lan"', []), ("", ["list"])]
)
async def test_only_backends_on_this_device_are_asked(location: str, asked: list[str]) -> None:
    bench = Bench(TWO_MODELS.replace('kind = "ollama"', f'kind = "ollama"\n{location}'))
    await bench.rounds(until_s=10.0)
    assert bench.ollama.asked == asked
    assert bench.monitor.is_reachable("ollama") is (True if asked else None)


async def test_an_engine_of_our_own_in_trouble_is_not_asked_for_nothing_could_tell() -> None:
    managed = '[[backends]]\nname = "ollama"\nkind = "llama_cpp"'
    text = LONG.replace('[[backends]]\nname = "ollama"\nkind = "ollama"\nurl = "http://127.0.0.1:9"', managed)
    for model in ("big", "coder", "spare"):
        text = text.replace(f'id = "{model}"', f'id = "{model}"\npath = "{model}.gguf"\nbackend = "ollama"')
    bench = Bench(text)
    bench.fail("coder")
    await bench.rounds(until_s=20.0)
    assert bench.ollama.asked == []
    assert bench.router.health("coder").state == "open"


@pytest.mark.parametrize(
    ("error", "reachable"),
    [
        (BackendError("", kind="unauthorized", status=401), True),
        (BackendError("", kind="missing", status=404), True),
        (BackendError("our key is not set", kind="unauthorized"), None),
        (BackendError("", kind="server_error", status=502), False),
        (BackendError("", kind="malformed"), False),
        (BackendError("", kind="timeout"), False),
        (TimeoutError(), False),
    ],
    ids=lambda value: getattr(value, "kind", None) or repr(value),
)
async def test_a_refusal_of_a_sound_server_is_an_answer(error: Exception, reachable: bool | None) -> None:
    bench = Bench()
    bench.ollama.fails_with = error
    await bench.round()
    assert bench.monitor.is_reachable("ollama") is reachable


async def test_a_missing_model_is_set_aside_and_is_back_with_the_next_list() -> None:
    bench = Bench()
    bench.ollama.has("big:latest", "SPARE")
    await bench.round()
    assert [bench.router.health(model).held for model in ("big", "coder", "spare")] == [None, "missing", None]
    bench.ollama.has("big:latest", "SPARE", "coder")
    await bench.rounds(until_s=30.0)
    assert bench.router.health("coder").held is None
    assert bench.told == [("missing", "coder", False, 0.0), ("missing", "coder", True, 30.0)]


async def test_what_is_missing_and_no_default_is_no_alert() -> None:
    bench = Bench()
    bench.ollama.has("big", "coder")
    await bench.rounds(until_s=200.0)
    assert bench.router.health("spare").held == "missing"
    assert bench.told == []


async def test_servers_of_openais_protocol_may_have_what_they_do_not_list() -> None:
    text = TWO_MODELS.replace('kind = "ollama"', 'kind = "openai"').replace("id =", 'backend = "ollama"\nid =')
    bench = Bench(text)
    bench.ollama.has()
    await bench.round()
    assert bench.router.health("coder").held is None


async def test_a_model_file_that_is_gone_is_missing_whatever_it_is_called() -> None:
    bench = Bench("""
        [defaults]
        general = "own-name"
        [[backends]]
        name = "files"
        kind = "llama_cpp"
        [[models]]
        id = "own-name"
        backend = "files"
        path = "/models/x.gguf"
        [[models]]
        id = "gone"
        backend = "files"
        path = "/models/gone.gguf"
    """)
    bench.backends["files"].served_models = [ServedModel("x", path=Path("/models/x.gguf"))]
    await bench.round()
    assert [bench.router.health(model).held for model in ("own-name", "gone")] == [None, "missing"]


async def test_m15_a_server_away_for_a_minute_is_one_alert_and_one_end() -> None:
    bench = Bench()
    await bench.rounds(until_s=30.0)
    bench.ollama.down()
    bench.fail("coder")
    assert {bench.router.backend_health("ollama").state, bench.router.health("coder").state} == {"open"}
    await bench.rounds(until_s=89.0)
    assert bench.told == []
    await bench.rounds(until_s=300.0)
    assert bench.told == [("unreachable", None, False, 60.0)], "its circuit and its models' say nothing more"
    bench.ollama.up()
    await bench.rounds(until_s=400.0)
    assert bench.told[1:] == [("unreachable", None, True, 272.5)]


async def test_an_outage_shorter_than_the_limit_is_no_alert() -> None:
    bench = Bench(TWO_MODELS + "[health]\nalert_after_ms = 20_000\n")
    bench.ollama.down()
    await bench.rounds(until_s=19.0)
    bench.ollama.up()
    await bench.rounds(until_s=100.0)
    assert bench.told == []


async def test_m23_what_fails_in_a_batch_is_told_by_model_and_only_of_those() -> None:
    bench = Bench(LONG)
    for model in ("coder", "spare"):
        bench.fail(model, "server_error")
    await bench.rounds(until_s=120.0)
    assert [(what, model) for what, model, _, _ in bench.told] == [("circuit", "coder"), ("circuit", "spare")]
    assert bench.router.health("big").available


async def test_a_circuit_that_nobody_has_tried_since_is_not_told() -> None:
    bench = Bench(TWO_MODELS + "[health]\nbackoff_ms = 1\n")
    bench.fail("coder", "server_error")
    while bench.router.health("coder").state != "half_open":  # noqa: ASYNC110
        await asyncio.sleep(0)  # a millisecond of the core's own clock
    await bench.rounds(until_s=300.0)
    assert bench.told == []


async def test_a_refused_key_is_told_at_once_and_is_over_with_the_first_answer() -> None:
    bench = Bench()
    await bench.monitor.start()
    bench.fail("coder", "unauthorized", times=1)
    await bench.round()
    assert bench.told == [("unauthorized", "coder", False, 0.0)]
    bench.clock = 61.0
    bench.router.record_outcome("big", RequestOutcome(True))
    outcome = RequestOutcome(True)
    attempt_ends = bench.router.record_outcome("coder", outcome)
    bench.monitor._note_alerts(attempt_ends)
    assert bench.told[1:] == [("unauthorized", "coder", True, 61.0)]
    await bench.monitor.aclose()


async def test_an_alert_of_the_core_wakes_the_monitor_at_once() -> None:
    bench = Bench(LONG)
    await bench.monitor.start()
    await asyncio.wait(bench.monitor._checks)
    bench.ollama.down()
    bench.ollama.was_asked.clear()
    bench.fail("coder")
    await bench.ollama.was_asked.wait()
    assert bench.clock == 0.0
    await bench.monitor.aclose()


async def test_a_404_has_the_list_asked_for_unless_it_has_just_come() -> None:
    bench = Bench()
    await bench.monitor.start()
    await bench.rounds(until_s=0.5)
    bench.fail("coder", "missing", times=1)
    await bench.round()
    assert bench.ollama.asked == ["list"]
    bench.clock = 5.0
    bench.fail("spare", "missing", times=1)
    await bench.round()
    assert bench.ollama.asked == ["list", "list"]
    assert bench.router.health("spare").held is None, "it is there after all"
    await bench.monitor.aclose()


async def test_a_check_that_breaks_ends_nothing_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.ollama.fails_with = RuntimeError("a fault of ours")
    await bench.rounds(until_s=90.0)
    assert bench.ollama.asked == ["list"] * 4
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    bench.ollama.up()
    await bench.rounds(until_s=120.0)
    assert bench.monitor.is_reachable("ollama") is True


async def test_a_monitor_that_breaks_costs_no_request_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    broken: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: broken.append(context))
    await bench.monitor.start()
    monkeypatch.setattr(bench.monitor._book, "note", lambda *_, **__: 1 / 0)
    bench.fail("coder", "missing", times=1)
    bench.fail("big")
    await bench.round()
    assert broken
    monkeypatch.undo()
    bench.clock = 30.0
    await bench.round()
    assert bench.ollama.asked[-1] == "list", "it goes on"
    await bench.monitor.aclose()


async def test_one_server_that_hangs_keeps_no_other_from_being_asked() -> None:
    bench = Bench(TWO_MODELS + '[[backends]]\nname = "other"\nkind = "openai"\nurl = "http://127.0.0.1:9"\n')
    bench.ollama.hangs = True
    for seconds in range(0, 120, 30):
        bench.clock = seconds
        checks = bench.monitor.begin_due()
        await asyncio.wait(checks.values(), return_when=asyncio.FIRST_COMPLETED)
    assert bench.ollama.asked == ["list"]
    assert bench.backends["other"].asked == ["list"] * 4
    await bench.monitor.aclose()


async def test_closing_leaves_no_task_whatever_hangs() -> None:
    bench = Bench(owns_config=True)
    bench.ollama.hangs = True
    before = asyncio.all_tasks()
    await bench.monitor.start()
    watcher = bench.monitor.watch()
    following = asyncio.create_task(anext(watcher, None))
    await asyncio.sleep(0)
    await bench.monitor.aclose()
    assert await following is None, "watchers end"
    assert asyncio.all_tasks() == before
    await bench.monitor.aclose()


async def test_the_configuration_is_completed_as_the_server_changes() -> None:
    bench = Bench('[[backends]]\nname = "ollama"\nkind = "ollama"\nurl = "http://127.0.0.1:9"\n', owns_config=True)
    bench.ollama.has("one")
    await bench.monitor.start()
    assert list(bench.router.profiles) == ["one"]
    bench.ollama.has("one", "two")
    bench.clock = 30.0
    await bench.round()
    assert list(bench.router.profiles) == ["one", "two"]
    settings = bench.router.settings
    bench.clock = 60.0
    await bench.round()
    assert bench.router.settings is settings, "what says nothing new replaces nothing"
    bench.ollama.down()
    await bench.rounds(until_s=100.0)
    assert list(bench.router.profiles) == ["one", "two"], "a server that is away still has its models"
    await bench.monitor.aclose()


async def test_entering_waits_for_the_heads_of_files_and_not_for_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelway.monitor.watch.FIRST_LOOK_S", 0.0)
    bench = Bench(
        '[[backends]]\nname = "files"\nkind = "llama_cpp"\n'
        '[[backends]]\nname = "ollama"\nkind = "ollama"\nurl = "http://127.0.0.1:9"\n',
        owns_config=True,
    )
    bench.ollama.hangs = True
    bench.backends["files"].served_models = [ServedModel("one", path=Path("/models/one.gguf"))]
    bench.backends["files"].turns = 20
    await bench.monitor.start()
    assert list(bench.router.profiles) == ["one"]
    await bench.monitor.aclose()


async def test_whoever_replaces_the_configuration_answers_for_it() -> None:
    bench = Bench(owns_config=True)
    await bench.monitor.start()
    mine = Config.from_toml(TWO_MODELS)
    bench.router.replace_config(mine)
    bench.ollama.has("big", "coder", "spare", "new")
    bench.clock = 30.0
    await bench.round()
    assert list(bench.router.profiles) == ["big", "coder", "spare"]
    await bench.monitor.aclose()


async def test_a_router_of_others_is_left_as_it_is() -> None:
    bench = Bench()
    bench.ollama.has("big", "coder", "spare", "new")
    await bench.rounds(until_s=60.0)
    assert list(bench.router.profiles) == ["big", "coder", "spare"]


async def test_troubles_of_what_is_configured_no_more_are_over() -> None:
    bench = Bench()
    bench.ollama.has("big", "spare")
    await bench.round()
    assert bench.told == [("missing", "coder", False, 0.0)]
    bench.clock = 10.0
    bench.router.replace_config(Config.from_toml(TWO_MODELS.replace('"coder"', '"big2"')))
    await bench.round()
    assert ("missing", "coder", True, 10.0) in bench.told


async def test_a_watcher_gets_what_is_in_force_first() -> None:
    bench = Bench()
    del bench.monitor._watchers.publish  # the real one
    bench.ollama.has("big", "spare")
    await bench.round()
    watcher = bench.monitor.watch()
    assert (await anext(watcher)).model == "coder"
    bench.ollama.has("big", "coder", "spare")
    await bench.rounds(until_s=30.0)
    end = await anext(watcher)
    assert (end.model, end.is_over, end.announce()) == ("coder", True, "coder is on ollama again, after 30 seconds.")
    await watcher.aclose()
