"""From what was written to what is in force: addresses, places, implied facts, implicit models."""

from __future__ import annotations

from typing import Any

import pytest

from modelway.config import Config
from modelway.config.rates import NO_LIMITS, Limits, Quota, Rate
from modelway.config.settings import Deadlines, ResolvedBackend, ResolvedModel, Settings, resolve
from modelway.errors import ConfigError

FAR = '[[backends]]\nname = "far"\nkind = "openai"\nurl = "https://api.example.com"\n'
LAN = '[[backends]]\nname = "lan"\nkind = "ollama"\nurl = "http://192.168.1.2:11434"\n'
FILES = '[[backends]]\nname = "files"\nkind = "llama_cpp"\n'


def settings(text: str, **environ: str) -> Settings:
    return resolve(Config.from_toml(text), environ)


def backend(text: str, **environ: str) -> ResolvedBackend:
    (only,) = settings(text, **environ).backends
    return only


def model(text: str) -> ResolvedModel:
    (only,) = settings(text).models
    return only


def problems(text: str, **environ: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        settings(text, **environ)
    return {problem.path: problem.message for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("kind", "url", "declared", "place"),
    [
        ("ollama", "http://127.0.0.1:1", None, "device"),
        ("ollama", "http://localhost:1", None, "device"),
        ("openai", "http://[::1]:1", None, "device"),
        ("openai", "http://192.168.1.2", None, "lan"),
        ("openai", "http://gpu-box", None, "external"),
        ("ollama", "https://0.0.0.0:11434", None, "external"),
        ("ollama", "http://127.0.0.1:1", "external", "external"),
        ("ollama", "http://127.0.0.1:1", "lan", "lan"),
        ("ollama", "http://127.0.0.1:1", "device", "device"),
        ("openai", "http://192.168.1.2", "external", "external"),
        ("llama_cpp", None, None, "device"),
        ("mock", None, None, "device"),
        ("mock", "http://192.168.1.2", None, "lan"),
    ],
)
def test_place_of_a_backend(kind: str, url: str | None, declared: str | None, place: str) -> None:
    text = f'[[backends]]\nname = "b"\nkind = "{kind}"\n'
    text += f'url = "{url}"\n' if url else ""
    text += f'location = "{declared}"\n' if declared else ""
    assert backend(text).location == place


@pytest.mark.parametrize(
    ("value", "url", "place"),
    [
        ("127.0.0.1:4000", "http://127.0.0.1:4000", "device"),
        ("0.0.0.0", "http://127.0.0.1:11434", "device"),
        ("192.168.1.2", "http://192.168.1.2:11434", "lan"),
        ("https://ollama.com", "https://ollama.com", "external"),
    ],
)
def test_ollama_host_moves_the_default_backend(value: str, url: str, place: str) -> None:
    found = backend("", OLLAMA_HOST=value)
    assert (found.url, found.location) == (url, place)


def test_ollama_host_also_serves_a_declared_backend_without_url() -> None:
    text = '[[backends]]\nname = "mine"\nkind = "ollama"\n'
    assert backend(text, OLLAMA_HOST="127.0.0.1:4000").url == "http://127.0.0.1:4000"
    assert backend(text + 'url = "http://127.0.0.1:1"\n', OLLAMA_HOST="127.0.0.1:4000").url == "http://127.0.0.1:1"


def test_a_bad_ollama_host_is_one_problem() -> None:
    text = "".join(f'[[backends]]\nname = "{name}"\nkind = "ollama"\n' for name in "ab")
    assert list(problems(text, OLLAMA_HOST="127.0.0.1:port")) == ["$OLLAMA_HOST"]


@pytest.mark.parametrize(
    ("text", "deadlines"),
    [
        ("", Deadlines(connect_s=1.0, load_s=120.0, first_token_s=30.0, between_tokens_s=30.0)),
        (LAN, Deadlines(connect_s=5.0)),
        (FAR, Deadlines(connect_s=5.0)),
        (FAR + "[deadlines]\nconnect_ms = 250", Deadlines(connect_s=0.25)),
        (
            "[deadlines]\nload_ms = 1500\nfirst_token_ms = 20\nbetween_tokens_ms = 3",
            Deadlines(connect_s=1.0, load_s=1.5, first_token_s=0.02, between_tokens_s=0.003),
        ),
    ],
)
def test_deadlines_are_seconds(text: str, deadlines: Deadlines) -> None:
    assert backend(text).deadlines == deadlines


def test_engine_options_reach_the_backend() -> None:
    found = backend(FILES + "threads = 2\ncontext = 4096\nparallel = 3\nmax_connections = 7\n")
    assert (found.threads, found.context, found.parallel, found.max_connections) == (2, 4096, 3, 7)
    assert found.url is None


def test_times_of_connections_reach_the_backend() -> None:
    found = backend(FILES + "keep_alive_s = 0.5\nmax_connection_age_s = 60\n")
    assert (found.keep_alive_s, found.max_connection_age_s) == (0.5, 60.0)


@pytest.mark.parametrize("line", ["keep_alive_s = 0", "max_connection_age_s = -1", "keep_alive_s = 86401"])
def test_times_of_connections_have_bounds(line: str) -> None:
    with pytest.raises(ConfigError, match=line.partition(" ")[0]):
        backend(FILES + line + "\n")


def test_a_declared_model_with_nothing_but_its_id() -> None:
    assert model('[[models]]\nid = "m"\n') == ResolvedModel(id="m", backend="ollama", name="m", display_name="m")


def test_a_declared_model_with_everything() -> None:
    found = model(
        '[[models]]\nid = "m"\nbackend = "ollama"\nname = "m:7b"\naliases = ["a", "b"]\nstrengths = ["math"]\n'
        'weaknesses = ["code"]\ncapabilities = ["VisionInput"]\navg_ttft_ms = 1\navg_tokens_per_sec = 2\n'
        "max_context = 3\nmemory_bytes = 4\nsupports_streaming = false\nsupports_tools = true\n"
        'cost_tier = "low"\nlicense = "gpl-3.0"\ndisplay_name = "M"\nlocation = "lan"\n'
    )
    assert found == ResolvedModel(
        id="m",
        backend="ollama",
        name="m:7b",
        aliases=("a", "b"),
        strengths=("math",),
        weaknesses=("code",),
        capabilities=("VisionInput",),
        avg_ttft_ms=1,
        avg_tokens_per_sec=2.0,
        max_context=3,
        num_ctx=3,
        memory_bytes=4,
        supports_streaming=False,
        supports_tools=True,
        cost_tier="low",
        license_tier="copyleft",
        location="lan",
        destination="127.0.0.1:11434",
        license="gpl",
        display_name="M",
    )


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ('strengths = ["tool_use"]', {"supports_tools": True, "capabilities": ("TextGeneration", "ToolUse")}),
        ('capabilities = ["ToolUse"]', {"supports_tools": True, "capabilities": ("ToolUse",)}),
        ('strengths = ["ToolUse"]\nsupports_tools = false', {"supports_tools": False}),
        ('strengths = ["code"]', {"supports_tools": False, "capabilities": ("TextGeneration", "CodeGeneration")}),
        ('strengths = ["math"]', {"capabilities": ("TextGeneration", "MathReasoning")}),
        ('strengths = ["quick", "deep"]', {"capabilities": ("TextGeneration", "LowLatency", "DeepReasoning")}),
        ('strengths = ["Creative"]', {"capabilities": ("TextGeneration", "CreativeWriting")}),
        ('strengths = ["general"]', {"capabilities": ("TextGeneration",)}),
        ("capabilities = []", {"capabilities": ()}),
        ('license = "llama3.1"', {"license_tier": "restricted"}),
        ('license = "of my own"', {"license_tier": "unknown"}),
    ],
)
def test_what_is_absent_is_implied(keys: str, expected: dict[str, Any]) -> None:
    found = model(f'[[models]]\nid = "m"\n{keys}\n')
    assert {key: getattr(found, key) for key in expected} == expected


