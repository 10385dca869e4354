"""Each limit in force is seen by whoever looks: in ``config show``, in ``/modelway/status``, and beside the answer.

The keys are those of the configuration's schema: each number there is a limit that is shown, or is listed below with
what else it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from cli_helpers import run
from gateway_support import CHAT, HELLO, client_of, gateway_over
from pydantic import BaseModel

import modelway as mw
from modelway.backends.mock import MockModelConfig, MultiModelMockBackend
from modelway.explain import allowance

#: Every number of it is another, so that each is known when it is seen.
TEXT = """
[deadlines]
connect_ms = 10_001
load_ms = 10_002
first_token_ms = 10_003
between_tokens_ms = 10_004
total_ms = 10_005
[server]
write_timeout_ms = 10_006
[health]
retry_percent = 97
retries_per_s = 10_007
[memory]
max_wait_s = 10.008
embedding_bytes = 10_009
[limits]
requests_per_minute = 10_010
request_burst = 10_011
tokens_per_minute = 10_012
token_burst = 10_013
[limits.user]
requests_per_minute = 10_014
request_burst = 10_015
tokens_per_minute = 10_016
token_burst = 10_017
quota_requests = 10_018
quota_tokens = 10_019
quota_window_s = 10_020
[fairness]
max_users = 10_021
max_waiting = 10_022
[defaults]
general = "m"
[[backends]]
name = "files"
kind = "llama_cpp"
context = 10_023
parallel = 251
[[backends]]
name = "box"
kind = "ollama"
url = "URL"
max_connections = 10_024
memory_bytes = 10_025
limits = { requests_per_minute = 10_026, request_burst = 10_027, tokens_per_minute = 10_028, token_burst = 10_029 }
[[models]]
id = "m"
backend = "box"
max_context = 10_030
max_concurrent = 10_031
limits = { requests_per_minute = 10_032, request_burst = 10_033, tokens_per_minute = 10_034, token_burst = 10_035 }
[[models]]
id = "file"
backend = "files"
path = "file.gguf"
[state]
folder = "FOLDER"
"""

_RATES = ("requests_per_minute", "request_burst", "tokens_per_minute", "token_burst")
#: By key: whose limit it is, and of what kind.
SHOWN = {
    "deadlines.connect_ms": ("backend box", "connect"),
    "deadlines.load_ms": ("all", "load"),
    "deadlines.first_token_ms": ("all", "first_token"),
    "deadlines.between_tokens_ms": ("all", "between_tokens"),
    "deadlines.total_ms": ("all", "total"),
    "server.write_timeout_ms": ("gateway", "write"),
    "health.retry_percent": ("backend box", "retries"),
    "health.retries_per_s": ("backend box", "retry_reserve"),
    "memory.max_wait_s": ("all", "memory_wait"),
    "memory.embedding_bytes": ("all", "embedding_memory"),
    **{f"limits.{key}": ("all", "rate") for key in _RATES},
    **{f"limits.user.{key}": ("user", "rate") for key in _RATES},
    **{f"limits.user.quota_{key}": ("user", "quota") for key in ("requests", "tokens", "window_s")},
    "fairness.max_users": ("all", "users"),
    "fairness.max_waiting": ("backend box", "queue"),
    "backends.max_connections": ("backend box", "connections"),
    "backends.memory_bytes": ("backend box", "memory"),
    "backends.context": ("backend files", "context"),
    "backends.parallel": ("model file", "concurrency"),
    **{f"backends.limits.{key}": ("backend box", "rate") for key in _RATES},
    "models.max_context": ("model m", "context"),
    "models.max_concurrent": ("model m", "concurrency"),
    **{f"models.limits.{key}": ("model m", "rate") for key in _RATES},
}
#: Numbers that keep nothing from anybody, and what they are.
NO_LIMITS = {
    "classifier.threshold": "how prompts are read",
    "classifier.priors": "how prompts are read",
    "timeouts.quick_ms": "a wish: it ends no request, and what misses it is told",
    "timeouts.standard_ms": "a wish",
    "timeouts.deep_ms": "a wish",
    "server.port": "where",
    "server.notice_after_ms": "when a client is told that it waits",
    "health.failures_to_open": "when a failing model is left alone, which its state in the status tells",
    "health.backoff_ms": "for how long, which retry_in_s there tells",
    "health.max_backoff_ms": "for how long",
    "health.window_ms": "when a failing model is left alone",
    "health.least_success_percent": "when a failing model is left alone",
    "health.samples_to_judge": "when a failing model is left alone",
    "health.check_ms": "how often servers are asked",
    "health.recheck_ms": "how often servers are asked",
    "health.alert_after_ms": "when somebody is told",
    "fairness.shares": "what is due to whom of a queue",
    "backends.keep_alive_s": "how long a connection that nobody uses is kept",
    "backends.max_connection_age_s": "how long one that is used again is kept",
    "backends.threads": "how fast it computes",
    "models.avg_ttft_ms": "what is known of the model",
    "models.avg_tokens_per_sec": "what is known of the model",
    "models.memory_bytes": "what is known of the model",
    "models.size_bytes": "what is known of the model",
}


def numbers(section: type[BaseModel], path: str = "") -> Iterator[str]:
    """The keys of the schema that hold a number, or several."""
    for key, field in section.model_fields.items():
        parts, is_number = [field.annotation], False
        while parts:
            part: Any = parts.pop()
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from numbers(part, f"{path}{key}.")
            else:
                is_number = is_number or part in (int, float)
                parts += get_args(part)
        if is_number:
            yield f"{path}{key}"


def test_every_number_of_the_configuration_is_known() -> None:
    assert set(SHOWN) & set(NO_LIMITS) == set()
    assert set(SHOWN) | set(NO_LIMITS) == set(numbers(mw.Config))


def written(document: Any, path: str) -> int:
    """What the key was given; seconds that are told as milliseconds as such."""
    found = [document]
    for key in path.split("."):
        found = [entry[key] for table in found for entry in (table if isinstance(table, list) else [table])]
    value = max(value or 0 for value in found)  # the others of a list have their default, which is none
    return round(value * 1000) if path == "memory.max_wait_s" else value


async def test_every_limit_is_shown_everywhere(tmp_path: Path) -> None:
    async with MultiModelMockBackend({"m": MockModelConfig(size_bytes=1)}) as server:
        text = TEXT.replace("URL", server.url).replace("FOLDER", str(tmp_path))
        config = mw.Config.from_toml(text)
        async with mw.Conductor(config) as conductor, gateway_over(conductor) as url, client_of(url) as client:
            async with client.get("/modelway/status") as response:
                in_status = (await response.json())["limits"]
            async with client.post(CHAT, json={"model": "m", "messages": HELLO}) as response:
                assert response.status == 200
                headers = dict(response.headers)
    assert len(headers["x-modelway-limits"]) < 1_000, "it is not cut"
    beside = headers["x-modelway-limits"].split("; ")
    for path, (owner, what) in SHOWN.items():
        value = written(config.model_dump(mode="json"), path)
        found = [one for one in in_status if (one["of"], one["what"]) == (owner, what) and value in one.values()]
        assert found, f"{path} does not stand in the status"
        if owner not in ("backend files", "model file"):
            scope = owner.partition(" ")[0]
            told = [one for one in beside if one.startswith(f"{scope}.{what}=")]
            assert any(str(value) in re.findall(r"\d+", one) for one in told), f"{path} does not stand beside an answer"
    # Of what is the user's own it is told what is left, too.
    assert headers["x-ratelimit-limit-requests"] in ("10015", "10018")
    assert headers["x-ratelimit-limit-tokens"] in ("10017", "10019")


def test_every_limit_is_shown_by_config_show(tmp_path: Path) -> None:
    file = tmp_path / "models.toml"
    file.write_text(TEXT.replace("URL", "http://127.0.0.1:9").replace("FOLDER", str(tmp_path)))
    shown = json.loads(run("config", "show", "--json", "--config", file).stdout)["limits"]
    text = run("config", "show", "--config", file).stdout.partition("# limits in force")[2]
    config = mw.load_config(file).model_dump(mode="json")
    for path, (owner, what) in SHOWN.items():
        value = written(config, path)
        (limit,) = [one for one in shown if (one["of"], one["what"]) == (owner, what) and value in one.values()][:1]
        words = allowance(limit)
        assert re.search(rf"^{owner} +{re.escape(words)}$", text, re.M), path
        assert f"{value:,}" in words, path


@pytest.mark.parametrize(
    ("text", "absent"),
    [("", ("total", "connections", "rate", "quota", "users")), ("[memory]\nmanage = false", ("memory_wait",))],
)
def test_what_is_not_in_force_is_not_shown(text: str, absent: tuple[str, ...]) -> None:
    limits = mw.ModelRouter(mw.Config.from_toml(f'{text}\n[defaults]\ngeneral = "m"')).limits_in_force()
    assert not {limit["what"] for limit in limits} & set(absent)
    assert {"queue", "load", "first_token", "between_tokens", "connect", "attempts", "body"} <= {
        limit["what"] for limit in limits
    }
