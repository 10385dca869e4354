"""Ollama's own protocol (``/api/chat``)."""

from modelway.backends.ollama.backend import OllamaBackend

__all__ = ["OllamaBackend"]