@pytest.mark.parametrize(
    ("backend_text", "name", "declared", "place"),
    [
        ("", "m", None, "device"),
        ("", "m", "external", "external"),
        ("", "gpt-oss:cloud", None, "external"),
        ("", "gpt-oss:120b-cloud", None, "external"),
        (LAN, "m", None, "lan"),
        (LAN, "m", "external", "external"),
        (FAR, "m", None, "external"),
    ],
)
def test_a_model_is_never_nearer_than_its_backend(
    backend_text: str, name: str, declared: str | None, place: str
) -> None:
    where = f'location = "{declared}"\n' if declared else ""
    owner = 'backend = "far"\n' if backend_text == FAR else ""
    found = model(f'{backend_text}[[models]]\nid = "m"\nname = "{name}"\n{where}{owner}')
    assert found.location == place
    assert found.cost_tier == ("medium" if place == "external" else "free")


def test_a_cloud_name_means_nothing_to_another_server() -> None:
    text = '[[backends]]\nname = "b"\nkind = "openai"\nurl = "http://127.0.0.1:1"\n[[models]]\nid = "x:cloud"\n'
    assert model(text + 'backend = "b"\n').location == "device"


def test_defaults_that_nobody_declares_are_models_of_the_default_backend() -> None:
    found = settings(
        '[defaults]\ncode = "coder"\nmath = "loner"\ndeep = "loner"\nquick = "big:cloud"\n'
        '[[models]]\nid = "m"\naliases = ["coder"]\n'
    )
    assert [model.id for model in found.models] == ["m", "loner", "big:cloud"]
    assert found.models[1] == ResolvedModel(id="loner", backend="ollama", name="loner", display_name="loner")
    assert found.models[2].location == "external"
    assert found.defaults == {"code": "coder", "math": "loner", "deep": "loner", "quick": "big:cloud"}


