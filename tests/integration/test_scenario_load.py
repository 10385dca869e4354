"""Many requests at once: each whole and its own, none lost, nobody favoured."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from conductor_kit import (
    CODE,
    DEFAULTS,
    MATH,
    BookkeepingRouter,
    asked,
    collect,
    config_text,
    notices,
    replies,
    text_of,
)

from modelway.backends.mock import Fault, MockModelConfig, MultiModelMockBackend, run_in_thread
from modelway.conductor import Conductor, Reply
from modelway.config import Config
from modelway.errors import QueueFull

QUICK = "What day is it?"


def numbered(server: MultiModelMockBackend, *models: str, words: int = 40) -> dict[str, str]:
    """Long answers, of which each piece tells whose it is and which; by model."""
    texts = {model: " ".join(f"{model}-{i}" for i in range(words)) for model in models}
    for model, text in texts.items():
        server.models[model] = MockModelConfig(reply=text)
    return texts


async def test_s5_three_models_stream_at_once_and_no_piece_crosses_over(server, conductor):
    texts = numbered(server, "code-model", "math-model", "deep-model")
    gate = server.hold(after=3)
    tasks = [asyncio.create_task(collect(conductor, CODE, model=model)) for model in texts]
    await server.wait_for(lambda: gate.waiting == 3)
    gate.release()
    for (events, error), text in zip(await asyncio.gather(*tasks), texts.values(), strict=True):
        assert error is None
        assert text_of(events) == text


async def test_s8_traffic_returns_to_a_model_that_has_recovered(server, open_conductor):
    more = "[health]\nfailures_to_open = 2\nbackoff_ms = 20\n"
    conductor = open_conductor(config_text(server.url, more=more))
    server.fail("code-model", Fault.http(500))
    assert [(await conductor.complete(CODE)).model for _ in range(3)] == ["deep-model"] * 3
    assert server.request_counts["code-model"] == 2, "an open circuit is left alone"
    server.heal("code-model")
    gate = server.hold("code-model")
    while not conductor.router.health("code-model").available:  # noqa: ASYNC110  (the delay of the circuit)
        await asyncio.sleep(0)
    probe = asyncio.create_task(conductor.complete(CODE))
    await server.wait_for(lambda: gate.waiting == 1)
    assert (await conductor.complete(CODE)).model == "deep-model", "one probe at a time"
    gate.release()
    assert (await probe).model == "code-model"
    assert (await conductor.complete(CODE)).model == "code-model"
    assert conductor.router.health("code-model").state == "closed"


async def test_m22_a_fallback_concerns_its_own_request_alone(server, conductor):
    texts = numbered(server, "code-model", "deep-model")
    gate = server.hold("code-model", after=3)
    running = [asyncio.create_task(collect(conductor, CODE)) for _ in range(5)]
    await server.wait_for(lambda: gate.waiting == 5)
    server.fail("code-model", Fault.http(500), times=2)
    for _ in range(2):
        events, error = await collect(conductor, CODE)
        assert error is None
        assert notices(events) == [("code-model", "deep-model")]
        assert text_of(events) == texts["deep-model"]
    gate.release()
    for events, error in await asyncio.gather(*running):
        assert error is None
        assert notices(events) == []
        assert text_of(events) == texts["code-model"]
    assert conductor.router.health("code-model").state == "closed"


async def test_m23_when_models_go_in_a_batch_only_their_requests_fall_back(server, conductor):
    gate = server.hold()
    models = ("code-model", "math-model", "creative-model", "quick-model")
    running = [asyncio.create_task(collect(conductor, CODE, model=model)) for model in models]
    await server.wait_for(lambda: gate.waiting == len(models))
    server.unavailable_models.update({"code-model", "math-model"})
    new = [asyncio.create_task(collect(conductor, CODE, model=model)) for model in models]
    await server.wait_for(lambda: gate.waiting == 2 * len(models))
    gate.release()
    for model, (events, error) in zip(models, await asyncio.gather(*running), strict=True):
        assert (error, notices(events), text_of(events)) == (None, [], f"{model} says so")
    fell_back = [bool(notices(events)) for events, error in await asyncio.gather(*new) if error is None]
    assert fell_back == [True, True, False, False]


async def test_l1_a_hundred_quick_requests_go_to_the_quick_model(server, conductor):
    replies = await asyncio.gather(*(conductor.complete(QUICK) for _ in range(100)))
    assert {reply.model for reply in replies} == {"quick-model"}
    assert server.request_counts == {"quick-model": 100}


async def test_l2_fifty_tasks_over_sixteen_connections_are_all_answered(server, open_conductor):
    text = config_text(server.url).replace('name = "local"\n', 'name = "local"\nmax_connections = 16\n')
    conductor = open_conductor(text)

    async def ask_in_turn() -> list[Reply]:
        return [await conductor.complete(prompt) for prompt in (CODE, MATH, QUICK)]

    replies = [reply for replies in await asyncio.gather(*(ask_in_turn() for _ in range(50))) for reply in replies]
    assert Counter(reply.model for reply in replies) == {"code-model": 50, "math-model": 50, "quick-model": 50}
    assert [record.outcome for record in conductor.history] == ["success"] * 150


async def test_l8_ten_streams_over_three_models_are_whole_and_run_together(server, conductor):
    texts = numbered(server, "code-model", "math-model", "deep-model")
    gate = server.hold(after=5)
    models = [model for model, _ in zip([*texts] * 4, range(10), strict=False)]
    tasks = [asyncio.create_task(collect(conductor, CODE, model=model)) for model in models]
    await server.wait_for(lambda: gate.waiting == 10)
    gate.release()
    for model, (events, error) in zip(models, await asyncio.gather(*tasks), strict=True):
        assert error is None
        assert text_of(events) == texts[model]


async def test_m21_a_thousand_clients_at_four_slots_are_answered_or_refused_and_nobody_is_favoured(
    server, open_conductor
):
    lines = 'id = "general-model"\nmax_concurrent = 4\n'
    models = "".join(f'{task} = "general-model"\n' for task in DEFAULTS)
    conductor = open_conductor(
        f'[defaults]\n{models}[[backends]]\nname = "local"\nkind = "ollama"\nurl = "{server.url}"\n[[models]]\n{lines}'
    )
    # One of ten users sends ten times as much as all the others together.
    users = ["greedy"] * 910 + [f"modest {i % 9}" for i in range(90)]
    random.Random(21).shuffle(users)
    order: list[str] = []
    refused: list[QueueFull] = []

    async def ask(user: str) -> None:
        try:
            await conductor.complete("hello", user=user, options={"max_tokens": 8})
            order.append(user)
        except QueueFull as error:
            refused.append(error)

    gate = server.hold()
    tasks = [asyncio.create_task(ask(user)) for user in users]
    while len(refused) < 1_000 - 4 - 512:  # noqa: ASYNC110  (who is refused is known by then, and only then)
        await asyncio.sleep(0)
    assert gate.waiting <= 4
    gate.release()
    await asyncio.gather(*tasks)
    assert len(order) == 4 + 512
    assert all(error.retry_after_s for error in refused)
    modest = [place for place, user in enumerate(order) if user != "greedy"]
    assert len(modest) > 20
    assert modest[-1] < 4 + 2 * len(modest), "served in turn with the one who asks so much, not behind"


async def test_m21_a_user_with_three_shares_gets_three_turns_of_four(server, open_conductor):
    text = config_text(server.url, more="[fairness]\nshares = { vip = 3 }\n")
    conductor = open_conductor(text.replace('id = "code-model"\n', 'id = "code-model"\nmax_concurrent = 1\n'))
    order: list[str] = []

    async def ask(user: str) -> None:
        await conductor.complete(CODE, user=user, options={"max_tokens": 1})
        order.append(user)

    gate = server.hold()
    tasks = [asyncio.create_task(ask(user)) for user in ["first", *["vip"] * 24, *["other"] * 24]]
    while conductor.router.load("code-model").waiting < 48:  # noqa: ASYNC110  (the core tells nobody)
        await asyncio.sleep(0)
    gate.release()
    await asyncio.gather(*tasks)
    assert 17 <= order[1:25].count("vip") <= 19


@pytest.mark.parametrize("step", range(1, 30, 4))
async def test_m24_requests_cancelled_at_random_moments_leave_nothing_behind(server, open_conductor, step):
    text = config_text(server.url).replace('id = "code-model"\n', 'id = "code-model"\nmax_concurrent = 2\n')
    conductor = open_conductor(text)
    chance = random.Random(step)
    tasks = [asyncio.create_task(conductor.complete(CODE, user=chance.choice("abc"))) for _ in range(20)]
    for task in chance.sample(tasks, 12):
        for _ in range(step):
            await asyncio.sleep(0)
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, Reply | asyncio.CancelledError) for result in results)
    assert sum(isinstance(result, Reply) for result in results) >= 8
    assert len(asked(server)) <= 20


def test_m21_event_loops_of_several_threads_share_the_slots_of_one_router():
    with run_in_thread(MultiModelMockBackend(replies())) as server:
        text = config_text(server.url).replace('id = "code-model"\n', 'id = "code-model"\nmax_concurrent = 2\n')
        router = BookkeepingRouter(Config.from_toml(text))

        async def ask(user: str) -> list[str]:
            async with Conductor(router=router) as conductor:
                answers = await asyncio.gather(*(conductor.complete(CODE, user=user) for _ in range(20)))
            return [reply.model for reply in answers]

        with ThreadPoolExecutor(4) as threads:
            served = list(threads.map(lambda user: asyncio.run(ask(user)), "abcd"))
        assert served == [["code-model"] * 20] * 4
        router.check_books()
        assert server.server.request_counts == {"code-model": 80}
        records = server.server.request_history
    assert max(sum(r.started <= one.started < (r.ended or 0) for r in records) for one in records) <= 2
