"""Text of models made harmless for a terminal.

What could move the cursor, recolour, retitle, hide or reorder text is shown as a visible mark. Marking
goes character by character, so a sequence that is cut by the edge of two pieces is caught all the same.
"""

from __future__ import annotations

_KEPT = {"\n", "\t"}


def _marks() -> dict[int, str]:
    marks = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in _KEPT}  # ESC becomes ␛
    marks[0x7F] = "\u2421"
    named = [
        *range(0x80, 0xA0),  # C1: one-byte forms of the escape sequences
        *(0x061C, 0x200E, 0x200F), *range(0x202A, 0x202F), *range(0x2066, 0x206A),  # bidirectional controls
        *(0x2028, 0x2029),  # line and paragraph separators: some terminals break the line
        *range(0xE0000, 0xE0080),  # tag characters: invisible text
    ]  # fmt: skip
    marks.update({code: f"<U+{code:04X}>" for code in named})
    return marks


_MARKS = _marks()


def clean(text: str) -> str:
    """``text`` with control, escape, bidirectional and tag characters as visible marks; newline and tab stay."""
    return text.translate(_MARKS)
