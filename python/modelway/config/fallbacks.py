"""The table of chains, and what falling back may do besides."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field, model_validator

from modelway.config.fields import Chain, Section, TaskOrModel, one_key_a_task


class FallbacksConfig(Section):
    """``[fallbacks]``: task or model -> the tasks and models that follow when it fails, in order. A task's name is the
    task, also where a model has the same name."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[TaskOrModel, Chain] = Field(init=False)

    continue_midstream: bool = False
    """Whether the next model goes on with an answer that broke off. The seam is told by an event; without this key an
    answer that broke off ends there, as two models rarely say quite the same."""

    @property
    def chains(self) -> dict[str, tuple[str, ...]]:
        """The chains alone, by task or model."""
        return self.__pydantic_extra__

    @model_validator(mode="before")
    @classmethod
    def _one_key_a_task(cls, table: Any) -> Any:
        return one_key_a_task(table)
