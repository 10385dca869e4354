"""The classifier's features and scores, slow and obvious: what the Rust core must agree with.

A text becomes hashes of words, of pairs of words and of every four characters of a word; a chain over its
first three words; and 31 counts. Scores are sums of rows of the weights' file.
"""

from __future__ import annotations

import re
import struct
import unicodedata
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

WHOLE = (1 << 64) - 1
MIX, MIX_PAIR, MIX_FOUR = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x9E3779B1
SAMPLE_BYTES, BUCKETS = 2048, 64512

INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff\U000e0000-\U000e007f]")
CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f]")
WIDE = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]"
)
MARKS = ["?؟", "!", ".。", ",、", ":", ";", '"“”', "(", "[", "{}", "=", "+*^/", "<>", "_", "`", "$", "\\", "|&%#@~"]
MATH_SIGN = re.compile("[\u2200-\u22ff×÷±πθ→⇒]")
COUNTED = (
    re.compile(r"[0-9]+(?:[.,][0-9]+)*"),
    re.compile(r"(?m)^[ \t]*(?:[-*]|[0-9]{1,3}[.)]) "),
    re.compile(r"(?m)[;{}][ \t\r]*$"),
    re.compile(r"[0-9] ?[+*] ?(?=[0-9])|[0-9] [-/] (?=[0-9])"),
    re.compile(r"[a-z0-9)]\^|[0-9][xyz]\b|\b[xyzn] ?[=+*] ?[-0-9a-z(]"),
    MATH_SIGN,
)
POLITE = {
    *("please", "hi", "hello", "hey", "kindly", "thanks", "thank", "you", "can", "could", "would", "i", "need", "want"),
    *("to", "like", "me", "help", "with", "my", "dear", "sir", "so", "ok", "okay", "well", "just"),
}


