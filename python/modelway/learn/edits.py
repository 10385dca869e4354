"""Five kinds of small edits that leave the meaning of a prompt as it was; an answer should stay too.

Each edit of each text draws on a random generator of its own, seeded by the seed, the kind and the text: the
same pair comes out whatever stands beside it in the file.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_WORD = re.compile(r"[^\W\d_]{4,}")  # a slip in a shorter word makes another word
_PREFIXES = (
    "Please ", "please, ", "Hi! ", "Hello, ", "Could you please help me with this? ", "Hey there, quick request: ",
    "Good morning. ", "Would you mind helping? ", "If you don't mind, ", "I would be grateful for your help: ",
    "Kindly ", "Dear assistant, ",
)  # fmt: skip


def edited(text: str, kind: str, seed: int) -> str:
    """``text`` after one edit of ``kind``, a key of ``EDITS``; the text itself where there is nothing to edit."""
    return EDITS[kind](text, random.Random(f"{seed}:{kind}:{text}"))


def _typo(text: str, chance: random.Random) -> str:
    words = list(_WORD.finditer(text))
    if not words:
        return text
    word = chance.choice(words)
    at = chance.randrange(word.start() + 1, word.end() - 1)  # people read, and mistype, less at the ends of words
    before, letter, after = text[:at], text[at], text[at + 1 :]
    swapped = after[0] + letter + after[1:]
    return before + chance.choice((swapped, after, letter + letter + after, chance.choice(_LETTERS) + after))


def _case(text: str, chance: random.Random) -> str:
    first = text[:1].swapcase() + text[1:]
    return chance.choice((text.lower(), text.upper(), text.title(), first, text.capitalize()))


def _punctuation(text: str, chance: random.Random) -> str:
    bare = text.rstrip()
    open_ended = bare.rstrip("?.!")
    return chance.choice(
        (
            open_ended or bare,
            open_ended + chance.choice(("?", ".", "!", "??", "...")),
            bare.replace(",", "") if "," in bare else bare + chance.choice("!."),
            bare.replace("'", "") if "'" in bare else bare + ".",
        )
    )


def _whitespace(text: str, chance: random.Random) -> str:
    sentences = re.sub(r"[ \t]+$", "", text, flags=re.M).replace(". ", ".\n")
    return chance.choice(("  " + text, text + "\n\n", text.replace(" ", "  "), "\n" + text + " ", sentences))


def _polite_prefix(text: str, chance: random.Random) -> str:
    prefix = chance.choice(_PREFIXES)
    runs_on = prefix[-2] not in ".!?:"
    return prefix + (text[:1].lower() + text[1:] if runs_on and chance.random() < 0.5 else text)


#: The edits by kind.
EDITS: dict[str, Callable[[str, random.Random], str]] = {
    "typo": _typo,
    "case": _case,
    "punctuation": _punctuation,
    "whitespace": _whitespace,
    "polite prefix": _polite_prefix,
}
