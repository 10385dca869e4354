"""Discovery of model files: those of a folder are added, declared ones completed, the loop is never blocked."""

from __future__ import annotations

import threading
from pathlib import Path

import gguf
import pytest
from cli_helpers import run

import modelway as mw
from modelway.backends.llama_cpp import library
from modelway.config.sections import ModelConfig
from modelway.config.settings import resolve
from modelway.discovery import discover
from modelway.testing import write_tiny_models

FILES = '[[backends]]\nname = "files"\nkind = "llama_cpp"\nfolder = "models"\n'


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose ``models`` has a model that calls tools, one for code, and one that makes vectors."""
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    write_tiny_models(tmp_path / "models" / "specialists", ["tiny-tools", "tiny-code"])
    writer = gguf.GGUFWriter(tmp_path / "models" / "embedder.gguf", "bert")
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return tmp_path


def config_in(base: Path, text: str = "") -> mw.Config:
    return mw.Config.from_toml(FILES + text, base)


def by_id(config: mw.Config) -> dict[str, ModelConfig]:
    return {model.id: model for model in config.models}


async def test_the_files_of_a_folder_are_models(base: Path) -> None:
    completed = await discover(config_in(base))
    models = by_id(completed)
    assert set(models) == {"tiny-tools", "tiny-code"}
    tools = models["tiny-tools"].model_dump(exclude_unset=True)
    path = base / "models" / "specialists" / "tiny-tools.gguf"
    size = path.stat().st_size
    # A process; one layer, one head of 32 numbers for keys and for values, two bytes each; 4,096 tokens.
    assert tools.pop("memory_bytes") == 40_000_000 + size * 11 // 10 + 2 * (32 + 32) * 4096
    assert tools.pop("size_bytes") == size
    assert tools == {
        "id": "tiny-tools",
        "backend": "files",
        "path": str(path),
        "strengths": ("quick", "tool_use"),
        "capabilities": ("TextGeneration", "LowLatency", "ToolUse"),
        "supports_tools": True,
        "max_context": 4096,
        "license": "mit",
        "family": "llama",
        "parameters": "139K",
        "quantization": "F32",
    }
    assert models["tiny-code"].supports_tools is False
    (code,) = (model for model in resolve(completed).models if model.id == "tiny-code")
    assert (code.path, code.location) == (base / "models" / "specialists" / "tiny-code.gguf", "device")


async def test_declared_files_are_completed_and_not_found_again(base: Path) -> None:
    text = '[[models]]\nid = "mine"\nbackend = "files"\nname = "tiny-tools"\nsupports_tools = false\n'
    text += '[[models]]\nid = "other"\nbackend = "files"\npath = "models/specialists/tiny-code.gguf"\n'
    models = by_id(await discover(config_in(base, text)))
    assert set(models) == {"mine", "other"}
    assert (models["mine"].supports_tools, models["mine"].quantization) == (False, "F32")
    assert (models["other"].supports_tools, models["other"].license) == (False, "mit")


async def test_asking_again_changes_nothing(base: Path) -> None:
    once = await discover(config_in(base, '[defaults]\ncode = "tiny-code"\n'))
    twice = await discover(once)
    assert twice == once
    assert twice.describe() == once.describe()


async def test_an_id_that_is_taken_stays_with_who_has_it(base: Path) -> None:
    text = '[[backends]]\nname = "ollama"\nkind = "ollama"\n[[models]]\nid = "tiny-code"\nbackend = "ollama"\n'
    once = await discover(config_in(base, text))
    assert set(by_id(once)) == {"tiny-code", "tiny-code@files", "tiny-tools"}
    assert await discover(once) == once


async def test_what_comes_and_goes_in_the_folder_is_seen(base: Path) -> None:
    config = config_in(base)
    folder = base / "models" / "specialists"
    assert set(by_id(await discover(config))) == {"tiny-tools", "tiny-code"}
    (folder / "tiny-code.gguf").rename(folder / "new-3b.gguf")
    assert set(by_id(await discover(config))) == {"tiny-tools", "new-3b"}


async def test_files_are_read_on_another_thread(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[int] = set()
    model_files = library.model_files

    def noted(folder: Path) -> list[library.ModelFile]:
        threads.add(threading.get_ident())
        return model_files(folder)

    monkeypatch.setattr(library, "model_files", noted)
    await discover(config_in(base))
    assert threads
    assert threading.get_ident() not in threads


def test_commands_know_the_files_and_what_is_not_known_of_them(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = FILES + '[[models]]\nid = "far"\nbackend = "o"\n[[backends]]\nname = "o"\nkind = "ollama"\n'
    text += 'url = "https://provider.example"\n[defaults]\ncode = "tiny-code"\n'
    (base / "models.toml").write_text(text)
    monkeypatch.chdir(base)
    listed = run("models", "--config", "models.toml")
    assert listed.exit_code == 0, listed.stderr
    heading, *rows = listed.stdout.splitlines()
    cells = {row.split()[0]: row for row in rows}
    columns = {name: heading.index(name) for name in ("PARAMETERS", "QUANTISATION", "SIZE")}
    shown = {model: [row[at:].split("  ")[0] for at in columns.values()] for model, row in cells.items()}
    assert shown["tiny-tools"][:2] == ["139K", "F32"]
    assert shown["tiny-tools"][2].endswith(" MB")
    assert shown["far"] == ["unknown"] * 3
    assert "tiny-code" in run("route", "Write a function in Rust", "--config", "models.toml").stdout
