"""Pictures for a prompt: a local file becomes a data URL, the form in which every backend takes it."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: Bytes. As base64 such a file is 13.3 MiB, so that it fits a request body of 16 MiB.
MAX_IMAGE_BYTES = 10 * 1024 * 1024


def image_type(data: bytes) -> str | None:
    """The MIME type by the first bytes, never by the name; None: none of PNG, JPEG, WebP and GIF."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    return None


def data_url(path: Path) -> str:
    """The picture as a ``data:`` URL. ``ValueError``: too large or no picture; ``OSError``: not readable."""
    with path.open("rb") as file:
        data = file.read(MAX_IMAGE_BYTES + 1)
    if len(data) > MAX_IMAGE_BYTES:
        raise ValueError(f"{path}: larger than {MAX_IMAGE_BYTES // 1024**2} MiB; make the picture smaller")
    mime = image_type(data)
    if mime is None:
        raise ValueError(f"{path}: not a PNG, JPEG, WebP or GIF picture; convert it to one of these")
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"
