"""Follow-ups, background calls and wrapped prompts through the conductor and every route of the gateway."""

from __future__ import annotations

from typing import Any

import pytest
from conductor_kit import CODE, asked
from gateway_support import CHAT, client_of, gateway_over

from modelway.backends.mock import MultiModelMockBackend
from modelway.conductor import Conductor

FOLLOW_UP = [
    {"role": "user", "content": CODE},
    {"role": "assistant", "content": "Use serde_json."},
    {"role": "user", "content": "can you improve it?"},
]
SWITCH = [*FOLLOW_UP[:2], {"role": "user", "content": "actually, let's write a poem instead"}]
TITLE = [
    {"role": "system", "content": "You are a title generator. You output ONLY a thread title. Nothing else."},
    {"role": "user", "content": CODE},
]
WRAPPED = [
    {
        "role": "user",
        "content": f"<system-reminder>\nWrite a poem about the sea.\n</system-reminder>\n{CODE}\n"
        "<environment_details>\npoem.md, story.md\n</environment_details>",
    }
]
CASES = [
    pytest.param(FOLLOW_UP, "code-model", "context", id="s6-m13-follow-up"),
    pytest.param(SWITCH, "creative-model", "classified", id="m14-switch"),
    pytest.param(TITLE, "quick-model", "structure", id="background"),
    pytest.param(WRAPPED, "code-model", "classified", id="wrapped"),
]


@pytest.mark.parametrize(("messages", "model", "reason"), CASES)
async def test_s6_m13_m14_the_conductor_reads_the_whole_conversation(
    server: MultiModelMockBackend, conductor: Conductor, messages: list[Any], model: str, reason: str
) -> None:
    reply = await conductor.complete(messages)
    assert (reply.model, str(reply.decision.reason)) == (model, reason)
    assert server.request_counts == {model: 1}
    assert server.request_history[0].body["messages"] == messages, "sent on unchanged"


async def test_a_system_text_beside_the_prompt_is_looked_at_too(
    server: MultiModelMockBackend, conductor: Conductor
) -> None:
    await conductor.complete(CODE, system=TITLE[0]["content"])
    assert asked(server) == ["quick-model"]


@pytest.mark.parametrize("path", [CHAT, "/api/chat"])
@pytest.mark.parametrize(("messages", "model", "reason"), CASES)
async def test_s6_m13_m14_the_gateway_hands_on_the_whole_conversation(
    server: MultiModelMockBackend, conductor: Conductor, path: str, messages: list[Any], model: str, reason: str
) -> None:
    async with gateway_over(conductor) as url, client_of(url) as client:
        body = {"model": "auto", "messages": messages, "stream": False}
        async with client.post(path, json=body) as response:
            assert response.status == 200
            assert (response.headers["x-modelway-model"], response.headers["x-modelway-reason"]) == (model, reason)
    assert asked(server) == [model]


async def test_the_gateway_looks_at_the_system_text_of_generate(
    server: MultiModelMockBackend, conductor: Conductor
) -> None:
    async with gateway_over(conductor) as url, client_of(url) as client:
        body = {"model": "auto", "system": TITLE[0]["content"], "prompt": CODE, "stream": False}
        async with client.post("/api/generate", json=body) as response:
            assert response.headers["x-modelway-model"] == "quick-model"