def sample(text: str) -> list[str]:
    """The text, or its first and last 1,024 bytes cut between characters."""
    data = text.encode()
    if len(data) <= SAMPLE_BYTES:
        return [text]
    head, tail = data[: SAMPLE_BYTES // 2], data[-SAMPLE_BYTES // 2 :]
    return [head.decode(errors="ignore"), tail.decode(errors="ignore")]


def normal(text: str) -> str:
    """Lower case, NFKC, no accents of Latin letters, no controls, nothing invisible; grown by a quarter at most."""
    out = []
    for c in unicodedata.normalize("NFKC", INVISIBLE.sub("", CONTROL.sub("", text))):
        for lower in c.lower():
            if "\u00c0" <= lower <= "\u024f" or "\u1e00" <= lower <= "\u1eff":
                base = unicodedata.normalize("NFD", lower)[0]
                out.append(base if base.isascii() else lower)
            elif not "\u0300" <= lower <= "\u036f":
                out.append(lower)
    return "".join(out).encode()[: len(text.encode()) // 4 * 5 + 64].decode(errors="ignore")


def kind(c: str) -> str:
    """``wide``, ``word``, ``blank`` or ``sign``."""
    if WIDE.match(c):
        return "wide"
    if unicodedata.category(c)[0] in "LNM" or c == "_":
        return "word"
    return "blank" if c.isspace() and c != "\n" else "sign"


def tokens(text: str) -> list[tuple[str, str]]:
    """(kind, token): words are runs of word characters, everything else stands alone."""
    found: list[tuple[str, str]] = []
    may_join = False
    for c in text:
        of = kind(c)
        if of == "word" and may_join:
            found[-1] = ("word", found[-1][1] + c)
        elif of != "blank":
            found.append((of, c))
        may_join = of == "word"
    return found


def symbols(word: str) -> bytes:
    """A byte for each letter, two for each of a large set; digits are all alike."""
    out = bytearray()
    for c in word:
        code = ord(c)
        if code < 0x80:
            out.append(0x30 if c.isdigit() else code | 0x20)
        elif code < 0x1000:
            out.append(0x80 | code & 0x7F)
        else:
            out += bytes([0x80 | code >> 7 & 0x7F, 0x80 | code & 0x7F])
    return bytes(out)


def key(kind: str, token: str) -> int:
    """A word's first eight symbols with the others mixed in, eight at a time; any other character's number."""
    if kind != "word":
        return 1 << 63 | ord(token)
    mixed = 0
    data = symbols(token)
    for at in range(0, len(data), 8):
        rotated = (mixed << 25 | mixed >> 39) & WHOLE
        mixed = rotated * MIX & WHOLE ^ int.from_bytes(data[at : at + 8], "little")
    return mixed


def upper_half(hashed: int) -> int:
    return (hashed * MIX & WHOLE) >> 32


def pair(before: int, hashed: int) -> int:
    return upper_half(before * MIX_PAIR + hashed & WHOLE)


def fours(word: str) -> list[int]:
    """Every four symbols of a word with a blank at both ends."""
    data = b" " + symbols(word) + b" "
    return [int.from_bytes(data[at : at + 4], "little") * MIX_FOUR & 0xFFFFFFFF for at in range(len(data) - 3)]


def extract(text: str) -> tuple[list[int], list[int], list[int]]:
    """Ids of n-grams, ids of the opening, the 31 counts."""
    ids: list[int] = []
    opening: list[int] = []
    chain, is_polite, last = 0x51ED, True, ""
    marks, kinds, found = [0] * len(MARKS), Counter[str](), [0] * len(COUNTED)
    lines = foreign = 0
    for raw in sample(text):
        part = normal(raw)
        before = {"word": 0, "wide": 0}
        for of, token in tokens(part):
            if token == "\n":
                continue
            hashed = key(of, token)
            ids.append(upper_half(hashed))
            for place, same in enumerate(MARKS):
                marks[place] += sum(token.count(mark) for mark in same)
            if of == "sign":
                continue
            kinds[of] += 1
            if of == "word":
                ids += fours(token)
                foreign += not token.isascii()
            if before[of]:
                ids.append(pair(before[of], hashed))
            before = {"word": 0, "wide": 0, of: hashed}
            is_polite = is_polite and of == "word" and token in POLITE
            if len(opening) < 3 and not is_polite:
                chain = ((chain * MIX_PAIR & WHOLE) ^ hashed) * MIX & WHOLE
                opening.append(upper_half(chain ^ len(opening)))
        last = part.rstrip()[-1:] or last
        lines += part.strip().count("\n")
        for place, pattern in enumerate(COUNTED):
            found[place] += len(pattern.findall(part))
    numbers, *others = found
    words = kinds["word"] + kinds["wide"] // 2
    ends = [int(last in ("?", "؟")), int(last == ":")]
    counts = [*marks, numbers, lines, *others, kinds["wide"], foreign, *ends, words, len(text.encode())]
    return ids, opening, counts


def row(text: str, space: dict[str, Any]) -> dict[int, float]:
    """A row of the training matrix: column -> value."""
    ids, opening, counts = extract(text)
    values: dict[int, float] = {}
    for one, count in Counter(one * BUCKETS >> 32 for one in ids).items():
        values[one] = count / max(1, len(ids)) ** 0.5
    for one in opening:
        place = one * BUCKETS >> 32
        values[place] = values.get(place, 0.0) + space["opening"]
    levels = [(count, level) for count, levels in zip(counts, space["thresholds"], strict=True) for level in levels]
    for column, (count, level) in enumerate(levels, BUCKETS):
        if count >= level:
            values[column] = space["level"]
    return values


class Weights:
    """A file of weights, and the scores it gives."""

    def __init__(self, blob: bytes) -> None:
        shapes, rows = struct.unpack_from("<II", blob, 16)
        self.unit, self.head_unit, self.opening, self.temperature = struct.unpack_from("<4f", blob, 24)
        at = 88
        self.levels = list(blob[at : at + shapes])
        at += shapes + -shapes % 4
        self.thresholds = np.frombuffer(blob, "<u4", rows, at)
        self.bias = np.frombuffer(blob, "<f4", 8, at + 4 * rows)
        self.shape = np.frombuffer(blob, "<f4", rows * 8, at + 4 * rows + 32).reshape(rows, 8)
        self.table = np.frombuffer(blob, np.int8, BUCKETS * 8, at + 36 * rows + 32).reshape(BUCKETS, 8)

    def scores(self, text: str) -> NDArray[np.float64]:
        """Seven logits before the temperature, and complexity as its head has it."""
        ids, opening, counts = extract(text)
        summed = [
            self.table[[one * BUCKETS >> 32 for one in some]].astype(np.int64).sum(axis=0) for some in (ids, opening)
        ]
        units = np.array([self.unit] * 7 + [self.head_unit])
        scores = (summed[0] / max(1, len(ids)) ** 0.5 + self.opening * summed[1]) * units + self.bias
        at = 0
        for count, levels in zip(counts, self.levels, strict=True):
            reached = int((self.thresholds[at : at + levels] <= count).sum())
            if reached:
                scores = scores + self.shape[at + reached - 1]
            at += levels
        return scores
