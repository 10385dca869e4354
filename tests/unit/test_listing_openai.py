"""What servers that speak OpenAI's protocol say of their models, each in its own way."""

from __future__ import annotations

from typing import Any

import pytest

from modelway.backends.base import ServedModel
from modelway.backends.openai_compat.listing import served_models
from modelway.errors import BackendError
from modelway.origin import Origin

ORIGIN = Origin("there")

VLLM = {
    "object": "list",
    "data": [
        {
            "id": "org/model-7b", "object": "model", "created": 1, "owned_by": "vllm", "root": "org/model-7b",
            "parent": None, "max_model_len": 32768, "permission": [{"id": "modelperm-1", "object": "model_permission"}],
        }
    ],
}  # fmt: skip
LLAMA_SERVER = {
    "models": [
        {
            "name": "m.gguf", "model": "m.gguf", "modified_at": "", "size": "", "digest": "", "type": "model",
            "description": "", "tags": [""], "capabilities": ["completion", "multimodal"], "parameters": "",
            "details": {"parent_model": "", "format": "gguf", "family": "", "families": [""], "parameter_size": "",
                        "quantization_level": ""},
        }
    ],
    "object": "list",
    "data": [
        {
            "id": "m.gguf", "object": "model", "created": 1, "owned_by": "llamacpp",
            "meta": {"vocab_type": 2, "n_vocab": 151936, "n_ctx_train": 131072, "n_embd": 3584,
                     "n_params": 7615616512, "size": 4677120000},
        }
    ],
}  # fmt: skip
LM_STUDIO = {
    "object": "list",
    "data": [{"id": "qwen2-vl-7b-instruct", "object": "model", "owned_by": "organization_owner"}],
}
LM_STUDIO_V0 = {
    "object": "list",
    "data": [
        {
            "id": "qwen2-vl-7b-instruct", "object": "model", "type": "vlm", "publisher": "mlx-community",
            "arch": "qwen2_vl", "compatibility_type": "mlx", "quantization": "4bit", "state": "not-loaded",
            "max_context_length": 32768, "capabilities": ["tool_use"],
        },
        {
            "id": "text-embedding-nomic", "object": "model", "type": "embeddings", "arch": "nomic-bert",
            "quantization": "Q4_0", "state": "loaded", "max_context_length": 2048, "loaded_context_length": 1024,
        },
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("listed", "models"),
    [
        (VLLM, [ServedModel("org/model-7b", max_context=32768)]),
        (
            LLAMA_SERVER,
            [
                ServedModel(
                    "m.gguf",
                    capabilities=frozenset({"vision"}),
                    max_context=131072,
                    size_bytes=4677120000,
                    parameters="7.6B",
                )
            ],
        ),
        (LM_STUDIO, [ServedModel("qwen2-vl-7b-instruct")]),
        (
            LM_STUDIO_V0,
            [
                ServedModel(
                    "qwen2-vl-7b-instruct",
                    capabilities=frozenset({"vision", "tools"}),
                    max_context=32768,
                    quantization="4bit",
                    family="qwen2_vl",
                ),
                ServedModel(
                    "text-embedding-nomic",
                    capabilities=frozenset({"embedding"}),
                    max_context=1024,
                    quantization="Q4_0",
                    family="nomic-bert",
                ),
            ],
        ),
    ],
    ids=["vllm", "llama-server", "lm studio", "lm studio in full"],
)
def test_each_servers_list(listed: dict[str, Any], models: list[ServedModel]) -> None:
    assert served_models(listed, ORIGIN) == models


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({}, {}),
        ({"meta": None, "architecture": None, "capabilities": None, "type": None}, {}),
        ({"meta": "x", "architecture": [], "capabilities": {"vision": True}, "type": ["vlm"], "arch": 7}, {}),
        ({"meta": {"n_ctx": 4096, "n_ctx_train": 8192, "size": 7}}, {"max_context": 4096, "size_bytes": 7}),
        ({"meta": {"n_ctx": 0, "n_ctx_train": -1, "size": 0, "n_params": 0}}, {}),
        ({"meta": {"n_params": "7B", "n_ctx_train": "8192", "size": 1.5}}, {}),
        ({"meta": {"ftype": "Q4_K - Medium", "n_params": 2**70}}, {"quantization": "Q4_K - Medium"}),
        ({"context_length": 131072, "max_model_len": True}, {"max_context": 131072}),
        ({"architecture": {"input_modalities": ["text", "image"]}}, {"capabilities": frozenset({"vision"})}),
        ({"architecture": {"input_modalities": "image"}}, {}),
        ({"type": "llm", "capabilities": ["tool_use"]}, {"capabilities": frozenset({"tools"})}),
    ],
)
def test_what_is_odd_stays_unknown(entry: dict[str, Any], expected: dict[str, Any]) -> None:
    assert served_models({"data": [{"id": "m"} | entry]}, ORIGIN) == [ServedModel("m", **expected)]


@pytest.mark.parametrize("models", [None, {}, [None], [{}], [{"model": 7}], [{"model": "m", "capabilities": None}]])
def test_an_odd_second_list_says_nothing(models: object) -> None:
    assert served_models({"data": [{"id": "m"}], "models": models}, ORIGIN) == [ServedModel("m")]


def test_entries_without_an_id_are_passed_over() -> None:
    assert served_models({"data": [{}, {"id": ""}, {"id": 7}, {"id": "m"}]}, ORIGIN) == [ServedModel("m")]


@pytest.mark.parametrize("listed", [{"data": "x"}, {"data": ["m"]}])
def test_a_list_that_is_none_is_malformed(listed: dict[str, Any]) -> None:
    with pytest.raises(BackendError) as caught:
        served_models(listed, ORIGIN)
    assert caught.value.kind == "malformed"


@pytest.mark.parametrize("listed", [{}, {"data": None}, {"data": []}])
def test_an_empty_list_is_one(listed: dict[str, Any]) -> None:
    assert served_models(listed, ORIGIN) == []