def test_the_default_backend_is_the_first_ollama() -> None:
    found = settings(FILES + LAN + '[[backends]]\nname = "o"\nkind = "ollama"\n[defaults]\ncode = "c"\n')
    (only,) = found.models
    assert (only.backend, only.location) == ("lan", "lan")


def test_keywords_stand_by_task() -> None:
    found = settings('[routing]\nquick_keywords = ["asap", "in short"]\ncode_keywords = []\n').keywords
    assert set(found) == {"quick", "deep", "code", "math", "creative", "tool_use"}
    assert found["quick"] == ("asap", "in short")
    assert found["code"] == ()
    assert found["math"] == ("calculate", "solve", "equation", "integral", "prove")


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        (
            FILES + '[defaults]\ncode = "c"\n',
            "defaults.code",
            '"c" is no declared model, and no backend of kind ollama',
        ),
        (FILES + '[[models]]\nid = "m"\n', "models[0].backend", "missing, and no backend of kind ollama"),
        ('[[models]]\nid = "m"\nbackend = "olama"\n', "models[0].backend", 'did you mean "ollama"?'),
        ('[[models]]\nid = "m"\nbackend = "xyz"\n', "models[0].backend", "declare it under [[backends]]"),
        (FILES + FILES, "backends[1].name", '"files" is the name of an earlier backend'),
        (FILES + '[[models]]\nid = "m"\nbackend = "files"\n', "models[0].path", 'missing; backend "files"'),
        (
            LAN + '[[models]]\nid = "m"\nlocation = "device"\n',
            "models[0].location",
            'nearer than where it runs, which is "lan"',
        ),
        ('[[models]]\nid = "m:cloud"\nlocation = "lan"\n', "models[0].location", 'which is "external"'),
        ('[[models]]\nid = "m"\npath = "m.gguf"\n', "models[0].path", "is of kind ollama, which runs no files"),
    ],
)
def test_problems_across_tables(text: str, path: str, message: str) -> None:
    found = problems(text)
    assert list(found) == [path]
    assert message in found[path]


def test_problems_across_tables_come_at_once() -> None:
    found = problems(FILES + FILES + '[defaults]\nmath = "x"\n[[models]]\nid = "m"\n', OLLAMA_HOST="unused:port")
    assert set(found) == {"backends[1].name", "defaults.math", "models[0].backend"}


def test_nothing_is_limited_unasked() -> None:
    found = settings('[[models]]\nid = "m"')
    assert (found.limits, found.user_limits, found.quotas) == (NO_LIMITS, NO_LIMITS, ())
    assert (found.backends[0].limits, found.models[0].limits, found.models[0].max_concurrent) == (
        NO_LIMITS,
        NO_LIMITS,
        None,
    )


def test_limits_are_what_each_table_says() -> None:
    found = settings(
        "[limits]\nrequests_per_minute = 60\n"
        "[limits.user]\nrequests_per_minute = 20\nrequest_burst = 5\ntokens_per_minute = 9_000\n"
        "quota_tokens = 1_000_000\nquota_window_s = 3_600\n"
        '[[backends]]\nname = "b"\nkind = "ollama"\nlimits = { tokens_per_minute = 70, token_burst = 700 }\n'
        '[[models]]\nid = "m"\nmax_concurrent = 4\nlimits = { requests_per_minute = 8 }\n'
    )
    assert found.limits == Limits(requests=Rate(60, 60.0, 60))
    assert found.user_limits == Limits(requests=Rate(20, 60.0, 5), tokens=Rate(9_000, 60.0, 9_000))
    assert found.quotas == (Quota("tokens", 1_000_000, 3_600.0),)
    assert found.backends[0].limits == Limits(tokens=Rate(70, 60.0, 700))
    assert found.models[0].limits == Limits(requests=Rate(8, 60.0, 8))
    assert found.models[0].max_concurrent == 4


@pytest.mark.parametrize(
    ("backend_lines", "model_lines", "slots"),
    [
        (FILES, "", 1),
        (FILES + "parallel = 3\n", "", 3),
        (FILES + "parallel = 3\n", "max_concurrent = 2\n", 2),
        (LAN, "", None),
    ],
)
def test_a_model_run_here_answers_as_many_at_once_as_it_has_slots(
    backend_lines: str, model_lines: str, slots: int | None
) -> None:
    name = backend_lines.split('"')[1]
    path = 'path = "m.gguf"\n' if name == "files" else ""
    found = settings(f'{backend_lines}[[models]]\nid = "m"\nbackend = "{name}"\n{path}{model_lines}')
    assert found.models[0].max_concurrent == slots
