"""The gateway's ``/api/tags`` tells what is known of a model, and leaves empty what is not."""

from __future__ import annotations

from datetime import UTC, datetime

from modelway.config import Config
from modelway.gateway.listing import ollama_tags
from modelway.router import ModelRouter


def test_tags_tell_what_is_known_of_a_model() -> None:
    text = '[[models]]\nid = "a"\nfamily = "llama"\nparameters = "7.6B"\nquantization = "Q4_K_M"\nsize_bytes = 5\n'
    text += 'memory_bytes = 9\n[[models]]\nid = "b"\nmemory_bytes = 9\n[[models]]\nid = "c"\n'
    router = ModelRouter(Config.from_toml(text))
    listed = {entry["name"]: entry for entry in ollama_tags(router, datetime.now(UTC))["models"]}
    keys = ("family", "parameter_size", "quantization_level")
    told = {name: (entry["size"], *map(entry["details"].get, keys)) for name, entry in listed.items()}
    assert (told["a"], told["b"], told["c"]) == ((5, "llama", "7.6B", "Q4_K_M"), (9, "", "", ""), (0, "", "", ""))
    assert told["auto"] == (0, "", "", "")
