"""What a mock server is told to do, and what it has seen: the state that its routes work with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from modelway.backends.mock.config import MockModelConfig, OllamaLimits
from modelway.backends.mock.faults import Fault, FaultScript
from modelway.backends.mock.history import Changes, Gate, ModelRequest
from modelway.backends.mock.residency import Residency


class MockState:
    """Models, faults and gates that tests script, and the history that they read.

    The public face, with its documentation, is :class:`MultiModelMockBackend`, which adds the server.
    """

    def __init__(
        self, models: Mapping[str, MockModelConfig], version: str, close_after_stream: bool, limits: OllamaLimits
    ):
        self.models: dict[str, MockModelConfig] = dict(models)
        self.unavailable_models: set[str] = set()
        self.request_history: list[ModelRequest] = []
        self.path_counts: Counter[str] = Counter()
        self.connections = 0
        self.loads: list[str] = []
        self.version = version
        self.close_after_stream = close_after_stream
        # What the routes work with; tests use the methods below.
        self.changes = Changes()
        self.gates: list[Gate] = []
        self.stalled = Gate(self.changes)
        self.limits = limits
        self.residency = self.empty_memory()
        self._scripts: dict[str, FaultScript] = {}

    def empty_memory(self) -> Residency:
        """Where nothing is loaded."""
        return Residency(self.models, self.limits, on_load=self.loads.append, note=self.changes.note)

    @property
    def is_up(self) -> bool:
        """Whether it accepts connections."""
        return False

    # What tests read, and wait for.

    @property
    def request_counts(self) -> Counter[str]:
        """Requests by model; 0 for a model that was never asked."""
        return Counter(record.model for record in self.request_history)

    async def wait_for(self, predicate: Callable[[], bool], timeout_s: float = 3.0) -> None:
        """Return once ``predicate`` holds; it is asked again at every change of a request or connection.

        Raises ``TimeoutError`` after ``timeout_s`` seconds.
        """
        await self.changes.until(predicate, timeout_s)

    # What tests script.

    def fail(self, model: str, fault: Fault, times: int | None = None) -> None:
        """The next ``times`` requests to ``model`` meet ``fault``; without ``times``, all until ``heal``."""
        script = self._script(model)
        if times is None:
            script.standing = fault
        else:
            script.queue.extend([fault] * times)

    def heal(self, model: str) -> None:
        """From now on ``model`` serves well: available, and no fault, queued or standing."""
        self._scripts[model] = FaultScript()
        self.unavailable_models.discard(model)

    def hold(self, model: str | None = None, *, after: int = 0) -> Gate:
        """Hold answers (of ``model``, or all) once ``after`` pieces have gone, until the gate is released."""
        gate = Gate(self.changes, model, after)
        self.gates.append(gate)
        return gate

    def release(self) -> None:
        """Release every gate, and every request that a fault stalls."""
        for gate in [*self.gates, self.stalled]:
            gate.release()
        self.gates.clear()
        self.stalled = Gate(self.changes)

    def take_fault(self, model: str) -> Fault | None:
        """The fault that the request starting now meets; it is used up if it was queued."""
        return self._script(model).take()

    def _script(self, model: str) -> FaultScript:
        if model not in self._scripts:
            config = self.models.get(model, MockModelConfig())
            self._scripts[model] = FaultScript(config.faults, config.standing_fault)
        return self._scripts[model]
