"""What a backend's model files are said to be: facts from their heads, a folder's files beside declared ones."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from gguf_kit import PAIRS, head, tensor

from modelway.backends.base import ServedModel, parameters_label
from modelway.backends.llama_cpp import library as library_module
from modelway.backends.llama_cpp.library import Library

CHAT = frozenset({"completion"})
CONTEXT = 8192
LLAMA: dict[str, object] = {"general.architecture": "llama"}


def write(folder: Path, **files: bytes) -> dict[str, Path]:
    for name, data in files.items():
        (folder / f"{name}.gguf").write_bytes(data)
    return {name: folder / f"{name}.gguf" for name in files}


def served(folder: Path, data: bytes) -> ServedModel:
    path = folder / "m.gguf"
    path.write_bytes(data)
    (model,) = Library({}, folder, CONTEXT).served()
    assert (model.name, model.path, model.size_bytes) == ("m", path, len(data))
    return model


def test_all_facts_of_a_file(tmp_path: Path) -> None:
    assert served(tmp_path, data := head(PAIRS, [tensor("w", (4, 8))])) == ServedModel(
        "m",
        capabilities=frozenset({"completion", "tools"}),
        max_context=CONTEXT,
        size_bytes=len(data),
        license="apache-2.0",
        quantization="Q4_K_M",
        parameters="1.5B",
        family="qwen2",
        loaded_context=CONTEXT,
        path=tmp_path / "m.gguf",
    )


@pytest.mark.parametrize(
    ("pairs", "capabilities"),
    [
        ({}, frozenset()),
        (LLAMA, CHAT),
        (LLAMA | {"tokenizer.chat_template": "{{ messages }}"}, CHAT),
        (LLAMA | {"tokenizer.chat_template": "{% if tools %}"}, CHAT | {"tools"}),
        (LLAMA | {"tokenizer.chat_template": "<tool_call>"}, CHAT | {"tools"}),
        (LLAMA | {"tokenizer.chat_template": "", "tokenizer.chat_template.tool_use": "tools"}, CHAT | {"tools"}),
        (LLAMA | {"tokenizer.chat_template": "<think>...</think>"}, CHAT | {"thinking"}),
        (LLAMA | {"tokenizer.chat_template": "<think>"}, CHAT),
        (LLAMA | {"tokenizer.chat_template": "content.split('</think>')[-1]"}, CHAT | {"thinking"}),
        ({"general.architecture": "bert", "bert.pooling_type": 1}, frozenset({"embedding"})),
        ({"general.architecture": "nomic-bert"}, frozenset({"embedding"})),
        ({"general.architecture": "qwen3", "qwen3.pooling_type": 3}, frozenset({"embedding"})),
        ({"general.architecture": "qwen3", "qwen3.pooling_type": 0}, CHAT),
        ({"general.architecture": "t5"}, CHAT),
    ],
)
def test_what_a_model_can_do(pairs: dict[str, object], capabilities: frozenset[str], tmp_path: Path) -> None:
    assert served(tmp_path, head(pairs)).capabilities == capabilities


@pytest.mark.parametrize(("trained_for", "told"), [(2048, 2048), (131072, CONTEXT), (0, CONTEXT)])
def test_the_context_is_what_the_engine_runs_it_with(trained_for: int, told: int, tmp_path: Path) -> None:
    assert served(tmp_path, head(LLAMA | {"llama.context_length": trained_for})).max_context == told


@pytest.mark.parametrize(
    ("pairs", "licence"),
    [
        ({}, None),
        ({"general.license": "mit"}, "mit"),
        ({"general.license": "other"}, "other"),
        ({"general.license": "other", "general.license.name": "llama3.1"}, "llama3.1"),
        ({"general.license.name": "gemma"}, "gemma"),
        ({"general.license": "apache-2.0", "general.license.name": "ours"}, "apache-2.0"),
    ],
)
def test_the_licence(pairs: dict[str, object], licence: str | None, tmp_path: Path) -> None:
    assert served(tmp_path, head(LLAMA | pairs)).license == licence


def test_weights_are_counted_where_no_label_says_it(tmp_path: Path) -> None:
    # The last tensor begins where the file ends, so both are there.
    shapes = [tensor("a", (4096, 4096)), tensor("b", (4096, 14336))]
    assert served(tmp_path, head(LLAMA, shapes)).parameters == "75.5M"
    assert served(tmp_path, head(LLAMA | {"general.size_label": "8x7B"}, shapes)).parameters == "8x7B"
    assert served(tmp_path, head(LLAMA | {"split.count": 2}, shapes)).parameters is None


@pytest.mark.parametrize(
    ("count", "label"),
    [
        (0, None),
        (999, None),
        (1_000, "1.0K"),
        (137_088, "137K"),
        (134_515_008, "135M"),
        (999_400_000, "999M"),
        (999_999_999, "1.0B"),
        (1_235_814_432, "1.2B"),
        (7_615_616_512, "7.6B"),
        (70_553_706_496, "70.6B"),
        (1_026_000_000_000, "1.0T"),
        (10**15, None),
        (2**512, None),
    ],
)
def test_so_many_weights_as_people_write_it(count: int, label: str | None) -> None:
    assert parameters_label(count) == label


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no model",
        head(PAIRS)[:-1],
        head(LLAMA, [tensor("w", (4,), offset=64)]),
        head({"general.architecture": "clip"}),
        head(LLAMA | {"general.type": "adapter"}),
        head(LLAMA | {"general.type": "mmproj"}),
    ],
    ids=["empty", "text", "cut head", "cut weights", "image reader", "adapter", "projector"],
)
def test_what_cannot_be_loaded_or_is_no_model_is_left_out(data: bytes, tmp_path: Path) -> None:
    write(tmp_path, odd=data, sound=head(PAIRS))
    assert [model.name for model in Library({}, tmp_path, CONTEXT).served()] == ["sound"]


def test_a_file_that_is_left_out_is_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, odd=head(PAIRS)[:-1])
    library = Library({}, tmp_path, CONTEXT)
    with caplog.at_level(logging.WARNING):
        assert library.served() == library.served() == []
    (record,) = caplog.records
    assert "odd.gguf: it is cut off" in record.getMessage()


def test_declared_files_are_told_by_our_ids_and_not_again_from_the_folder(tmp_path: Path) -> None:
    paths = write(tmp_path, a=head(PAIRS), b=head(PAIRS), c=b"rubbish")
    (tmp_path / "link.gguf").symlink_to(paths["a"])
    library = Library({"mine": paths["a"], "odd": paths["c"], "gone": tmp_path / "gone"}, tmp_path, CONTEXT)
    models = {model.name: model for model in library.served()}
    assert set(models) == {"mine", "odd", "b"}
    assert models["mine"].quantization == "Q4_K_M"
    # The engine may know more than we do: the file is there, and the rest is unknown.
    assert models["odd"] == ServedModel(
        "odd", max_context=CONTEXT, loaded_context=CONTEXT, size_bytes=7, path=paths["c"]
    )


def test_a_file_called_like_another_model_keeps_its_ending(tmp_path: Path) -> None:
    paths = write(tmp_path, a=head(PAIRS), b=head(PAIRS))
    assert [model.name for model in Library({"B": paths["a"]}, tmp_path, CONTEXT).served()] == ["B", "b.gguf"]


def test_the_size_is_that_of_all_parts(tmp_path: Path) -> None:
    paths = write(tmp_path, **{"a-00001-of-00002": head(PAIRS), "a-00002-of-00002": b"x" * 5})
    (model,) = Library({}, tmp_path, CONTEXT).served()
    assert (model.name, model.path) == ("a", paths["a-00001-of-00002"])
    assert model.size_bytes == len(head(PAIRS)) + 5


def test_a_head_is_read_again_only_when_the_file_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    read_header = library_module.read_header

    def noted(path: Path) -> library_module.GgufHeader:
        read.append(path.stem)
        return read_header(path)

    monkeypatch.setattr(library_module, "read_header", noted)
    write(tmp_path, a=head(PAIRS), b=head(PAIRS))
    library = Library({}, tmp_path, CONTEXT)
    first = library.served()
    assert library.served() == first
    assert read == ["a", "b"]
    write(tmp_path, b=head(LLAMA), c=head(LLAMA))
    assert [(model.name, model.family) for model in library.served()] == [
        ("a", "qwen2"),
        ("b", "llama"),
        ("c", "llama"),
    ]
    assert read == ["a", "b", "b", "c"]


def test_a_folder_that_goes_away_has_no_models(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "own.gguf"
    path.write_bytes(head(PAIRS))
    models = Library({"own": path}, tmp_path / "gone", CONTEXT).served()
    assert [model.name for model in models] == ["own"]
    assert "gone" in caplog.text
