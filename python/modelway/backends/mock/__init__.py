"""A mock model server: scripted models, scripted faults, over real HTTP on loopback.

It speaks Ollama and OpenAI, streamed and not, for many models at once, and keeps a record of what it was
asked. Tests wait for its facts (a request has come, a piece has gone, a client has left), never for time.

    async with MultiModelMockBackend({"code-model": MockModelConfig(reply="fn main() {}")}) as server:
        server.fail("code-model", Fault(FaultKind.RESET_MID_STREAM, after=2), times=1)
        ...
        await server.wait_for(lambda: server.request_counts["code-model"] == 1)

How an answer is made: ``inference`` runs a request; a route (``ollama``, ``openai``) reads it; ``wire``
decides what the model says; a dialect (``ollama_wire``, ``openai_wire``) writes the bytes; ``delivery``
sends them and lets faults strike. ``residency`` says who may run: it schedules models as Ollama does.
"""

from modelway.backends.mock.config import MockModelConfig, MockToolCall, OllamaLimits
from modelway.backends.mock.faults import Fault, FaultKind
from modelway.backends.mock.history import Gate, ModelRequest
from modelway.backends.mock.server import MultiModelMockBackend
from modelway.backends.mock.thread import ServerThread, run_in_thread

__all__ = [
    "Fault",
    "FaultKind",
    "Gate",
    "MockModelConfig",
    "MockToolCall",
    "ModelRequest",
    "MultiModelMockBackend",
    "OllamaLimits",
    "ServerThread",
    "run_in_thread",
]
