"""How much memory a process uses, to the byte, and what else it holds.

Resident memory is no measure for a leak of a few bytes a request: it moves with the allocator's habits by megabytes.
Under ``PYTHONMALLOC=malloc`` every object of Python, of its extensions and of Rust is one allocation of the C library,
which counts the bytes in use; after a garbage collection that number is the same for the same state.
"""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path


class _MallInfo(ctypes.Structure):
    """glibc's ``struct mallinfo2``, since 2.33; ``uordblks`` in arenas and ``hblkhd`` in mappings are in use."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


def live_bytes() -> int | None:
    """Bytes allocated and not freed; None where the C library can't tell, or is not asked for all of them."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2") or os.environ.get("PYTHONMALLOC") != "malloc":
        return None
    library.mallinfo2.restype = _MallInfo
    for _ in range(3):  # a finalizer may leave garbage of its own
        gc.collect()
    info = library.mallinfo2()
    return int(info.uordblks + info.hblkhd)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
