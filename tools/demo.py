"""Ten real prompts through the gateway, to real models on this machine: who answers, where, why and how fast.

Run by ``make demo``. Exit status 0 only if each prompt got the class and the model that the table below
expects; what the models say is theirs.
"""

from __future__ import annotations

import shutil
import signal
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from demo_gateway import Answer, Gateway, ask
from demo_models import DEEP, FOLDER, GENERAL, prepare

from modelway import Config, ModelRouter, ModelwayError, RoutingRequest, load_config
from modelway.events import PLACES

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Today's weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@dataclass(frozen=True)
class Case:
    """One prompt, and what must become of it. ``fails`` is the model that is made to fail before."""

    what: str
    prompt: str
    task: str
    model: str
    asked: str = "auto"
    tools: tuple[Mapping[str, Any], ...] = ()
    fails: str = ""


CASES = (
    Case("a quick question", "What day is it?", "quick", "tiny-quick"),
    Case(
        "a deep question",
        "Explain the philosophical implications of quantum mechanics on free will, considering both deterministic and "
        "indeterministic interpretations",
        "deep",
        DEEP,
    ),
    Case("code", "Write a Rust function to parse JSON", "code", "tiny-code"),
    Case("mathematics", "Solve the quadratic equation x^2 + 5x + 6 = 0", "math", "tiny-math"),
    Case("creative writing", "Write a haiku about rain", "creative", "tiny-creative"),
    Case("a request with tools", "What is the weather in Paris?", "tool_use", "tiny-tools", tools=(WEATHER,)),
    Case("something general", "Give me some tips for moving to a new flat with two cats", "general", GENERAL),
    Case("not in English", "Escribe una función en Rust que ordene una lista", "code", "tiny-code"),
    Case("names its model", "Write a short story about a lighthouse", "creative", "tiny-quick", asked="tiny-quick"),
    Case("its model fails", "Calculate the integral of x^2", "math", GENERAL, fails="tiny-math"),
)


def main() -> int:
    """Returns the exit status."""
    signal.signal(signal.SIGTERM, _interrupt)
    config_file = prepare()
    config = load_config(config_file)
    router = ModelRouter(config)
    names = display_names(config)
    wrong: list[str] = []
    with Gateway(config_file) as gateway:
        print(f"modelway serves {len(config.models)} models at {gateway.url}\n")
        for number, case in enumerate(CASES, 1):
            if case.fails:
                gateway.break_model(case.fails, FOLDER / f"{case.fails}.gguf")
            answer = ask(gateway.url, case.asked, case.prompt, case.tools)
            print(f"{number:2}. {case.what}")
            for label, text in lines(case, answer, names, why(router, case)):
                print(f"    {label:<12}{text}")
            print()
            wrong += differences(number, case, answer)
    for line in wrong:
        print(line)
    print(f"{len(CASES)} prompts, " + (f"{len(wrong)} differences" if wrong else "each answered as expected"))
    return 1 if wrong else 0


def display_names(config: Config) -> dict[str, str]:
    """What people are shown, by model id."""
    return {model.id: f"{model.id} ({model.display_name})" for model in config.models}


def why(router: ModelRouter, case: Case) -> str:
    """The sentence behind the gateway's decision, from the same router on the same configuration."""
    model = None if case.asked == "auto" else case.asked
    return router.select(RoutingRequest(case.prompt, model=model, tools=bool(case.tools))).explanation


def lines(case: Case, answer: Answer, names: Mapping[str, str], why: str) -> list[tuple[str, str]]:
    """What is printed of one answer: (label, text)."""
    width = max(40, shutil.get_terminal_size((100, 24)).columns - 18)
    first = f"{answer.first_token_s * 1000:.0f} ms"
    if answer.load_ms:
        first += f" (the model was loaded for it: {answer.load_ms} ms)"
    shown = [
        ("prompt", textwrap.shorten(case.prompt, width, placeholder=" ...")),
        ("task", f"{answer.task}, confidence {answer.confidence:.2f}"),
        ("model", f"{names.get(answer.model, answer.model)}, {PLACES.get(answer.location, answer.location)}"),
        ("why", why),
        ("first token", first),
        ("answer", textwrap.shorten(answer.text, width, placeholder=" ...")),
    ]
    if answer.fallback != "none":
        shown.insert(4, ("fallback", f"{answer.fallback.replace('->', ' failed -> ')} answered"))
    if answer.warning:
        shown.insert(-2, ("warning", answer.warning))
    return shown


def differences(number: int, case: Case, answer: Answer) -> list[str]:
    """What is not as the table says, a sentence each."""
    facts = [("task", case.task, answer.task), ("model", case.model, answer.model)]
    if case.fails:
        facts.append(("fallback", f"{case.fails}->{case.model}", answer.fallback))
    found = [f"prompt {number}: {what} is {is_!r}, expected {want!r}" for what, want, is_ in facts if is_ != want]
    return found if answer.text else [*found, f"prompt {number}: the answer is empty"]


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except ModelwayError as error:
        sys.exit(str(error))
