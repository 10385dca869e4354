"""What a GGUF file says of its model, read from its head alone: versions 2 and 3 of the format, little-endian.

The head is: ``GGUF``, the version, how many tensors and pairs follow, the pairs (a key, a type, a value), the
tensors' names and shapes. Most of it is the vocabulary, hundreds of thousands of texts that are walked over and not
kept. A file may come from anywhere, so no length in it is believed before it is held against what is left of the
head, which ends with the file and at the latest after ``MAX_HEADER_BYTES``.

Sources: ggml's ``docs/gguf.md`` for the layout, llama.cpp's ``llama_ftype`` for the names of quantisations.
"""

from __future__ import annotations

import math
import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from modelway.backends.kv_cache import kv_bytes_per_token
from modelway.errors import ModelwayError

#: The largest vocabularies in use take some 20 MiB.
MAX_HEADER_BYTES = 64 << 20
#: Files in use have up to a hundred pairs and some thousand tensors.
MAX_PAIRS = 10_000
MAX_TENSORS = 100_000
#: The format's own limit for keys is 65,535; of texts, chat templates are the longest, with some 30 kB.
MAX_TEXT_BYTES = 1 << 20
#: The most that is read at once.
CHUNK_BYTES = 1 << 18

MAGIC = b"GGUF"
_MAX_DIMENSIONS = 8
_TEXT, _ARRAY = 8, 9
#: By the number of its type: a scalar as the struct module spells it.
_SCALARS = {
    0: struct.Struct("<B"), 1: struct.Struct("<b"), 2: struct.Struct("<H"), 3: struct.Struct("<h"),
    4: struct.Struct("<I"), 5: struct.Struct("<i"), 6: struct.Struct("<f"), 7: struct.Struct("<?"),
    10: struct.Struct("<Q"), 11: struct.Struct("<q"), 12: struct.Struct("<d"),
}  # fmt: skip
_U32, _U64 = _SCALARS[4], _SCALARS[10]

#: ``general.file_type`` -> the quantisation of most weights. Numbers that are not here were given up.
FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS",
    20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M",
    28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE",
    39: "NVFP4", 40: "Q1_0",
}  # fmt: skip

_Value = int | float | str


class GgufError(ModelwayError, ValueError):
    """A file that is no GGUF file, or none that can be loaded; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What the head of a file says; None or empty where it does not say, or says it in another type.

    ``kind`` is ``general.type`` (model, adapter, mmproj ...), ``size_label`` the size in its maker's words (135M,
    8x7B), ``parameter_count`` the weights in this file, which may be one of several ``parts``. ``pooling_type`` is
    there in models that turn a text into one vector. ``kv_bytes_per_token`` is the memory that each token of its
    context takes. ``chat_template`` holds all of its templates.
    """

    architecture: str | None = None
    kind: str | None = None
    context_length: int | None = None
    quantization: str | None = None
    license: str | None = None
    license_name: str | None = None
    license_link: str | None = None
    size_label: str | None = None
    parameter_count: int = 0
    parts: int = 1
    pooling_type: int | None = None
    kv_bytes_per_token: int | None = None
    chat_template: str = ""


def read_header(path: Path) -> GgufHeader:
    """Read the head of the file at ``path``: at most ``MAX_HEADER_BYTES`` of it, some tens of milliseconds.

    Raises :class:`GgufError`, and ``OSError`` as files do. Blocks: not for an event loop.
    """
    # Opening a pipe would wait for somebody to write to it.
    if not stat.S_ISREG(path.stat().st_mode):
        raise GgufError("it is no file")
    with path.open("rb") as file:
        return parse_header(file, os.fstat(file.fileno()).st_size)


def parse_header(file: BinaryIO, size: int) -> GgufHeader:
    """The same for an open file of ``size`` bytes, read from where it stands."""
    head = _Head(file, size)
    if head.left < len(MAGIC) or head.take(len(MAGIC)) != MAGIC:
        raise GgufError("it does not begin like a GGUF file")
    version = head.number(_U32)
    if version not in (2, 3):
        swapped = version and version & 0xFFFF == 0
        raise GgufError("it is made for big-endian machines" if swapped else f"version {version} of GGUF is not known")
    tensors, pairs = head.number(_U64), head.number(_U64)
    if pairs > MAX_PAIRS or tensors > MAX_TENSORS:
        raise GgufError(f"{pairs:,} pairs and {tensors:,} tensors are more than any model has")
    values: dict[str, _Value] = {}
    for _ in range(pairs):
        key = head.text()
        value = head.value(is_kept=_is_wanted(key))
        if value is not None:
            values.setdefault(key, value)
    parameter_count = head.weights(tensors)
    return _described(values, parameter_count)


#: The ends of an architecture's own keys.
_OF_ARCHITECTURE = (
    ".context_length", ".pooling_type", ".block_count", ".embedding_length", ".attention.head_count",
    ".attention.head_count_kv", ".attention.key_length", ".attention.value_length",
)  # fmt: skip


def _is_wanted(key: str) -> bool:
    return key.startswith(("general.", "split.", "tokenizer.chat_template")) or key.endswith(_OF_ARCHITECTURE)


