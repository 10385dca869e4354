"""llama.cpp managed by modelway: one child process for each loaded model."""

from modelway.backends.llama_cpp.backend import LlamaCppBackend

__all__ = ["LlamaCppBackend"]
