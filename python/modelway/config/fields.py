"""What a configuration is made of: sections, and the kinds of value in them, each with its check.

A check raises ``ValueError`` whose text says what is wrong with which value and how to mend it.
"""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from modelway.types import CostTier, ModelCapability, TaskClass

_DAY_MS = 86_400_000


class Section(BaseModel):
    """A table of the configuration."""

    # strict: TOML has types, so "8" is not 8; tuples opt out because TOML's arrays arrive as lists.
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def _task(name: str) -> str:
    return str(TaskClass.parse(name))


def _served_task(name: str) -> str:
    task = TaskClass.parse(name)
    if task == TaskClass.Embedding:
        raise ValueError("embeddings are not served yet; remove this entry")
    return str(task)


def _task_or_model(name: str) -> str:
    """A task's short name where ``name`` is a task in any spelling, else ``name``: a model."""
    try:
        TaskClass.parse(name)
    except ValueError:
        return _plain(name)
    return _served_task(name)


def _plain(name: str) -> str:
    """Names end in HTTP headers and on terminals, so nothing invisible may hide in them."""
    if not name or len(name) > 200 or not name.isprintable() or name != name.strip():
        shown = json.dumps(name[:40])
        raise ValueError(f"{shown} is no name; a name has 1 to 200 printable characters and no space at its ends")
    return name


def _own_name(name: str) -> str:
    if name.lower().partition(":")[0] == "auto":
        raise ValueError(f'"{name}" is what a request says to have the model chosen; take another name')
    return _plain(name)


def _one_key_a_task(table: object) -> object:
    """Two spellings of one task as keys would silently drop one of the entries."""
    seen: dict[str, str] = {}
    for key in table if isinstance(table, dict) else ():
        name = _spelled_alike(key)
        if name in seen:
            raise ValueError(f'"{seen[name]}" and "{key}" are the same task; keep one of them')
        seen[name] = key
    return table


def _spelled_alike(key: str) -> str:
    try:
        return _task(key)
    except ValueError:
        return key


Name = Annotated[str, AfterValidator(_plain)]
OwnName = Annotated[str, AfterValidator(_own_name)]
OwnNames = Annotated[tuple[OwnName, ...], Field(strict=False)]
Task = Annotated[str, AfterValidator(_task)]
ServedTask = Annotated[str, AfterValidator(_served_task)]
TaskOrModel = Annotated[str, AfterValidator(_task_or_model)]
Tasks = Annotated[tuple[Task, ...], Field(strict=False)]
Capability = Annotated[str, AfterValidator(lambda name: ModelCapability.parse(name).name)]
Capabilities = Annotated[tuple[Capability, ...], Field(strict=False)]
Cost = Annotated[str, AfterValidator(lambda name: str(CostTier.parse(name)))]
Keywords = Annotated[tuple[Name, ...], Field(strict=False)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Milliseconds = Annotated[int, Field(ge=1, le=_DAY_MS)]
Seconds = Annotated[float, Field(gt=0, le=_DAY_MS / 1000)]
EnvironmentVariable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]
Defaults = Annotated[dict[ServedTask, OwnName], BeforeValidator(_one_key_a_task)]
Priors = Annotated[
    dict[ServedTask, Annotated[float, Field(gt=0, le=1)]], Field(min_length=1), BeforeValidator(_one_key_a_task)
]
Chain = Annotated[tuple[TaskOrModel, ...], Field(strict=False)]
Fallbacks = Annotated[dict[TaskOrModel, Chain], BeforeValidator(_one_key_a_task)]
