"""The tiny models as files: what a reader of the format finds in them. No engine runs here."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest

from modelway.errors import ModelwayError
from modelway.testing import TINY_MODELS, TinyModel, answer_of, write_tiny_model, write_tiny_models
from modelway.testing.tiny_models import main


def field(reader: gguf.GGUFReader, key: str) -> object:
    found = reader.get_field(key)
    assert found is not None, key
    return found.contents()


def spoken(reader: gguf.GGUFReader, start: str, limit: int) -> list[str]:
    """Walk the chain from a control token, as the engine's greedy sampling does; at most ``limit`` tokens."""
    tokens = field(reader, "tokenizer.ggml.tokens")
    weights = {tensor.name: tensor.data for tensor in reader.tensors}
    said: list[str] = []
    current = tokens.index(start)
    while len(said) < limit:
        logits = weights["output.weight"] @ weights["token_embd.weight"][current]
        current = int(np.argmax(logits))
        assert logits[current] == pytest.approx(60.0)
        assert np.count_nonzero(logits) == 1
        if tokens[current] == "<|eos|>":
            break
        said.append(tokens[current])
    return said


def text_of(tokens: list[str]) -> str:
    """Undo the byte spelling of the vocabulary, which is GPT-2's."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    bytes_of = {chr(byte): byte for byte in printable} | {chr(256 + index): byte for index, byte in enumerate(others)}
    return bytes(bytes_of[character] for token in tokens for character in token).decode()


STARTS = [
    ("tiny-general", "<|assistant|>", answer_of("tiny-general")),
    ("tiny-code", "<|assistant|>", answer_of("tiny-code")),
    ("tiny-think", "<|assistant|>", f"<think>\nFirst, weigh both sides slowly.\n</think>\n\n{answer_of('tiny-think')}"),
    ("tiny-think", "\u010a", answer_of("tiny-think")),
    ("tiny-tools", "<|answer|>", answer_of("tiny-tools")),
    ("tiny-tools", "<|assistant|>", f"<tool_call>\n{TINY_MODELS['tiny-tools'].tool_call}\n</tool_call>"),
    ("tiny-tools", "<|tool|>", TINY_MODELS["tiny-tools"].after_tool),
]


@pytest.mark.parametrize(("name", "start", "text"), STARTS)
def test_each_start_leads_through_its_script_and_to_the_end(tmp_path, name, start, text):
    reader = gguf.GGUFReader(write_tiny_model(TINY_MODELS[name], tmp_path / "model.gguf"))
    assert text_of(spoken(reader, start, 100)) == text


@pytest.mark.parametrize("name", ["tiny-endless", "tiny-slow"])
def test_a_loop_starts_again_and_a_token_is_a_word(tmp_path, name):
    reader = gguf.GGUFReader(write_tiny_model(TINY_MODELS[name], tmp_path / "model.gguf"))
    said = spoken(reader, "<|assistant|>", 405)
    assert text_of(said[:200]) == answer_of(name)
    assert said[200:] == (said[:200] * 2)[:205]


def test_the_file_says_what_the_model_is(tmp_path):
    model = TinyModel("tiny-mine", "mine", context=512, license="apache-2.0")
    reader = gguf.GGUFReader(write_tiny_model(model, tmp_path / "mine.gguf"))
    assert field(reader, "general.name") == "tiny-mine"
    assert field(reader, "general.license") == "apache-2.0"
    assert field(reader, "llama.context_length") == 512
    dim = field(reader, "llama.embedding_length")
    for tensor in reader.tensors:
        if tensor.name.startswith("blk.0.attn") and "norm" not in tensor.name:
            assert not tensor.data.any()
            assert dim in tensor.shape


@pytest.mark.parametrize(
    ("name", "marks"),
    [
        ("tiny-code", ()),
        ("tiny-tools", ("tools", "tool_call")),
        ("tiny-think", ("<think>", "</think>", "enable_thinking")),
    ],
)
def test_a_template_shows_the_capabilities_of_its_model_and_no_others(tmp_path, name, marks):
    reader = gguf.GGUFReader(write_tiny_model(TINY_MODELS[name], tmp_path / "model.gguf"))
    template = field(reader, "tokenizer.chat_template")
    every = {"tools", "tool_call", "<think>", "</think>", "enable_thinking"}
    assert {mark for mark in every if mark in template} == set(marks)


def test_padding_makes_the_model_large_and_the_file_mostly_holes(tmp_path):
    path = write_tiny_model(TINY_MODELS["tiny-slow"], tmp_path / "slow.gguf")
    status = path.stat()
    assert status.st_size > 149_000_000
    assert status.st_blocks * 512 < 5_000_000
    names = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    assert sum(tensor.n_bytes for name, tensor in names.items() if "ffn_" in name) > 149_000_000


def test_the_same_model_is_the_same_bytes(tmp_path):
    model = TINY_MODELS["tiny-tools"]
    first, second = (write_tiny_model(model, tmp_path / name).read_bytes() for name in ("a.gguf", "b.gguf"))
    assert first == second


BAD = [
    (TinyModel("bad", ""), "empty script"),
    (TinyModel("bad", "no no no"), "the end of a script"),
    (TinyModel("bad", "x y", tool_call='{"name": "f", "arguments": {}}'), "after_tool"),
]


@pytest.mark.parametrize(("model", "message"), BAD)
def test_a_model_that_can_t_be_made_is_refused_and_leaves_no_file(tmp_path, model, message):
    with pytest.raises(ModelwayError, match=message):
        write_tiny_model(model, tmp_path / "bad.gguf")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = write_tiny_model(TINY_MODELS["tiny-quick"], tmp_path / "quick.gguf")
    before = path.read_bytes()
    monkeypatch.setattr(gguf.GGUFWriter, "write_ti_data_to_file", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_tiny_model(replace(TINY_MODELS["tiny-quick"], script="another"), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_models_are_written_by_name(tmp_path):
    written = write_tiny_models(tmp_path / "new" / "folder", ["tiny-quick", "tiny-math"])
    assert {name: path.name for name, path in written.items()} == {
        "tiny-quick": "tiny-quick.gguf",
        "tiny-math": "tiny-math.gguf",
    }
    assert all(path.read_bytes()[:4] == b"GGUF" for path in written.values())


@pytest.mark.parametrize(
    ("name", "hint"), [("tiny-cod", "did you mean 'tiny-code'"), ("zzz", "there are tiny-general")]
)
def test_an_unknown_name_is_refused_before_anything_is_written(tmp_path, name, hint):
    with pytest.raises(ModelwayError, match=hint):
        write_tiny_models(tmp_path / "out", ["tiny-quick", name])
    assert not (tmp_path / "out").exists()


def test_the_command_writes_and_tells_or_fails_and_says_why(tmp_path, capsys):
    assert main([str(tmp_path), "tiny-quick"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'tiny-quick.gguf'}\n"
    assert main([str(tmp_path), "tiny-quik"]) == 1
    assert "did you mean 'tiny-quick'" in capsys.readouterr().err


def test_missing_packages_are_named_with_the_command_that_brings_them(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "modelway.testing.tiny_gguf", raising=False)
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ModelwayError, match=r"pip install 'modelway\[testing\]'"):
        write_tiny_model(TINY_MODELS["tiny-quick"], tmp_path / "quick.gguf")


def test_importing_modelway_testing_loads_neither_server_nor_numpy():
    code = "import sys, modelway.testing; print(*sorted({'aiohttp', 'numpy', 'gguf', 'asyncio'} & set(sys.modules)))"
    environment = {"PYTHONPATH": str(Path(__file__).parents[2] / "python")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "\n"


def test_every_name_of_modelway_testing_is_there():
    import modelway.testing

    assert all(getattr(modelway.testing, name) is not None for name in modelway.testing.__all__)
    assert set(modelway.testing.__all__) <= set(dir(modelway.testing))
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = modelway.testing.nope
