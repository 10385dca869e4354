"""Strengths guessed from a model's name."""

from __future__ import annotations

import pytest

from modelway.discovery.guesses import guess_strengths


@pytest.mark.parametrize(
    ("name", "tasks"),
    [
        ("deepseek-coder:6.7b", ("code",)),
        ("qwen2.5-coder:1.5b", ("code", "quick")),
        ("codellama:34b", ("code", "deep")),
        ("codestral:22b", ("code",)),
        ("decoded:7b", ("general",)),
        ("qwen2-math:7b", ("math",)),
        ("mathstral", ("math",)),
        ("deepseek-r1:8b", ("deep",)),
        ("deepseek-r1:1.5b", ("deep", "quick")),
        ("r1-1776:70b", ("deep",)),
        ("qwq", ("deep",)),
        ("phi4-reasoning:14b", ("deep",)),
        ("phi3:mini", ("quick",)),
        ("tinyllama", ("quick",)),
        ("smollm2:135m", ("quick",)),
        ("llama3.2:1b", ("quick",)),
        ("llama3.2:3b", ("quick",)),
        ("llama3.1:8b", ("general",)),
        ("llama3.1:70b", ("deep",)),
        ("mixtral:8x7b", ("general",)),
        ("gemini-like:9b", ("general",)),
        ("functionary:7b", ("tool_use",)),
        ("story-writer:7b", ("creative",)),
        ("Qwen2.5-Coder-0.5B", ("code", "quick")),
        ("", ("general",)),
    ],
)
def test_guess(name: str, tasks: tuple[str, ...]) -> None:
    assert guess_strengths(name) == tasks


def test_a_model_that_thinks_is_for_deep_thinking() -> None:
    assert guess_strengths("qwen3:8b", thinks=True) == ("deep",)
    assert guess_strengths("deepseek-r1:8b", thinks=True) == ("deep",)
