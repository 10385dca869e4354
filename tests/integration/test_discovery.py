"""Discovery: what servers on this device say completes the configuration, and nothing else is asked or overridden."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from modelway.backends.base import ServedModel
from modelway.backends.mock import MockModelConfig, MultiModelMockBackend
from modelway.config import Config
from modelway.config.sections import ModelConfig
from modelway.config.settings import resolve
from modelway.discovery import complete, discover
from modelway.errors import ConfigError
from modelway.router import ModelRouter

OLLAMA = frozenset({"completion"})
TWO = (
    '[[backends]]\nname = "a"\nkind = "ollama"\n[[backends]]\nname = "b"\nkind = "openai"\nurl = "http://127.0.0.1:1"\n'
)


@pytest.fixture
async def server() -> AsyncIterator[MultiModelMockBackend]:
    models = {
        "qwen2.5-coder:1.5b": MockModelConfig(
            max_context=32768,
            capabilities=["completion", "tools"],
            license_text="Apache License\nVersion 2.0",
            details={"family": "qwen2", "parameter_size": "1.5B", "quantization_level": "Q8_0"},
        ),
        "llama3.1:8b": MockModelConfig(
            capabilities=["completion", "vision"], license_text="LLAMA 3.1 COMMUNITY LICENSE AGREEMENT"
        ),
        "gpt-oss:120b-cloud": MockModelConfig(remote_host="https://ollama.com:443"),
        "plain-name:7b": MockModelConfig(remote_host="https://ollama.com:443"),
        "nomic-embed-text": MockModelConfig(capabilities=["embedding"]),
    }
    async with MultiModelMockBackend(models) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("MODELWAY_CONFIG", "OLLAMA_HOST"):
        monkeypatch.delenv(variable, raising=False)
    for variable in ("XDG_CONFIG_HOME", "HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.chdir(tmp_path)


def by_id(config: Config) -> dict[str, ModelConfig]:
    return {model.id: model for model in config.models}


def written(model: ModelConfig) -> dict[str, Any]:
    return model.model_dump(exclude_unset=True)


async def test_nothing_configured_finds_the_server_at_ollama_host(
    server: MultiModelMockBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", server.url)
    models = by_id(await discover())
    assert set(models) == {"qwen2.5-coder:1.5b", "llama3.1:8b", "gpt-oss:120b-cloud", "plain-name:7b"}
    assert written(models["qwen2.5-coder:1.5b"]) == {
        "id": "qwen2.5-coder:1.5b",
        "backend": "ollama",
        "strengths": ("code", "quick"),
        "capabilities": ("TextGeneration", "CodeGeneration", "LowLatency", "ToolUse"),
        "max_context": 32768,
        "supports_tools": True,
        "license": "apache-2.0",
        "size_bytes": 4_000_000_000,
        "memory_bytes": 4_400_000_000,
        "family": "qwen2",
        "parameters": "1.5B",
        "quantization": "Q8_0",
    }
    assert models["llama3.1:8b"].capabilities == ("TextGeneration", "VisionInput")
    assert models["llama3.1:8b"].supports_tools is False


async def test_models_handed_on_to_a_cloud_are_external(
    server: MultiModelMockBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", server.url)
    places = {model.id: model.location for model in resolve(await discover(Config())).models}
    assert places == {
        "qwen2.5-coder:1.5b": "device",
        "llama3.1:8b": "device",
        "gpt-oss:120b-cloud": "external",
        "plain-name:7b": "external",
    }


async def test_an_openai_server_is_asked_too(server: MultiModelMockBackend) -> None:
    text = f'[[backends]]\nname = "o"\nkind = "openai"\nurl = "{server.url}/v1"\n'
    models = by_id(await discover(Config.from_toml(text)))
    assert models["llama3.1:8b"].backend == "o"


async def test_a_completed_configuration_is_not_changed_by_asking_again(
    server: MultiModelMockBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", server.url)
    once = await discover(Config.from_toml('[defaults]\ngeneral = "llama3.1:8b"\n[[models]]\nid = "own"\n'))
    twice = await discover(once)
    assert twice == once
    assert twice.describe() == once.describe()


async def test_asking_loads_no_model(server: MultiModelMockBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", server.url)
    assert (await discover(Config())).models
    assert not server.request_history


async def test_a_backend_that_is_down_is_skipped(server: MultiModelMockBackend) -> None:
    await server.down()
    config = Config.from_toml(f'[[backends]]\nname = "b"\nkind = "ollama"\nurl = "{server.url}"\n')
    completed = await discover(config)
    assert completed == config
    assert completed.describe() == config.describe()


async def test_a_silent_backend_costs_the_deadline_and_hides_no_other(server: MultiModelMockBackend) -> None:
    asked = asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    async with silent:
        port = silent.sockets[0].getsockname()[1]
        text = f'[[backends]]\nname = "silent"\nkind = "ollama"\nurl = "http://127.0.0.1:{port}"\n'
        text += f'[[backends]]\nname = "b"\nkind = "ollama"\nurl = "{server.url}"\n'
        loop = asyncio.get_running_loop()
        started = loop.time()
        config = await discover(Config.from_toml(text), timeout_s=0.5)
        assert loop.time() - started < 2.0
    assert asked.is_set()
    assert {model.backend for model in config.models} == {"b"}


@pytest.mark.parametrize("url", ["https://192.0.2.1:1", "http://ollama.example:1", "http://192.168.255.254:1"])
async def test_backends_elsewhere_are_not_asked(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr("modelway.discovery.survey.make_backend", lambda *args: asked.append(args))
    config = Config.from_toml(f'[[backends]]\nname = "far"\nkind = "ollama"\nurl = "{url}"\n')
    assert await discover(config) == config
    assert asked == []


async def test_a_backend_declared_further_away_is_not_asked(server: MultiModelMockBackend) -> None:
    text = f'[[backends]]\nname = "tunnel"\nkind = "ollama"\nurl = "{server.url}"\nlocation = "external"\n'
    assert (await discover(Config.from_toml(text))).models == ()


async def test_a_mock_without_an_address_and_a_file_that_is_gone_add_nothing() -> None:
    text = '[[backends]]\nname = "f"\nkind = "llama_cpp"\n[[backends]]\nname = "m"\nkind = "mock"\n'
    text += '[[models]]\nid = "x"\nbackend = "f"\npath = "missing.gguf"\n'
    config = Config.from_toml(text)
    assert await discover(config) == config


async def test_a_configuration_that_cannot_be_used_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no backend is called"):
        await discover(Config.from_toml('[[models]]\nid = "m"\nbackend = "nobody"\n'))


def test_facts_left_out_are_filled_in() -> None:
    config = Config.from_toml('[[models]]\nid = "m"\nname = "Mistral"\nstrengths = ["creative"]\n')
    served = ServedModel("mistral:latest", OLLAMA | {"tools", "vision"}, 8192, 4_000, "MIT License", None)
    completed = complete(config, {"ollama": [served]})
    assert [written(model) for model in completed.models] == [
        {
            "id": "m",
            "name": "Mistral",
            "strengths": ("creative",),
            "capabilities": ("TextGeneration", "CreativeWriting", "VisionInput", "ToolUse"),
            "supports_tools": True,
            "max_context": 8192,
            "license": "mit",
            "size_bytes": 4_000,
            "memory_bytes": 4_400,
        }
    ]
    sources = completed.describe()["sources"]
    assert sources["models[0].strengths"] == "file"
    assert sources["models[0].max_context"] == "discovered"
    assert sources["models[0].memory_bytes"] == "estimated"
    assert sources["models[0].cost_tier"] == "default"


def test_nothing_declared_is_overridden() -> None:
    text = (
        '[[models]]\nid = "m"\nstrengths = []\ncapabilities = ["TextGeneration"]\nmax_context = 1\n'
        'supports_tools = true\nlicense = "mine"\nlocation = "lan"\n'
        'size_bytes = 1\nmemory_bytes = 1\nparameters = "many"\nquantization = "none"\nfamily = "own"\n'
    )
    config = Config.from_toml(text)
    served = ServedModel("m", OLLAMA | {"vision"}, 8192, 4_000, "MIT License", None, "Q4_0", "7B", "llama")
    assert complete(config, {"ollama": [served]}) == config


def test_only_a_place_is_corrected_and_only_away_from_here() -> None:
    config = Config.from_toml('[[models]]\nid = "m"\nlocation = "device"\n')
    completed = complete(config, {"ollama": [ServedModel("m", remote_host="https://example.com")]})
    assert completed.models[0].location == "external"
    assert completed.describe()["sources"]["models[0].location"] == "discovered"


def test_a_default_keeps_its_name() -> None:
    config = Config.from_toml('[defaults]\ngeneral = "mistral"\n')
    completed = complete(config, {"ollama": [ServedModel("mistral:latest", max_context=4096)]})
    assert [model.id for model in completed.models] == ["mistral"]
    assert completed.models[0].max_context == 4096
    (resolved,) = resolve(completed, {}).models
    assert (resolved.max_context, resolved.num_ctx) == (4096, None)
    assert (resolved.id, resolved.name, resolved.backend) == ("mistral", "mistral", "ollama")


def test_what_was_guessed_is_called_a_guess() -> None:
    completed = complete(Config(), {"ollama": [ServedModel("deepseek-r1:8b", OLLAMA | {"thinking"})]})
    assert completed.models[0].strengths == ("deep",)
    sources = completed.describe()["sources"]
    assert sources["models[0].strengths"] == "guessed"
    assert sources["models[0].id"] == "discovered"


@pytest.mark.parametrize(
    ("text", "answers", "ids"),
    [
        (TWO, {"a": ["x"], "b": ["y"]}, ["x", "y"]),
        (TWO, {"a": ["x"], "b": ["x"]}, ["x@a", "x@b"]),
        (TWO, {"a": ["x:latest"], "b": ["X"]}, ["x:latest@a", "X@b"]),
        (TWO + '[[models]]\nid = "x"\n', {"a": ["x"], "b": ["x"]}, ["x", "x@b"]),
        (TWO + '[[models]]\nid = "z"\naliases = ["x"]\n', {"b": ["x"]}, ["z", "x@b"]),
        (TWO + '[[models]]\nid = "z"\nname = "x"\nbackend = "b"\n', {"a": ["x"], "b": ["x"]}, ["z", "x"]),
        (TWO + '[defaults]\ncode = "x"\n', {"a": ["x"], "b": ["x"]}, ["x", "x@b"]),
        (TWO + '[[models]]\nid = "z"\naliases = ["x", "x@b"]\n', {"b": ["x"]}, ["z"]),
        (TWO + '[[models]]\nid = "p"\nname = "x"\n[[models]]\nid = "q"\nname = "x"\n', {"a": ["x"]}, ["p", "q"]),
        ("", {"ollama": ["auto", "a\nb", "", "fine"]}, ["fine"]),
        ("", {}, []),
    ],
)
def test_names_of_found_models(text: str, answers: dict[str, list[str]], ids: list[str]) -> None:
    served = {backend: [ServedModel(name) for name in names] for backend, names in answers.items()}
    completed = complete(Config.from_toml(text), served)
    assert [model.id for model in completed.models] == ids
    for model in completed.models:
        if "@" in model.id:
            assert (model.name, model.backend) == tuple(model.id.split("@"))


@pytest.mark.parametrize("word", ["", " ", "unknown", "Unknown", "Q4\n", "\x1b[31mred", "\u202eQ4", " Q4", "x" * 61])
def test_absurd_facts_are_left_out(word: str) -> None:
    told = ServedModel(
        "m", max_context=2**40, size_bytes=2**60, license="\x1b[31m", quantization=word, parameters=word,
        family=word,
    )  # fmt: skip
    (model,) = complete(Config(), {"ollama": [told]}).models
    assert written(model) == {"id": "m", "backend": "ollama", "strengths": ("general",)}


def test_a_licence_that_is_not_recognised_is_shown_and_unknown() -> None:
    completed = complete(Config(), {"ollama": [ServedModel("m", license="House Rules\nBe kind.")]})
    (model,) = resolve(completed).models
    assert completed.models[0].license == "House Rules"
    assert (model.license, model.license_tier) == (None, "unknown")


def test_what_a_model_is_completes_what_was_left_out() -> None:
    text = '[[models]]\nid = "m"\nquantization = "mine"\n[defaults]\ncode = "n"\n'
    told = [ServedModel(name, size_bytes=7, quantization="Q4_0", parameters="7B", family="llama") for name in "mn"]
    first, second = resolve(complete(Config.from_toml(text), {"ollama": told}), {}).models
    assert (first.quantization, first.parameters, first.family, first.size_bytes) == ("mine", "7B", "llama", 7)
    assert (second.quantization, second.parameters, second.family, second.size_bytes) == ("Q4_0", "7B", "llama", 7)


def test_the_size_is_guessed_from_where_it_stands() -> None:
    told = [ServedModel("a", parameters="1.5B"), ServedModel("b:70b", parameters="1.5B"), ServedModel("c")]
    models = complete(Config(), {"ollama": told}).models
    assert [model.strengths for model in models] == [("quick",), ("deep",), ("general",)]


@pytest.mark.parametrize("name", ["code", "General", "DeepThinking", "embedding"])
def test_a_found_model_with_the_name_of_a_task_gets_another_id(name: str) -> None:
    completed = complete(Config(), {"ollama": [ServedModel(name)]})
    assert [(model.id, model.name) for model in completed.models] == [(f"{name}@ollama", name)]
    assert list(ModelRouter(completed).profiles) == [f"{name}@ollama"]
