"""What Ollama's lists and pages say of models, as servers of many versions write them."""

from __future__ import annotations

from typing import Any

import pytest

from modelway.backends.base import RunningModel, ServedModel
from modelway.backends.ollama.listing import Shown, described, named, running_model, shown_of

DETAILS = {
    "parent_model": "", "format": "gguf", "family": "qwen2", "families": None, "parameter_size": "7.6B",
    "quantization_level": "Q4_K_M",
}  # fmt: skip
PAGE = {
    "license": "MIT License\n" + "x" * 10_000,
    "modelfile": "FROM m",
    "template": "{{ .Prompt }}",
    "details": DETAILS,
    "model_info": {"general.architecture": "qwen2", "qwen2.context_length": 32768, "tokenizer.ggml.tokens": None},
    "capabilities": ["completion", "tools"],
}
FACTS: dict[str, Any] = {"quantization": "Q4_K_M", "parameters": "7.6B", "family": "qwen2"}
SHOWN = Shown(frozenset({"completion"}), 4096, "MIT", None, "Q8_0", "3.2B", "llama")


def test_a_page_is_kept_without_what_makes_it_large() -> None:
    shown = shown_of(PAGE)
    assert shown == Shown(frozenset({"completion", "tools"}), 32768, "mit", None, "Q4_K_M", "7.6B", "qwen2")


@pytest.mark.parametrize(
    ("text", "facts", "license"),
    [
        ("LLAMA 3.1 COMMUNITY LICENSE AGREEMENT", {"general.license": "mit"}, "llama3.1"),
        ("MIT License\n" + "and so on\n" * 200 + "DEEPSEEK LICENSE AGREEMENT\n", {}, "deepseek"),
        (None, {"general.license": "other", "general.license.name": "qwen-research"}, "qwen-research"),
        (None, {"general.license": "other", "general.license.link": "https://ai.google.dev/gemma/terms"}, "gemma"),
        ("House Rules", {}, "House Rules"),
        (None, {}, None),
    ],
)
def test_a_licence_is_named_by_its_text_else_by_the_file(text: Any, facts: dict[str, Any], license: Any) -> None:
    assert shown_of({"license": text, "model_info": facts}).license == license


@pytest.mark.parametrize(
    ("page", "shown"),
    [
        ({}, Shown()),
        ({"details": None, "model_info": None, "capabilities": None, "license": None}, Shown()),
        ({"details": "x", "model_info": [], "capabilities": "tools", "license": ["MIT"]}, Shown()),
        ({"details": {"family": 7, "parameter_size": "", "quantization_level": None}}, Shown()),
        ({"capabilities": ["tools", 7, None]}, Shown(frozenset({"tools"}))),
        ({"model_info": {"general.architecture": "llama"}}, Shown(family="llama")),
        ({"model_info": {"llama.context_length": 5}}, Shown()),
        ({"model_info": {"general.architecture": ["x"], "x.context_length": 5}}, Shown()),
        ({"model_info": {"general.architecture": "x", "x.context_length": 0}}, Shown(family="x")),
        ({"model_info": {"general.architecture": "x", "x.context_length": "5"}}, Shown(family="x")),
        ({"remote_host": "https://ollama.com"}, Shown(remote_host="https://ollama.com")),
    ],
)
def test_odd_pages(page: dict[str, Any], shown: Shown) -> None:
    assert shown_of(page) == shown


@pytest.mark.parametrize(
    ("entry", "shown", "expected"),
    [
        ({}, Shown(), {}),
        ({"size": 5, "details": DETAILS}, Shown(), FACTS | {"size_bytes": 5}),
        # The list's own word stands before the page's; what it lacks, the page has.
        (
            {"details": DETAILS},
            SHOWN,
            FACTS | {"capabilities": frozenset({"completion"}), "max_context": 4096, "license": "MIT"},
        ),
        (
            {"details": {"families": None}},
            SHOWN,
            {"capabilities": frozenset({"completion"}), "max_context": 4096, "license": "MIT"}
            | {"quantization": "Q8_0", "parameters": "3.2B", "family": "llama"},
        ),
        ({"details": {"context_length": 8192}}, Shown(), {"max_context": 8192}),
        ({"details": {"context_length": 8192}}, Shown(max_context=1), {"max_context": 1}),
        ({"details": {"context_length": 0}}, Shown(), {}),
        ({"capabilities": ["vision"]}, Shown(frozenset({"tools"})), {"capabilities": frozenset({"vision", "tools"})}),
        ({"capabilities": None, "details": None, "size": None}, Shown(), {}),
        ({"capabilities": {}, "details": [], "size": "5", "remote_host": ""}, Shown(), {}),
        # Whatever it says about another place is believed.
        ({"size": 5, "remote_host": 5}, Shown(), {"remote_host": "elsewhere"}),
        ({"size": 5, "remote_model": "m"}, Shown(), {"remote_host": "elsewhere"}),
        ({"size": -1}, Shown(), {}),
        ({"size": 384, "remote_host": "https://ollama.com", "remote_model": "m"}, Shown(),
         {"remote_host": "https://ollama.com"}),
        ({"size": 384}, Shown(remote_host="https://ollama.com"), {"remote_host": "https://ollama.com"}),
    ],
)  # fmt: skip
def test_entries_of_the_list(entry: dict[str, Any], shown: Shown, expected: dict[str, Any]) -> None:
    assert described({"name": "m"} | entry, shown) == ServedModel("m", **expected)


def test_entries_without_a_name_are_passed_over() -> None:
    assert named([{}, {"name": ""}, {"name": None}, {"name": 7}, {"name": "m"}]) == [{"name": "m"}]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({}, {}),
        ({"size": 7, "size_vram": 0, "context_length": 4096}, {"size_bytes": 7, "vram_bytes": 0, "context": 4096}),
        ({"size": 7, "size_vram": 7}, {"size_bytes": 7, "vram_bytes": 7}),
        ({"size": "7", "size_vram": None, "context_length": 0}, {}),
    ],
)
def test_what_is_in_memory(entry: dict[str, Any], expected: dict[str, Any]) -> None:
    assert running_model({"name": "m"} | entry) == RunningModel("m", **expected)
