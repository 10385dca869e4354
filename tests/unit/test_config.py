"""Loading: where a configuration is looked for, what it holds then, and where each value came from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from modelway.config import Config, load_config
from modelway.config.settings import resolve
from modelway.errors import ConfigError

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("MODELWAY_CONFIG", "OLLAMA_HOST"):
        monkeypatch.delenv(variable, raising=False)
    for variable in ("XDG_CONFIG_HOME", "HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)


def marked(port: int) -> str:
    """A configuration that is told from others by its port."""
    return f"[server]\nport = {port}\n"


def user_file() -> Path:
    import platformdirs

    return platformdirs.user_config_path("modelway") / "modelway.toml"


def test_first_listing_of_the_design_document() -> None:
    config = load_config(DATA / "design_defaults.toml")
    assert config.defaults == {
        "general": "llama3.1:8b",
        "code": "deepseek-coder:6.7b",
        "math": "qwen2-math:7b",
        "quick": "phi3:mini",
        "deep": "llama3.1:8b",
        "creative": "mistral:7b",
    }
    assert config.routing.math_keywords == ("calculate", "solve", "equation", "integral", "prove")
    assert config.fallbacks.chains["code"] == ("deep", "general")
    assert (config.timeouts.quick_ms, config.timeouts.standard_ms, config.timeouts.deep_ms) == (100, 2000, 30000)
    assert config.privacy.allow_external is False
    assert config.models == ()


def test_second_listing_of_the_design_document() -> None:
    (model,) = load_config(DATA / "design_profile.toml").models
    assert model.id == "deepseek-coder:6.7b"
    assert model.backend == "ollama"
    assert model.strengths == ("code", "tool_use")
    assert model.weaknesses == ("creative",)
    assert (model.avg_ttft_ms, model.avg_tokens_per_sec) == (150, 40.0)
    assert (model.max_context, model.memory_bytes) == (16384, 6_000_000_000)
    assert (model.supports_streaming, model.supports_tools, model.cost_tier) == (True, True, "free")


def test_both_listings_in_one_file_are_the_example() -> None:
    listings = [(DATA / name).read_text() for name in ("design_defaults.toml", "design_profile.toml")]
    assert (ROOT / "examples" / "models.toml").read_text() == "\n".join(listings)
    models = {model.id: model for model in resolve(load_config(ROOT / "examples" / "models.toml")).models}
    assert list(models) == ["deepseek-coder:6.7b", "llama3.1:8b", "qwen2-math:7b", "phi3:mini", "mistral:7b"]
    assert models["deepseek-coder:6.7b"].supports_tools
    assert {model.backend for model in models.values()} == {"ollama"}


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.toml")), ids=lambda path: path.name)
def test_every_example_resolves(example: Path) -> None:
    assert resolve(load_config(example)).models


def test_nothing_configured_is_the_built_in_default() -> None:
    config = load_config()
    assert config.source is None
    assert config == Config.from_toml("")
    assert config.models == ()
    (backend,) = resolve(config, {}).backends
    assert (backend.name, backend.kind, backend.url) == ("ollama", "ollama", "http://127.0.0.1:11434")


def test_places_are_tried_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    user_file().parent.mkdir(parents=True)
    user_file().write_text(marked(1))
    assert load_config().server.port == 1
    assert load_config().source == user_file()

    Path("modelway.toml").write_text(marked(2))
    assert load_config().server.port == 2
    assert load_config().source == Path.cwd() / "modelway.toml"

    named = tmp_path / "named.toml"
    named.write_text(marked(3))
    monkeypatch.setenv("MODELWAY_CONFIG", str(named))
    assert load_config().server.port == 3

    given = tmp_path / "given.toml"
    given.write_text(marked(4))
    assert load_config(given).server.port == 4
    assert load_config(str(given)).source == given


def test_a_file_that_was_named_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELWAY_CONFIG", "gone.toml")
    with pytest.raises(ConfigError, match=r"gone\.toml: can't be read: No such file"):
        load_config()


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    file = tmp_path / "bom.toml"
    file.write_bytes(b"\xef\xbb\xbf" + marked(5).encode())
    assert load_config(file).server.port == 5


def test_model_files_are_relative_to_their_configuration(tmp_path: Path) -> None:
    text = '[[backends]]\nname = "f"\nkind = "llama_cpp"\n[[models]]\nid = "m"\nbackend = "f"\npath = "x/m.gguf"\n'
    file = tmp_path / "modelway.toml"
    file.write_text(text)
    assert resolve(load_config(file)).models[0].path == tmp_path / "x" / "m.gguf"
    assert resolve(Config.from_toml(text, base_dir=tmp_path / "y")).models[0].path == tmp_path / "y" / "x" / "m.gguf"
    assert resolve(Config.from_toml(text)).models[0].path == Path.cwd() / "x" / "m.gguf"


def test_an_absolute_model_file_stays(tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    text = f'[[backends]]\nname = "f"\nkind = "llama_cpp"\n[[models]]\nid = "m"\nbackend = "f"\npath = "{file}"\n'
    assert resolve(Config.from_toml(text, base_dir="elsewhere")).models[0].path == file


@pytest.mark.parametrize("spelling", ["code", "CodeGeneration"])
def test_tasks_are_accepted_short_and_long(spelling: str) -> None:
    config = Config.from_toml(
        f'[defaults]\n{spelling} = "m"\n[fallbacks]\n{spelling} = ["DeepThinking", "m", "general"]\n'
        f'[[models]]\nid = "m"\nstrengths = ["{spelling}"]\nweaknesses = ["Creative"]\n'
    )
    assert config.defaults == {"code": "m"}
    assert config.fallbacks.chains == {"code": ("deep", "m", "general")}
    assert config.models[0].strengths == ("code",)
    assert config.models[0].weaknesses == ("creative",)


def test_a_configuration_is_frozen() -> None:
    config = Config.from_toml("")
    with pytest.raises(ValidationError, match="frozen"):
        config.server.port = 1  # type: ignore[misc]


def test_describe_names_each_value_and_its_source(tmp_path: Path) -> None:
    file = tmp_path / "modelway.toml"
    file.write_text('[server]\nport = 1234\n[defaults]\ncode = "m"\n[[models]]\nid = "m"\nbackend = "ollama"\n')
    described = load_config(file).describe()
    assert json.loads(json.dumps(described)) == described
    assert described["source"] == str(file)
    assert described["values"]["server"] == {
        "host": "127.0.0.1",
        "port": 1234,
        "notice_after_ms": 2000,
        "write_timeout_ms": 30000,
    }
    sources = described["sources"]
    assert sources["server.port"] == "file"
    assert sources["server.host"] == "default"
    assert sources["defaults"] == "file"
    assert sources["models[0].id"] == "file"
    assert sources["models[0].max_context"] == "default"
    assert sources["backends[0].name"] == "default"
    assert sources["health.backoff_ms"] == "default"


def test_describe_tells_the_address_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    described = Config().describe()
    assert described["source"] is None
    assert described["values"]["backends"][0]["url"] == "http://127.0.0.1:11434"
    assert described["sources"]["backends[0].url"] == "default"

    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:4000")
    described = Config().describe()
    assert described["values"]["backends"][0]["url"] == "http://127.0.0.1:4000"
    assert described["sources"]["backends[0].url"] == "$OLLAMA_HOST"


def test_every_key_is_documented() -> None:
    seen = []

    def walk(schema: dict[str, object]) -> None:
        for name, field in schema.get("properties", {}).items():  # type: ignore[attr-defined]
            seen.append(name)
            assert field.get("description"), name

    schema = Config.model_json_schema()
    walk(schema)
    for section in schema["$defs"].values():
        walk(section)
    assert {"defaults", "port", "cost_tier", "api_key_env", "failures_to_open"} <= set(seen)
