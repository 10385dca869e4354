"""The processes that a test has started; from Linux's ``/proc``."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def children() -> set[int]:
    """The ids of the processes whose parent this one is, ended ones that nobody waited for among them."""
    found: set[int] = set()
    for task in Path("/proc/self/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread may end while we look
            found.update(map(int, task.read_text().split()))
    return found
