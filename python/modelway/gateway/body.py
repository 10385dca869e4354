"""Request bodies: JSON objects within bounds, or a refusal that says what to change.

Nothing of a body ever stands in an error or a log: a parse error is told by its position only.
"""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from modelway.config.in_force import MAX_JSON_DEPTH
from modelway.gateway.guard import check_body_names, check_media_type
from modelway.gateway.problems import Refused

#: What a JSON value is called to people.
_TYPE_NAMES = {
    bool: "a boolean",
    str: "a string",
    int: "a number",
    float: "a number",
    list: "an array",
    dict: "an object",
}


async def read_json(request: web.Request) -> dict[str, Any]:
    """The JSON object a request carries.

    Raises :class:`Refused` for what is no acceptable JSON object, and aiohttp's 413 beyond MAX_BODY_BYTES
    (counted after decompression).
    """
    check_media_type(request.headers.get("Content-Type"))
    try:
        data = await request.read()
    except web.RequestPayloadError:
        raise Refused(400, "invalid_body", "the body ends early or is not encoded as its headers say") from None
    return parse_json(data)


def parse_json(data: bytes) -> dict[str, Any]:
    """``data`` as a JSON object; NaN, lone surrogates and invalid UTF-8 are refused."""
    if not data:
        raise Refused(400, "invalid_json", "the body is empty; send a JSON object")
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        # `from None`: the decoder's exception carries the whole body.
        raise Refused(400, "invalid_json", f"the body is not JSON: {error.msg} at character {error.pos}") from None
    if not isinstance(value, dict):
        raise Refused(400, "invalid_json", f"the body must be a JSON object, not {type_name(value)}")
    if _is_deeper(value, MAX_JSON_DEPTH):
        raise Refused(400, "invalid_json", f"the body is nested deeper than {MAX_JSON_DEPTH} levels")
    check_body_names(value)
    return value


def type_name(value: object) -> str:
    """What a JSON value is, with its article."""
    return "nothing" if value is None else _TYPE_NAMES[type(value)]


def _is_deeper(value: object, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return False
    return any(isinstance(node, dict | list) for node in level)
