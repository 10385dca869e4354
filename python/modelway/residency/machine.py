"""How much memory this machine has for models: its graphics cards', else its own."""

from __future__ import annotations

import logging
from dataclasses import dataclass

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


def read_machine() -> Machine:
    """Ask the NVIDIA driver where ``modelway[gpu]`` is installed, else the operating system. Blocks; never fails."""
    graphics = _graphics_bytes()
    if graphics:
        return Machine(graphics * _GRAPHICS_PERCENT // 100, has_gpu=True)
    return Machine(_own_bytes(), has_gpu=False)


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
        return int(psutil.virtual_memory().total) * _OWN_PERCENT // 100
    except (OSError, psutil.Error, NotImplementedError) as error:
        _log.debug("the machine does not tell its memory: %s", error)
        return None
