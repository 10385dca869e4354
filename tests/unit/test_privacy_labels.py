"""Warnings beside an answer: which, and how often."""

from __future__ import annotations

import pytest

from modelway.config.trust import WarningsConfig
from modelway.privacy import labels as module
from modelway.privacy.labels import Labels
from modelway.terminology import load_words

WORDS = load_words()


def kinds(labels: Labels, config: WarningsConfig, conversation: str | None, task: str, *stakes: str) -> list[str]:
    found = labels.beside(config, WORDS, conversation=conversation, task=task, stakes=stakes)
    assert all(label.announce() == label.text for label in found)
    return [label.kind for label in found]


def test_once_a_conversation_and_kind() -> None:
    labels, on = Labels(), WarningsConfig()
    assert kinds(labels, on, "a", "math") == ["math"]
    assert kinds(labels, on, "a", "math") == []
    assert kinds(labels, on, "a", "code") == ["code"]
    assert kinds(labels, on, "b", "math") == ["math"]
    assert kinds(labels, on, None, "math") == kinds(labels, on, None, "math") == ["math"]
    assert kinds(labels, on, "a", "general") == []


def test_what_is_at_stake_has_its_own_words() -> None:
    labels, on = Labels(), WarningsConfig()
    found = labels.beside(on, WORDS, conversation="a", task="general", stakes=["tax", "legal"])
    assert [(label.kind, label.text) for label in found] == [
        ("high_stakes", WORDS.label("tax")),
        ("high_stakes", WORDS.label("legal")),
    ]
    assert kinds(labels, on, "a", "math", "tax", "medical") == ["math", "high_stakes"]


@pytest.mark.parametrize("kind", ["math", "code", "external", "high_stakes"])
def test_each_can_be_turned_off(kind: str) -> None:
    labels, config = Labels(), WarningsConfig(**{kind: False})
    told = kinds(labels, config, None, "math", "tax") + kinds(labels, config, None, "code")
    told += [
        label.kind for label in labels.before_sending(config, WORDS, conversation=None, destination="api.example.com")
    ]
    assert set(told) == {"math", "code", "external", "high_stakes"} - {kind}


def test_each_destination_is_told() -> None:
    labels, on = Labels(), WarningsConfig()

    def told(destination: str) -> list[str]:
        found = labels.before_sending(on, WORDS, conversation="a", destination=destination)
        return [label.text for label in found]

    assert told("a.example") == ["Your data will be sent to a.example."]
    assert told("a.example") == []
    assert told("b.example") == ["Your data will be sent to b.example."]


def test_only_so_many_conversations_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CONVERSATIONS", 2)
    labels, on = Labels(), WarningsConfig()
    for conversation in "abac":
        kinds(labels, on, conversation, "math")
    assert kinds(labels, on, "a", "math") == []
    assert kinds(labels, on, "b", "math") == ["math"]
