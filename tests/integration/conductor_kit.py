"""What the conductor's tests work with: a configuration over one server, models, and a router that keeps books."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modelway.backends.mock import MockModelConfig, MockToolCall, MultiModelMockBackend
from modelway.conductor import Conductor
from modelway.config import Config
from modelway.events import ConductorMessage, FallingBack, TextDelta
from modelway.router import ModelRouter
from modelway.types import RequestOutcome

CODE = "Write a Rust function to parse JSON"
MATH = "Solve the quadratic equation x^2 + 5x + 6 = 0"
VAGUE = "help me with something"
#: A weather tool, as OpenAI's clients define it.
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
PNG = "data:image/png;base64,iVBORw0KGgo="
#: Long enough for a busy machine to begin an answer. A model that does not may be loading: that has its own.
SHORT = "[deadlines]\nload_ms = 300\nfirst_token_ms = 300\nbetween_tokens_ms = 300\n"
#: No model of a busy machine is told to be slow.
#: Without labels, which have tests of their own.
QUIET = "[warnings]\nmath = false\ncode = false\nhigh_stakes = false\n"
PATIENT = "[timeouts]\nquick_ms = 60_000\nstandard_ms = 60_000\n"
VISION = '[[models]]\nid = "vision-model"\nbackend = "local"\ncapabilities = ["TextGeneration", "VisionInput"]\n'

TASKS = ("general", "code", "math", "quick", "deep", "creative", "tool_use")
STRENGTHS = {
    "general": "General",
    "code": "CodeGeneration",
    "math": "Mathematical",
    "quick": "QuickResponse",
    "deep": "DeepThinking",
    "creative": "Creative",
    "tool_use": "ToolUse",
}
DEFAULTS = {task: f"{task.removesuffix('_use')}-model" for task in TASKS}


def config_text(url: str, kind: str = "ollama", more: str = "") -> str:
    """One model a task on one backend, with the design's chains; ``more`` is TOML put in front."""
    models = "".join(
        f'[[models]]\nid = "{model}"\nbackend = "local"\nstrengths = ["{STRENGTHS[task]}"]\nmax_context = 4096\n'
        f"supports_tools = {str(task == 'tool_use').lower()}\n"
        for task, model in DEFAULTS.items()
    )
    defaults = "".join(f'{task} = "{model}"\n' for task, model in DEFAULTS.items())
    return (
        f"{QUIET}{more if '[timeouts]' in more else PATIENT + more}\n[defaults]\n{defaults}"
        '[fallbacks]\ncode = ["deep", "general"]\nmath = ["deep", "general"]\nquick = ["general"]\n'
        'creative = ["general"]\n'
        f'[[backends]]\nname = "local"\nkind = "{kind}"\nurl = "{url}"\n{models}'
    )


def few(url: str, *names: str, more: str = "") -> str:
    """So many models, each the next one's fallback, that the chain is soon exhausted; the first is asked."""
    models = "".join(f'[[models]]\nid = "{name}-model"\nbackend = "local"\nmax_context = 4096\n' for name in names)
    backend = f'[[backends]]\nname = "local"\nkind = "ollama"\nurl = "{url}"\n'
    chain = ", ".join(f'"{name}-model"' for name in names[1:])
    order = f'[defaults]\ngeneral = "{names[0]}-model"\n[fallbacks]\ngeneral = [{chain}]\n'
    return f"{QUIET}{PATIENT}{more}\n{order}{backend}{models}"


def going_on(text: str) -> str:
    """The configuration ``text``, with answers that break off continued."""
    return text.replace("[fallbacks]\n", "[fallbacks]\ncontinue_midstream = true\n")


def one_at_a_time(text: str) -> str:
    """The configuration ``text``, with one request at a time to the code model."""
    return text.replace('id = "code-model"\n', 'id = "code-model"\nmax_concurrent = 1\n')


OpenConductor = Callable[[str], Conductor]


class BookkeepingRouter(ModelRouter):
    """A router that notes every ticket it gives, every attempt that begins, and how each of them ends."""

    def __init__(self, _: Config) -> None:
        self.tickets: dict[int, str] = {}
        self.begun: list[tuple[str, int]] = []
        self.ended: list[int] = []
        self.outcomes: list[tuple[str, str]] = []

    def admit(self, model: str, user: str | None = None, **terms: Any) -> Any:
        answer = super().admit(model, user, **terms)
        self.tickets[answer.ticket] = model
        if not hasattr(answer, "position"):
            self.begun.append((model, answer.ticket))
        return answer

    def begin_admitted(self, ticket: int) -> None:
        super().begin_admitted(ticket)
        self.begun.append((self.tickets[ticket], ticket))

    def finish(self, ticket: int, outcome: RequestOutcome, tokens: int | None = None) -> Any:
        self.ended.append(ticket)
        self.outcomes.append((self.tickets[ticket], outcome.kind))
        return super().finish(ticket, outcome, tokens)

    def cancel(self, ticket: int) -> Any:
        self.ended.append(ticket)
        return super().cancel(ticket)

    def model_not_loaded(self, model: str, **known: Any) -> Any:
        effects = super().model_not_loaded(model, **known)
        self.ended += [ticket for ticket, _ in effects.refused]
        return effects

    def check_books(self) -> None:
        """Each ticket ended once, and nothing is held or waited for any more."""
        assert sorted(self.ended) == sorted(self.tickets)
        loads = {model: self.load(model) for model in self.profiles}
        assert {model: (load.running, load.waiting) for model, load in loads.items()} == dict.fromkeys(loads, (0, 0))


def replies() -> dict[str, MockModelConfig]:
    models = {model: MockModelConfig(reply=f"{model} says so") for model in DEFAULTS.values()}
    models["tool-model"] = MockModelConfig(reply="sunny", tool_calls=[MockToolCall("weather", {"city": "Rome"})])
    models["vision-model"] = MockModelConfig(reply="a cat", capabilities=["completion", "vision"])
    return models


def asked(server: MultiModelMockBackend) -> list[str]:
    return [record.model for record in server.request_history]


async def collect(conductor: Conductor, prompt: Any, **fields: Any) -> tuple[list[ConductorMessage], Exception | None]:
    events: list[ConductorMessage] = []
    try:
        async for event in conductor.stream(prompt, **fields):
            events.append(event)  # noqa: PERF401  (what came before an error is wanted too)
    except Exception as error:
        return events, error
    return events, None


def notices(events: list[ConductorMessage]) -> list[tuple[str, str]]:
    return [(event.from_model, event.to_model) for event in events if isinstance(event, FallingBack)]


def text_of(events: list[ConductorMessage]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))