def _described(values: dict[str, _Value], parameter_count: int) -> GgufHeader:
    def text(key: str) -> str | None:
        value = values.get(key)
        return value if isinstance(value, str) and value else None

    def number(key: str) -> int | None:
        value = values.get(key)
        return value if type(value) is int and value >= 0 else None

    architecture = text("general.architecture")
    file_type = number("general.file_type")
    templates = [value for key, value in values.items() if key.startswith("tokenizer.chat_template")]
    return GgufHeader(
        architecture=architecture,
        kind=text("general.type"),
        context_length=number(f"{architecture}.context_length") or None,
        quantization=None if file_type is None else FILE_TYPES.get(file_type),
        license=text("general.license"),
        license_name=text("general.license.name"),
        license_link=text("general.license.link"),
        size_label=text("general.size_label"),
        parameter_count=parameter_count,
        parts=number("split.count") or 1,
        pooling_type=number(f"{architecture}.pooling_type"),
        kv_bytes_per_token=kv_bytes_per_token(lambda key: number(f"{architecture}.{key}")),
        chat_template="\n".join(template for template in templates if isinstance(template, str)),
    )


class _Head:
    """A file read forwards in chunks. Every step is held against the head's end before it is taken."""

    def __init__(self, file: BinaryIO, size: int):
        self._file = file
        self._size = size
        self._end = min(size, MAX_HEADER_BYTES)
        self._chunk = b""
        self._at = 0  # in the chunk, or beyond it where bytes are to be passed over
        self._read = 0  # up to the chunk's end

    @property
    def left(self) -> int:
        """Bytes from here to the head's end; negative beyond it."""
        return self._end - (self._read - len(self._chunk) + self._at)

    def take(self, count: int) -> bytes:
        self._need(count)
        if self._at + count > len(self._chunk):
            self._load(count)
        taken = self._chunk[self._at : self._at + count]
        self._at += count
        return taken

    def skip(self, count: int) -> None:
        self._need(count)
        self._at += count

    def number(self, kind: struct.Struct) -> int:
        value: int = kind.unpack(self.take(kind.size))[0]
        return value

    def text(self) -> str:
        """A text that is needed to go on; bytes that are no UTF-8 become U+FFFD."""
        length = self.number(_U64)
        self._need(length)
        if length > MAX_TEXT_BYTES:
            raise GgufError(f"a name of {length:,} bytes is more than any model has")
        return self.take(length).decode("utf-8", "replace")

    def value(self, *, is_kept: bool) -> _Value | None:
        """The value of a pair; None for an array, a text too long to mean anything here, and what is not kept."""
        kind = self.number(_U32)
        if kind == _ARRAY:
            self._skip_array()
            return None
        if kind == _TEXT:
            length = self.number(_U64)
            if is_kept and length <= MAX_TEXT_BYTES:
                return self.take(length).decode("utf-8", "replace")
            self.skip(length)
            return None
        scalar: _Value = self._scalar(kind).unpack(self.take(self._scalar(kind).size))[0]
        return scalar if is_kept else None

    def weights(self, tensors: int) -> int:
        """The number of weights of all tensors, whose descriptions stand here and must lead into the file."""
        weights = furthest = 0
        for _ in range(tensors):
            self.text()
            dimensions = self.number(_U32)
            if dimensions > _MAX_DIMENSIONS:
                raise GgufError(f"a tensor of {dimensions:,} dimensions is more than any model has")
            weights += math.prod(self.number(_U64) for _ in range(dimensions))
            self.skip(_U32.size)
            furthest = max(furthest, self.number(_U64))
        if furthest > self._size - (self._end - self.left):
            raise GgufError("it is cut off: weights are missing at its end")
        return weights

    def _skip_array(self) -> None:
        kind, count = self.number(_U32), self.number(_U64)
        if kind == _TEXT:
            self._skip_texts(count)
        elif kind == _ARRAY:
            raise GgufError("it has arrays in arrays, which no model has")
        else:
            self.skip(count * self._scalar(kind).size)

    def _skip_texts(self, count: int) -> None:
        """The one loop that takes time: its turns are the vocabulary."""
        self._need(count * _U64.size)
        length_at, size = _U64.unpack_from, _U64.size
        while count:
            self._need(size)
            if self._at + size > len(self._chunk):
                self._load(size)
            chunk, at = self._chunk, self._at
            last = len(chunk) - size
            while count and at <= last:
                at += size + length_at(chunk, at)[0]
                count -= 1
            self._at = at
        self._need(0)

    def _scalar(self, kind: int) -> struct.Struct:
        scalar = _SCALARS.get(kind)
        if scalar is None:
            raise GgufError(f"it has a value of type {kind}, which is not known")
        return scalar

    def _need(self, count: int) -> None:
        if count > self.left:
            if self._end == self._size:
                raise GgufError(f"it is cut off: its head is longer than the file, which has {self._size:,} bytes")
            raise GgufError(f"its head is longer than {MAX_HEADER_BYTES >> 20} MiB, which no model's is")

    def _load(self, count: int) -> None:
        """Have at least ``count`` bytes, which are there, in the chunk."""
        beyond = self._at - len(self._chunk)
        kept = self._chunk[self._at :]
        if beyond > 0:
            self._file.seek(beyond, os.SEEK_CUR)
            self._read += beyond
        more = self._file.read(min(max(count, CHUNK_BYTES), self._end - self._read))
        self._chunk, self._at = kept + more, 0
        self._read += len(more)
        if len(self._chunk) < count:
            raise GgufError("it became shorter while it was read")
