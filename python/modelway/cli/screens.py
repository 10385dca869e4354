"""How a chat is shown: as lines that begin with a role word, or as JSON documents.

Plain lines suit screen readers and pipes: one event a line, nothing is ever rewritten. Further lines of
one event are indented, so that no line of an answer can pass for a line of ours.
"""

from __future__ import annotations

import click

from modelway.cli.clean import clean
from modelway.cli.events_json import print_event
from modelway.cli.output import note
from modelway.events import ConductorMessage, Degraded, Failed, FallingBack, ModelSelected, TextDelta, ThinkingDelta


class Speech:
    """One event of a role, printed line by line as its lines become complete."""

    def __init__(self, role: str) -> None:
        self._lead = f"{role}: "
        self._line: list[str] = []  # pieces of the line that is not complete yet

    def add(self, text: str) -> None:
        piece, *lines = text.split("\n")
        self._line.append(piece)
        for line in lines:
            self._print()
            self._line.append(line)

    def end(self) -> None:
        """Print what came after the last newline."""
        if any(self._line):
            self._print()

    def _print(self) -> None:
        click.echo(clean((self._lead + "".join(self._line)).rstrip()))
        self._line.clear()
        self._lead = "  "


class PlainScreen:
    """Role words at the start of lines, all on stdout: together they are the record of the chat."""

    is_for_people = True

    def __init__(self) -> None:
        self._answer = Speech("")
        self._is_thinking = False

    def invite(self) -> None:
        """Begin the line that the user is about to type."""
        click.echo("you: ", nl=False)

    def say(self, role: str, text: str) -> None:
        """One event of ``role``, after what is left of the answer."""
        self._answer.end()
        speech = Speech(role)
        speech.add(text)
        speech.end()

    def show(self, event: ConductorMessage) -> None:
        match event:
            case TextDelta(text=text):
                self._answer.add(text)
                return
            case ThinkingDelta():
                if not self._is_thinking:
                    self.say("notice", "The model is thinking.")
                self._is_thinking = True
                return
            case Failed():
                return  # the error itself follows and is said as such
            case Degraded(kind="slow"):
                return  # whoever waits here has seen it
            case ModelSelected(model=model) | FallingBack(to_model=model):
                self._answer = Speech(model)
                self._is_thinking = False
        if sentence := event.announce():
            self.say("notice", sentence)


class JsonScreen:
    """Events on stdout, a JSON document a line; words for people on stderr."""

    is_for_people = False

    def invite(self) -> None:
        """Nothing: stdout is for events alone."""

    def say(self, role: str, text: str) -> None:
        if role != "you":
            note(f"{role}: {text}")

    def show(self, event: ConductorMessage) -> None:
        print_event(event)


Screen = PlainScreen | JsonScreen
