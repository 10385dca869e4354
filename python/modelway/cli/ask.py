"""``modelway ask``: one answer, streamed to stdout; who answers and what went wrong on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import click

from modelway.cli.clean import clean
from modelway.cli.consenting import with_consent
from modelway.cli.events_json import print_event
from modelway.cli.options import Common, common_options, image_option, pass_common, prompt_argument, task_option
from modelway.cli.output import note
from modelway.events import ConductorMessage, Degraded, Failed, Finished, TextDelta, ThinkingDelta

if TYPE_CHECKING:
    from modelway.config import Config
    from modelway.types import TaskClass


@click.command()
@prompt_argument
@click.option("--model", metavar="NAME", help="Ask this model, by id or alias.")
@task_option
@click.option("--system", metavar="TEXT", help="A system message put in front.")
@image_option
@common_options
@pass_common
def ask(
    common: Common,
    *,
    prompt: str,
    model: str | None,
    task: TaskClass | None,
    system: str | None,
    images: tuple[str, ...],
) -> None:
    """Answer PROMPT (or standard input) with the model that fits it."""
    import asyncio

    show = print_event if common.json else TextPrinter().show
    arguments = {"model": model, "task": task, "system": system}
    asyncio.run(_answer(common.load_config(), _with_images(prompt, images), arguments, show, may_ask=not common.json))


def _with_images(prompt: str, images: tuple[str, ...]) -> str | list[dict[str, Any]]:
    """The prompt, or the one OpenAI message that carries it together with the pictures (data URLs)."""
    if not images:
        return prompt
    pictures = [{"type": "image_url", "image_url": {"url": url}} for url in images]
    return [{"role": "user", "content": [{"type": "text", "text": prompt}, *pictures]}]


async def _answer(
    config: Config,
    prompt: str | list[dict[str, Any]],
    arguments: dict[str, Any],
    show: Callable[[ConductorMessage], None],
    *,
    may_ask: bool,
) -> None:
    from modelway.conductor import Conductor

    async with Conductor(config) as conductor:

        async def answer() -> None:
            async with aclosing(conductor.stream(prompt, **arguments)) as events:
                async for event in events:
                    show(event)

        await with_consent(conductor, answer, may_ask=may_ask)


class TextPrinter:
    """The answer on stdout as it comes, everything else as notes on stderr."""

    def __init__(self) -> None:
        # A program that reads us gets the text as the model wrote it; a terminal must not obey it.
        self._clean = clean if sys.stdout.isatty() else str
        self._is_thinking = False
        self._is_line_open = False

    def show(self, event: ConductorMessage) -> None:
        match event:
            case TextDelta(text=text):
                click.echo(self._clean(text), nl=False)
                self._is_line_open = not text.endswith("\n")
            case ThinkingDelta():
                if not self._is_thinking:
                    note("The model is thinking.")
                self._is_thinking = True
            case Failed():
                self._end_line()  # the error itself follows and is shown where all errors are
            case Finished(finish_reason=reason):
                self._end_line()
                if reason == "length":
                    note(event.announce())
            case Degraded(kind="slow"):
                pass  # whoever waits here has seen it
            case _:
                if sentence := event.announce():
                    note(sentence)

    def _end_line(self) -> None:
        if self._is_line_open:
            click.echo()
        self._is_line_open = False
