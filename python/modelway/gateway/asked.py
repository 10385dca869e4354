"""One inference request in the conductor's terms, and the parts of it that all protocols share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from modelway.errors import InvalidRequest, UnknownModel
from modelway.gateway.body import type_name
from modelway.types import TaskClass

T = TypeVar("T")

#: Options that make a server load the model anew; whoever sends them now and then makes it thrash.
RELOAD_OPTIONS = frozenset(
    {"num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict", "shift"}
)

_MAX_NAME = 300


@dataclass(frozen=True, slots=True)
class Asked:
    """What a body asks for.

    ``model`` and ``task`` are both None for ``auto``. ``user`` is whose turn it is among those who wait,
    as the client says: a hint. ``warnings`` are sentences on what the request
    holds and we don't honour. ``extra`` are fields we don't know, for a backend of the same protocol.
    """

    messages: list[dict[str, Any]] = field(repr=False)
    model: str | None
    task: TaskClass | None
    stream: bool
    user: str | None = None
    tools: list[dict[str, Any]] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict, repr=False)
    extra_protocol: str = "openai"
    warnings: tuple[str, ...] = ()
    include_usage: bool = False


def model_choice(body: Mapping[str, Any]) -> tuple[str | None, TaskClass | None]:
    """(model, task) that the field ``model`` means: ``auto``, ``auto:TASK``, or a name.

    Raises :class:`InvalidRequest` for what can't be a name and :class:`UnknownModel` for an unknown task.
    """
    name = read(body, "model", str)
    if not name:
        raise InvalidRequest("model: missing; give a model's name, an alias, auto, or auto:TASK such as auto:code")
    check_name(name, "model")
    if name == "auto":
        return None, None
    head, separator, task = name.partition(":")
    if head != "auto" or not separator:
        return name, None
    try:
        return None, TaskClass.parse(task)
    except ValueError as error:
        raise UnknownModel(f"model {name!r}: {error}", name) from None


def check_name(name: str, path: str) -> None:
    """Refuse a name that no header or log line could hold."""
    if len(name) > _MAX_NAME or not name.isprintable():
        raise InvalidRequest(f"{path}: holds control characters, or more than {_MAX_NAME} characters; no model has it")


def read(body: Mapping[str, Any], name: str, kind: type[T], where: str = "") -> T | None:
    """A field of one JSON type; None where it is absent or null."""
    value = body.get(name)
    if value is not None and type(value) is not kind:
        raise InvalidRequest(f"{where}{name}: must be {type_name(kind())}, not {type_name(value)}")
    return value


def read_objects(body: Mapping[str, Any], name: str, where: str = "") -> list[dict[str, Any]]:
    """A field that is an array of objects; empty where it is absent or null."""
    values: list[Any] = read(body, name, list, where) or []
    for index, value in enumerate(values):
        if not isinstance(value, dict):
            raise InvalidRequest(f"{where}{name}[{index}]: must be an object, not {type_name(value)}")
    return values


def not_honoured(fields: Mapping[str, Any], path: str, is_one: Callable[[str, Any], bool]) -> tuple[str, ...]:
    """A warning that names the fields of ``fields`` that are read and not passed on."""
    names = [f"{path}{name}" for name, value in fields.items() if value is not None and is_one(name, value)]
    return (f"not honoured: {', '.join(names)}",) if names else ()
