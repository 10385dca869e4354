"""What tests of programs that use modelway want: a mock model server, and tiny real models.

Nothing of the product loads this package. The mock server needs nothing more; the tiny models need
``gguf`` and ``numpy`` (``pip install 'modelway[testing]'``), which load when a model is written.

>>> from modelway.testing import MockModelConfig, MultiModelMockBackend, mock_config
>>> async with MultiModelMockBackend({"coder": MockModelConfig(reply="done")}) as server:  # doctest: +SKIP
...     config = mw.Config.from_toml(mock_config(server, defaults={"code": "coder"}))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelway.backends.mock import (
        Fault,
        FaultKind,
        Gate,
        MockModelConfig,
        MockToolCall,
        ModelRequest,
        MultiModelMockBackend,
        OllamaLimits,
        ServerThread,
        run_in_thread,
    )
    from modelway.testing.configs import mock_config
    from modelway.testing.tiny_model import TinyModel
    from modelway.testing.tiny_models import TINY_MODELS, answer_of, write_tiny_model, write_tiny_models

__all__ = [
    "TINY_MODELS",
    "Fault",
    "FaultKind",
    "Gate",
    "MockModelConfig",
    "MockToolCall",
    "ModelRequest",
    "MultiModelMockBackend",
    "OllamaLimits",
    "ServerThread",
    "TinyModel",
    "answer_of",
    "mock_config",
    "run_in_thread",
    "write_tiny_model",
    "write_tiny_models",
]

_TINY = frozenset({"TINY_MODELS", "TinyModel", "answer_of", "write_tiny_model", "write_tiny_models"})


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'modelway.testing' has no attribute {name!r}")
    import importlib

    home = "modelway.backends.mock"
    if name in _TINY:
        home = "modelway.testing.tiny_models"
    elif name == "mock_config":
        home = "modelway.testing.configs"
    value: object = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
