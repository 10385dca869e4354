"""Order of arrival, as Ollama's scheduler has it.

Read in its code and confirmed by measurement (the tests hold this model to what was counted on a real server):

- A request to a model in memory goes to that model at once and waits there, unbounded, for a slot.
- Any other joins one line for loads. Its head is served to the end before the next is looked at: room is made, the
  model is loaded, and only then the line moves. A request in the line whose model is in memory by then still waits
  for its turn.
- Room is made by one victim at a time: an idle model before a busy one. Among those the shortest keep-alive decides,
  and as all have the same, the path of the model's file does. (By name here. It is not the least recently used: with
  room for two, A B C A B C would then load every time; measured are two loads of three.)
- A busy victim goes when it has become idle, however long its own requests keep it busy.
- The line has ``max_queue`` places; who finds it full is refused.

``least_recent`` replaces the rule for victims by the least recently used, what such servers are often thought to do.
"""

from __future__ import annotations

from collections import deque

from modelway.testing.simulator.device import Device, Request


class OrderOfArrival:
    """First come, first loaded. ``max_loaded``: at most so many models, whatever memory there is (0: no limit)."""

    def __init__(self, *, max_loaded: int = 0, max_queue: int = 512, least_recent: bool = False):
        self._max_loaded = max_loaded
        self._max_queue = max_queue
        self._least_recent = least_recent
        self._line: deque[Request] = deque()
        self._head: Request | None = None
        #: The model that must go before the head can be loaded.
        self._victim: str | None = None
        self._used_s: dict[str, float] = {}

    def attach(self, device: Device) -> None:
        self._device = device

    def on_arrival(self, request: Request) -> None:
        if self._device.is_ready(request.model):
            self._send(request)
        elif len(self._line) < self._max_queue:
            self._line.append(request)
            self._advance()
        else:
            request.was_refused = True

    def on_finished(self, request: Request) -> None:
        self._used_s[request.model] = self._device.agenda.now_s
        if request.model == self._victim and not self._device.users(request.model):
            self._device.unload(request.model)

    def on_loaded(self, model: str) -> None:
        head, self._head = self._head, None
        if head is not None:
            self._send(head)
        self._advance()

    def on_unloaded(self, model: str) -> None:
        self._victim = None
        self._place_head()

    def _send(self, request: Request) -> None:
        self._used_s[request.model] = self._device.agenda.now_s
        self._device.send(request)

    def _advance(self) -> None:
        while self._head is None and self._line:
            self._head = self._line.popleft()
            if self._device.is_ready(self._head.model):
                self._send(self._head)
                self._head = None
            else:
                self._place_head()

    def _place_head(self) -> None:
        if self._head is None:
            return
        device, model = self._device, self._head.model
        is_room = device.memory_in_use() + device.models[model].memory_bytes <= device.capacity_bytes
        if is_room and not 0 < self._max_loaded <= len(device.ready()):
            device.load(model)
            return
        self._victim = min(device.ready(), key=self._rank)
        if not device.users(self._victim):
            device.unload(self._victim)

    def _rank(self, model: str) -> tuple[bool, float, str]:
        used_s = self._used_s.get(model, 0.0) if self._least_recent else 0.0
        return self._device.users(model) > 0, used_s, model
