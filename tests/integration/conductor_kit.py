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
        f"{more}\n[defaults]\n{defaults}"
        '[fallbacks]\ncode = ["deep", "general"]\nmath = ["deep", "general"]\nquick = ["general"]\n'
        'creative = ["general"]\n'
        f'[[backends]]\nname = "local"\nkind = "{kind}"\nurl = "{url}"\n{models}'
    )


OpenConductor = Callable[[str], Conductor]


class BookkeepingRouter(ModelRouter):
    """A router that notes every attempt and every outcome it is told."""

    def __init__(self, _: Config) -> None:
        self.begun: list[tuple[str, int]] = []
        self.recorded: list[tuple[str, int | None]] = []
        self.outcomes: list[tuple[str, str]] = []

    def begin(self, model: str) -> int:
        number = super().begin(model)
        self.begun.append((model, number))
        return number

    def record_outcome(self, model: str, outcome: RequestOutcome, attempt: int | None = None) -> None:
        self.recorded.append((model, attempt))
        self.outcomes.append((model, outcome.kind))
        super().record_outcome(model, outcome, attempt)


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
