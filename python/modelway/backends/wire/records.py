"""Records to objects and back: JSON as servers really send it, and its fields with their types checked.

No message quotes a record: it is a piece of somebody's answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from modelway.origin import Origin


class DamagedRecord(dict[str, Any]):
    """A record that held bytes which are no text; each stands in it as U+FFFD."""


def parse(data: bytes) -> Any:
    """JSON from bytes; bytes that are no UTF-8 become U+FFFD. Raises ValueError."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return orjson.loads(data.decode("utf-8", "replace"))


def parse_object(data: bytes, origin: Origin) -> dict[str, Any]:
    """A record of a stream; anything but a JSON object is ``malformed``. Bytes that are no UTF-8 become U+FFFD."""
    try:
        value = orjson.loads(data)
        is_damaged = False
    except orjson.JSONDecodeError:
        value, is_damaged = _repaired(data, origin), True
    if not isinstance(value, dict):
        raise origin.error("malformed", "a record of the answer is no JSON object")
    return DamagedRecord(value) if is_damaged else value


def _repaired(data: bytes, origin: Origin) -> Any:
    try:
        return orjson.loads(data.decode("utf-8", "replace"))
    except orjson.JSONDecodeError:
        raise origin.error("malformed", "a record of the answer is no JSON") from None


def encode(body: Mapping[str, Any], origin: Origin) -> bytes:
    """A request as JSON bytes; what JSON can't hold is ``rejected``."""
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError as error:
        raise origin.error("rejected", f"the request can't be written as JSON: {error}") from None


def text(record: Mapping[str, Any], key: str, origin: Origin) -> str:
    """A text that may be absent or null."""
    value = record.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise origin.error("malformed", f"field {key!r} of the answer is no text")
    return value


def mapping(record: Mapping[str, Any], key: str, origin: Origin) -> dict[str, Any]:
    """An object that may be absent or null."""
    value = record.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise origin.error("malformed", f"field {key!r} of the answer is no object")
    return value


def objects(record: Mapping[str, Any], key: str, origin: Origin) -> list[dict[str, Any]]:
    """A list of objects that may be absent or null."""
    value = record.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise origin.error("malformed", f"field {key!r} of the answer is no list of objects")
    return value


def count(record: Mapping[str, Any], key: str) -> int | None:
    """A number of something, None where there is no such number: metrics never fail an answer."""
    value = record.get(key)
    return value if type(value) is int and value >= 0 else None


def told(record: Mapping[str, Any], key: str) -> str | None:
    """A text in what a server tells of itself; None where there is none: one odd field must not hide the rest."""
    value = record.get(key)
    return value if isinstance(value, str) and value else None


def part(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """An object in what a server tells of itself; empty where there is none."""
    value = record.get(key)
    return value if isinstance(value, dict) else {}


def words(record: Mapping[str, Any], key: str) -> list[str]:
    """The texts of a list in what a server tells of itself; empty where there is none."""
    value = record.get(key)
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []
