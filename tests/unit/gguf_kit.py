"""Heads of GGUF files, written byte by byte, so that tests can write wrong ones too."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

TEXT, ARRAY = 8, 9
#: The type that a Python value is written as.
_OF_PYTHON = {bool: (7, "<?"), int: (4, "<I"), float: (6, "<f")}


def text(value: str | bytes) -> bytes:
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(raw)) + raw


def value(given: object) -> bytes:
    """A value with its type; bytes are taken as they are."""
    if isinstance(given, bytes):
        return given
    if isinstance(given, str):
        return struct.pack("<I", TEXT) + text(given)
    if isinstance(given, list):
        return struct.pack("<IIQ", ARRAY, TEXT, len(given)) + b"".join(map(text, given))
    number, form = _OF_PYTHON[type(given)]
    return struct.pack("<I", number) + struct.pack(form, given)


def tensor(name: str, shape: Sequence[int], offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, offset)


def head(
    pairs: Mapping[str, object],
    tensors: Sequence[bytes] = (),
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    counts: tuple[int, int] | None = None,
) -> bytes:
    """``counts``: how many tensors and pairs it says it has; None: as many as it has."""
    told = counts or (len(tensors), len(pairs))
    body = b"".join(text(key) + value(given) for key, given in pairs.items())
    return magic + struct.pack("<IQQ", version, *told) + body + b"".join(tensors)


#: What a real model says, the vocabulary made short.
PAIRS: dict[str, object] = {
    "general.architecture": "qwen2",
    "general.type": "model",
    "general.size_label": "1.5B",
    "general.license": "apache-2.0",
    "qwen2.context_length": 32768,
    "qwen2.rope.freq_base": 1e6,
    "general.file_type": 15,
    "tokenizer.ggml.tokens": ["a", "", "the", "\u2581longer word"] * 40,
    "tokenizer.ggml.scores": struct.pack("<IIQ", ARRAY, 6, 4) + bytes(16),
    "tokenizer.ggml.add_bos_token": False,
    "tokenizer.chat_template": "{% if tools %}<tool_call>{% endif %}",
}
