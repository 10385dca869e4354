"""How much memory a model's attention takes for each token of its context.

For each layer the keys and values of all earlier tokens are kept, each head's as 16-bit numbers:
``2 * layers * heads * (key_length + value_length)`` bytes a token (llama.cpp's ``llama_kv_cache`` with its default
types). Models that keep less (sliding windows, latent attention) are thought larger than they are.
"""

from __future__ import annotations

from collections.abc import Callable

_F16_BYTES = 2
#: Beyond this it is no model's, and not worth a thought: 2**32 layers of anything.
_LARGEST = 2**32


def kv_bytes_per_token(number: Callable[[str], int | None]) -> int | None:
    """From the facts of a GGUF head; None where it does not say enough.

    ``number`` gives the value of a key without its architecture (``attention.head_count``), None where it is absent
    or no whole number.
    """
    layers, heads = number("block_count"), number("attention.head_count")
    # An array with a number for each layer is told as None: then as many as there are heads, which is the most.
    kv_heads = number("attention.head_count_kv") or heads
    width = number("embedding_length")
    head_length = width // heads if width and heads else None
    key_length = number("attention.key_length") or head_length
    value_length = number("attention.value_length") or head_length
    if not layers or not kv_heads or not key_length or not value_length:
        return None
    bytes_per_token = _F16_BYTES * layers * kv_heads * (key_length + value_length)
    return bytes_per_token if bytes_per_token < _LARGEST else None
