"""OpenAI's protocol (``/v1/chat/completions``), as llama.cpp, vLLM, LM Studio and others speak it."""

from modelway.backends.openai_compat.backend import OpenAICompatBackend

__all__ = ["OpenAICompatBackend"]
