"""From a resolved configuration to a backend; and the dry run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from modelway.backends.base import ChatCall, Deadlines
from modelway.backends.factory import make_backend
from modelway.backends.llama_cpp import LlamaCppBackend
from modelway.backends.mock import MockModelConfig, MultiModelMockBackend
from modelway.backends.mock.backend import MockBackend
from modelway.backends.ollama import OllamaBackend
from modelway.backends.openai_compat import OpenAICompatBackend
from modelway.config.settings import ResolvedBackend, ResolvedModel
from modelway.errors import BackendError, ConfigError
from modelway.events import TextDelta
from modelway.pools import PoolManager
from modelway.testing import write_tiny_models

URL = "http://127.0.0.1:9"


@pytest.fixture
async def pools() -> AsyncIterator[PoolManager]:
    pools = PoolManager()
    yield pools
    await pools.aclose()


@pytest.mark.parametrize(
    ("settings", "made"),
    [
        (ResolvedBackend("a", "ollama", URL), OllamaBackend),
        (ResolvedBackend("a", "openai", URL, api_key_env="KEY"), OpenAICompatBackend),
        (ResolvedBackend("a", "llama_cpp", threads=1, context=512, parallel=2), LlamaCppBackend),
        (ResolvedBackend("a", "mock"), MockBackend),
        (ResolvedBackend("a", "mock", URL), MockBackend),
    ],
)
async def test_each_kind_makes_its_backend_and_starts_nothing(pools, settings, made):
    backend = make_backend(settings, [], pools, Deadlines())
    assert type(backend) is made
    assert backend.name == "a"
    await backend.aclose()
    await backend.aclose()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (ResolvedBackend("a", "ollama"), r"backends\.a\.url"),
        (ResolvedBackend("a", "openai"), r"backends\.a\.url"),
        (ResolvedBackend("a", "telepathy", URL), r"backends\.a\.kind.*telepathy.*ollama"),
    ],
)
async def test_what_makes_no_backend_is_named(pools, settings, words):
    with pytest.raises(ConfigError, match=words):
        make_backend(settings, [], pools, Deadlines())


async def test_llama_cpp_lists_the_models_that_have_a_file_and_those_of_its_folder(pools, tmp_path):
    paths = write_tiny_models(tmp_path / "models", ["tiny-code", "tiny-quick"])
    models = [
        ResolvedModel(id="m", backend="a", name="m", path=paths["tiny-quick"]),
        ResolvedModel(id="gone", backend="a", name="gone", path=tmp_path / "gone.gguf"),
    ]
    backend = make_backend(ResolvedBackend("a", "llama_cpp", folder=tmp_path / "models"), models, pools, Deadlines())
    assert [(model.name, model.path) for model in await backend.served()] == [
        ("m", paths["tiny-quick"]),
        ("tiny-code", paths["tiny-code"]),
    ]


def test_each_kind_imports_only_its_own_module():
    code = (
        "import sys; from modelway.backends.factory import make_backend; from modelway.backends.base import Deadlines;"
        "from modelway.pools import PoolManager; from modelway.config.settings import ResolvedBackend;"
        f"make_backend(ResolvedBackend('a', 'ollama', {URL!r}), [], PoolManager(), Deadlines());"
        "print([name for name in sys.modules if name.startswith('modelway.backends.')"
        " and any(word in name for word in ('llama_c', 'openai', 'mock'))], 'aiohttp.web' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[] False"


MODELS = [
    ResolvedModel(id="coder", backend="dry", name="code-model", max_context=64),
    ResolvedModel(id="caller", backend="dry", name="tool-model", supports_tools=True),
    ResolvedModel(id="seer", backend="dry", name="eye-model", capabilities=("TextGeneration", "VisionInput")),
]


@pytest.fixture
async def dry(pools: PoolManager) -> AsyncIterator[MockBackend]:
    backend = MockBackend("dry", MODELS, pools=pools, deadlines=Deadlines())
    yield backend
    await backend.aclose()


def call(model: str, content: object = "Hi", **fields: object) -> ChatCall:
    return ChatCall(model, model, [{"role": "user", "content": content}], **fields)  # type: ignore[arg-type]


async def text_of(backend: MockBackend, call: ChatCall) -> str:
    return "".join([event.text async for event in backend.stream(call) if isinstance(event, TextDelta)])


async def test_a_dry_run_answers_for_each_model_as_configured(dry):
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    picture = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]
    assert "code-model" in await text_of(dry, call("code-model"))
    assert "tool-model" in await text_of(dry, call("tool-model", tools=tools))
    assert "eye-model" in await text_of(dry, call("eye-model", picture))
    for refused in (call("code-model", tools=tools), call("code-model", picture), call("code-model", "x" * 1000)):
        with pytest.raises(BackendError) as caught:
            await text_of(dry, refused)
        assert caught.value.kind == "rejected"


async def test_a_dry_run_has_in_memory_what_was_asked(dry):
    assert await dry.running() == []
    await text_of(dry, call("code-model"))
    assert [model.name for model in await dry.running()] == ["code-model:latest"]


async def test_a_dry_run_lists_what_is_configured(dry):
    assert {model.name: model.max_context for model in await dry.served()} == {
        "code-model": 64,
        "tool-model": None,
        "eye-model": None,
    }


async def test_a_mock_server_of_somebody_else_is_asked_where_it_is(pools):
    async with MultiModelMockBackend({"m": MockModelConfig(reply="from there")}) as server:
        backend = MockBackend("dry", [], pools=pools, deadlines=Deadlines(), url=server.url)
        assert await text_of(backend, call("m")) == "from there"
        assert [model.name for model in await backend.served()] == ["m:latest"]
        assert [model.name for model in await backend.running()] == ["m:latest"]
        await backend.aclose()
        assert server.request_counts == {"m": 1}
