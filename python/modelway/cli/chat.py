"""``modelway chat``: a conversation by lines, for terminals, screen readers and pipes alike."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import click

from modelway.cli.consenting import with_consent
from modelway.cli.options import Common, common_options, pass_common
from modelway.cli.output import note
from modelway.cli.screens import JsonScreen, PlainScreen, Screen
from modelway.errors import InvalidRequest, ModelwayError
from modelway.events import TextDelta

if TYPE_CHECKING:
    import asyncio

    from modelway.conductor import Conductor
    from modelway.types import TaskClass


@click.command()
@click.option("--plain", is_flag=True, expose_value=False, help="One event a line, with role words; the default.")
@common_options
@pass_common
def chat(common: Common) -> None:
    """Talk with the models, line by line."""
    import asyncio

    from modelway.conductor import Conductor

    # One loop that runs only during a turn: the prompt waits in the foreground, where Ctrl-C ends the program.
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            conductor = runner.run(stack.enter_async_context(Conductor(common.load_config())))
            Chat(conductor, runner, JsonScreen() if common.json else PlainScreen()).run()
        finally:
            runner.run(stack.aclose())


class Command(NamedTuple):
    """A line that begins with a slash."""

    argument: str
    help: str
    act: Callable[[Chat, str], str]


class Chat:
    """The loop: reads a line, does a command or has a turn answered, until the input ends."""

    def __init__(self, conductor: Conductor, runner: asyncio.Runner, screen: Screen) -> None:
        self._conductor = conductor
        self._runner = runner
        self._screen = screen
        self._history: list[dict[str, Any]] = []
        self._conversation = uuid4().hex
        self._model: str | None = None
        self._task: TaskClass | None = None
        self._is_over = False

    def run(self) -> None:
        self._screen.say("notice", "Write a prompt and press Enter. /help lists the commands, /quit ends.")
        while not self._is_over:
            try:
                self._act_on(self._read_line())
            except ModelwayError as error:
                self._screen.say("error", str(error))

    def _read_line(self) -> str | None:
        """The next line without its end; None when the input has ended."""
        is_typed = sys.stdin.isatty()  # then the terminal itself shows what is typed
        if is_typed:
            self._screen.invite()
        data = sys.stdin.buffer.readline()
        if not data:
            if is_typed:
                note("")  # what follows begins on a line of its own
            return None
        try:
            line = data.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"the line is not UTF-8 text (byte {error.start}) and was not sent") from None
        if not is_typed:
            self._screen.say("you", line)
        return line

    def _act_on(self, line: str | None) -> None:
        if line is None:
            self._is_over = True
        elif line.startswith("/"):
            self._screen.say("notice", self._command(line))
        elif line.strip():
            self._turn(line)

    def _turn(self, text: str) -> None:
        """Have ``text`` answered; only a whole turn enters the history."""
        prompt = {"role": "user", "content": text}
        try:
            messages = [*self._history, prompt]
            ask = with_consent(self._conductor, lambda: self._answer(messages), may_ask=self._screen.is_for_people)
            answer = self._runner.run(ask)
        except KeyboardInterrupt:
            self._screen.say("notice", "Stopped; this turn is not kept.")
        else:
            self._history += [prompt, {"role": "assistant", "content": answer}]

    async def _answer(self, messages: list[dict[str, Any]]) -> str:
        pieces = []
        stream = self._conductor.stream(messages, model=self._model, task=self._task, conversation=self._conversation)
        async with aclosing(stream) as events:
            async for event in events:
                self._screen.show(event)
                if isinstance(event, TextDelta):
                    pieces.append(event.text)
        return "".join(pieces)

    def _command(self, line: str) -> str:
        """Do what a command line says; returns the sentence that tells what was done."""
        name, _, argument = line[1:].partition(" ")
        command = COMMANDS.get(name)
        if command is None:
            raise InvalidRequest(
                f"/{name} is no command; /help lists them; put a space before a prompt that begins with a slash"
            )
        if bool(argument.strip()) != bool(command.argument):
            raise InvalidRequest(f"it is written {_usage(name, command)}")
        return command.act(self, argument.strip())

    def lock_model(self, name: str) -> str:
        self._model = self._conductor.router.resolve(name)
        return f"{self._model} answers from now on. /auto gives the choice back."

    def lock_task(self, name: str) -> str:
        from modelway.types import TaskClass

        try:
            self._task = TaskClass.parse(name)
        except ValueError as error:
            raise InvalidRequest(str(error)) from None
        return f"Prompts count as {self._task} from now on. /auto has the task read in each prompt again."

    def unlock(self) -> str:
        self._model = self._task = None
        return "Model and task are chosen by each prompt again."

    def forget(self) -> str:
        self._history.clear()
        self._conversation = uuid4().hex
        return "A new conversation begins."

    def end(self) -> str:
        self._is_over = True
        return "The chat ends."


def _usage(name: str, command: Command) -> str:
    return f"/{name} {command.argument}".rstrip()


def _help() -> str:
    return "\n".join(f"{_usage(name, command)}: {command.help}" for name, command in COMMANDS.items())


COMMANDS = {
    "model": Command("NAME", "one model answers everything", lambda chat, name: chat.lock_model(name)),
    "task": Command("NAME", "every prompt counts as this task", lambda chat, name: chat.lock_task(name)),
    "auto": Command("", "choose by each prompt again", lambda chat, _: chat.unlock()),
    "new": Command("", "forget the conversation", lambda chat, _: chat.forget()),
    "help": Command("", "this list", lambda _chat, _: _help()),
    "quit": Command("", "end; so does the end of the input", lambda chat, _: chat.end()),
}
