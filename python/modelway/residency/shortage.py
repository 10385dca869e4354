"""Which failures of a load mean that there was too little memory."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelway.errors import BackendError

#: How llama.cpp, CUDA, the C++ library and Ollama's scheduler say it.
_WORDS = re.compile(
    r"out of (device |host |system )?memory|(not enough|insufficient) (system |gpu |free )?memory|bad_alloc|cudaMalloc"
    r"|std::system_error\b.*\bResource temporarily unavailable"  # there was no room for a thread's stack
    r"|(failed|unable|cannot|could not) (to )?(be )?(allocate|allocated|alloc)\b|requires more (system|gpu) memory",
    re.IGNORECASE,
)
#: How a process ends that the system's memory killer has chosen: by SIGKILL, which nobody else sends it while it loads.
_KILLED = re.compile(r"its process ended with -9\b")

#: By how much an estimate was too small, where nobody says so.
RAISE_PERCENT = 20


def is_shortage(error: BackendError) -> bool:
    """Whether the model was not loaded for want of memory."""
    return bool(_WORDS.search(str(error)) or _KILLED.search(str(error)))


def raised(thought_bytes: int) -> int:
    """What a model is thought to take that did not fit into ``thought_bytes``."""
    return thought_bytes * (100 + RAISE_PERCENT) // 100
