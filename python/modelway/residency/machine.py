"""How much memory this machine has for models: its graphics cards', else its own, or what its container may use."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from modelway.residency.cgroup import memory_limit

_log = logging.getLogger("modelway.residency")

#: Of graphics memory: the rest is the driver's, and the screen's.
_GRAPHICS_PERCENT = 90
#: Of the machine's own memory: other programs live there, too.
_OWN_PERCENT = 75


@dataclass(frozen=True, slots=True)
class Machine:
    """``memory_bytes`` None: unknown. ``has_gpu``: it is that of graphics cards."""

    memory_bytes: int | None
    has_gpu: bool


def read_machine(root: Path = Path("/")) -> Machine:
    """Ask the NVIDIA driver where ``modelway[gpu]`` is installed, else the operating system. Blocks; never fails.

    ``root``: where the files of control groups are looked for; graphics memory is not theirs to limit.
    """
    graphics = _graphics_bytes()
    if graphics:
        return Machine(graphics * _GRAPHICS_PERCENT // 100, has_gpu=True)
    known = [size for size in (_own_bytes(), memory_limit(root)) if size is not None]
    return Machine(min(known) * _OWN_PERCENT // 100 if known else None, has_gpu=False)


def _graphics_bytes() -> int | None:
    """All NVIDIA cards together; None where there are none, or nobody to ask."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no driver
        return None
    try:
        cards = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        return sum(int(pynvml.nvmlDeviceGetMemoryInfo(card).total) for card in cards)
    except pynvml.NVMLError as error:
        _log.debug("the NVIDIA driver does not tell its memory: %s", error)
        return None
    finally:
        pynvml.nvmlShutdown()


def _own_bytes() -> int | None:
    import psutil

    try:
        return int(psutil.virtual_memory().total)
    except (OSError, psutil.Error, NotImplementedError) as error:
        _log.debug("the machine does not tell its memory: %s", error)
        return None
