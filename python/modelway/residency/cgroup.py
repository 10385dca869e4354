"""How much memory a container, or a service, may use: the limit of the control group that this process is in."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_log = logging.getLogger("modelway.residency")

#: Version 2's files. Above ``memory.max`` the kernel kills; above ``memory.high`` it slows the group down so much that
#: nothing answers in time, and models read from their files push one another out.
_FILES_2: tuple[str, ...] = ("memory.max", "memory.high")
_FILES_1 = ("memory.limit_in_bytes",)
#: Version 1 writes "no limit" as the largest number of pages, 2⁶³ bytes less a page; no machine has a 64th of it.
_NO_LIMIT = 2**57


def memory_limit(root: Path = Path("/")) -> int | None:
    """The least limit of the process's group and of those above it, in bytes; None: there is none. Never fails.

    ``root``: where ``proc`` and ``sys`` are. A container may see its own group as the topmost, or the path of the
    machine: groups of that path that are not there are passed by.
    """
    limits = (limit for file in _files(root) if (limit := _limit(file)) is not None)
    return min(limits, default=None)


def _files(root: Path) -> Iterator[Path]:
    """Each file that may hold a limit."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        top = root / "sys/fs/cgroup"
        if (number, controllers) == ("0", ""):
            names = _FILES_2
        elif "memory" in controllers.split(","):
            top, names = top / "memory", _FILES_1
        else:
            continue
        group = PurePosixPath(path.lstrip("/"))
        # Outside of what this process sees: what is mounted is nearer to it than what is named.
        groups = [] if ".." in group.parts else [group, *group.parents]
        for above in groups or [PurePosixPath()]:
            yield from (top / above / name for name in names)


def _limit(file: Path) -> int | None:
    text = _text(file).strip()
    if not (text.isascii() and text.isdecimal()):  # "max", or no such file
        return None
    return limit if 0 < (limit := int(text)) < _NO_LIMIT else None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        _log.debug("no limit of memory is read from %s: %s", file, error.strerror)
        return ""
