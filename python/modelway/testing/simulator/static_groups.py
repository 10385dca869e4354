"""Static groups: memory is divided by hand, once, among groups of models, and each group has one of its models loaded.

What people configure who are tired of thrashing. Models of different groups never push each other out; within a group
it is order of arrival, and a group's share of memory serves nobody else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from modelway.testing.simulator.device import Device, Request


class _Group:
    """The models of one share of memory, and who waits for them."""

    def __init__(self) -> None:
        self.line: deque[Request] = deque()
        #: Ready, loading or leaving.
        self.resident: str | None = None


class StaticGroups:
    """One model of each group in memory at a time. Raises ``ValueError`` where the largest of all do not fit."""

    def __init__(self, groups: Sequence[Sequence[str]]):
        self._names = [list(group) for group in groups]
        self._groups = [_Group() for _ in groups]
        self._of = {name: group for names, group in zip(groups, self._groups, strict=True) for name in names}
        self._wants_load: deque[_Group] = deque()
        self._loading: str | None = None

    def attach(self, device: Device) -> None:
        self._device = device
        share = sum(max(device.models[name].memory_bytes for name in names) for names in self._names)
        if share > device.capacity_bytes:
            raise ValueError(
                f"StaticGroups: the largest models of all groups take {share} bytes and there are "
                f"{device.capacity_bytes}; make fewer groups"
            )

    def on_arrival(self, request: Request) -> None:
        group = self._of[request.model]
        group.line.append(request)
        self._advance(group)

    def on_finished(self, request: Request) -> None:
        self._advance(self._of[request.model])

    def on_loaded(self, model: str) -> None:
        self._loading = None
        self._advance(self._of[model])
        self._load_next()

    def on_unloaded(self, model: str) -> None:
        group = self._of[model]
        group.resident = None
        self._advance(group)

    def _advance(self, group: _Group) -> None:
        """Send from the head of the line what the resident model serves; swap it when it is idle."""
        while group.line:
            wanted, resident = group.line[0].model, group.resident
            if resident is None:
                if group not in self._wants_load:
                    self._wants_load.append(group)
                    self._load_next()
                return
            if not self._device.is_ready(resident):
                return
            if wanted != resident:
                if not self._device.users(resident):
                    self._device.unload(resident)
                return
            self._device.send(group.line.popleft())

    def _load_next(self) -> None:
        if self._loading is None and self._wants_load:
            group = self._wants_load.popleft()
            self._loading = group.resident = group.line[0].model
            self._device.load(group.resident)
