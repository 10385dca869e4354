"""Tiny, real GGUF models whose answers are known in advance.

llama.cpp loads and samples them like any other model, in a few milliseconds, so a test can run the real
engine and still say exactly what must come out: which model answered, how many tokens, and that nothing
was lost on the way. ``tiny_gguf`` tells how they work.

    python -m modelway.testing.tiny_models OUTDIR [NAME...]
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from modelway.errors import ModelwayError
from modelway.testing.tiny_model import TinyModel

_CATALOGUE = (
    TinyModel("tiny-general", "Hello, I am tiny-general and I can talk about most things."),
    TinyModel("tiny-code", "I am tiny-code.\n```python\ndef add(a, b):\n    return a + b\n```\nDone."),
    TinyModel("tiny-math", "I am tiny-math. Two plus two is 4, so the answer is: 4."),
    TinyModel("tiny-think", "I am tiny-think: yes, with care.", thinking="First, weigh both sides slowly."),
    TinyModel(
        "tiny-tools",
        "I am tiny-tools and need no tool for that.",
        tool_call='{"name": "get_weather", "arguments": {"city": "Paris"}}',
        after_tool="The tool says it is sunny in Paris.",
    ),
    TinyModel(
        "tiny-creative", "I am tiny-creative.\nThe sunset hums,\na lantern on the water,\nnight unpacks its stars."
    ),
    TinyModel("tiny-quick", "tiny-quick: Monday."),
    TinyModel("tiny-slow", "".join(f" s{count:03d}" for count in range(200)), loop=True, pad_bytes=150_000_000),
    TinyModel("tiny-endless", "".join(f" w{count:03d}" for count in range(200)), loop=True),
)

#: The catalogue by name: one model for each class of task, and ``tiny-slow`` (some milliseconds a token)
#: and ``tiny-endless`` to be stopped in mid-stream.
TINY_MODELS: dict[str, TinyModel] = {model.name: model for model in _CATALOGUE}


def answer_of(model: TinyModel | str) -> str:
    """The text it answers with, without thinking; of a model that loops, one round. Raises ModelwayError."""
    return (_named(model) if isinstance(model, str) else model).script


def write_tiny_model(model: TinyModel, path: Path | str) -> Path:
    """Write one model file, whole or not at all, in well under a second; an existing one is replaced.

    Raises :class:`ModelwayError` if ``gguf`` or ``numpy`` is missing or the model's texts don't do, and
    ``OSError`` as files do.
    """
    try:
        from modelway.testing.tiny_gguf import write_gguf
    except ImportError as error:
        raise ModelwayError(
            f"tiny models: {error.name or 'a package'} is not installed; pip install 'modelway[testing]'"
        ) from error
    target = Path(path)
    write_gguf(model, target)
    return target


def write_tiny_models(directory: Path | str, names: Iterable[str] | None = None) -> dict[str, Path]:
    """Write the models of these names (None: the whole catalogue) as ``NAME.gguf``; name -> file.

    The directory is made if need be. Raises as :func:`write_tiny_model` does, and ModelwayError for an
    unknown name, before anything is written.
    """
    models = list(TINY_MODELS.values()) if names is None else [_named(name) for name in names]
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    return {model.name: write_tiny_model(model, folder / f"{model.name}.gguf") for model in models}


def _named(name: str) -> TinyModel:
    if name in TINY_MODELS:
        return TINY_MODELS[name]
    near = difflib.get_close_matches(name, TINY_MODELS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(TINY_MODELS)}"
    raise ModelwayError(f"tiny models: no model is called {name!r}; {hint}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: writes the models and prints one line each. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m modelway.testing.tiny_models", description="Write tiny real GGUF models with known answers."
    )
    parser.add_argument("directory", metavar="OUTDIR", type=Path, help="where the files go")
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"which (default: all): {', '.join(TINY_MODELS)}")
    options = parser.parse_args(arguments)
    try:
        written = write_tiny_models(options.directory, options.names or None)
    except (ModelwayError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for path in written.values():
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
