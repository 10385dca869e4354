"""Files that only their owner may read, written whole or not at all, and shared by several processes."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from modelway.errors import StateError

#: How long another process may hold a file, seconds: each holds it for some milliseconds.
_LOCK_S = 5.0
_PRIVATE = 0o600


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """No other process or thread is between these lines for the same file. Makes its folder.

    Raises :class:`StateError` where that can't be.
    """
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(f"{file}.lock", timeout=_LOCK_S, mode=_PRIVATE)
        lock.acquire()
    except Timeout:
        raise StateError(f"{file}: another process has held it for {_LOCK_S:g} s; end that", path=str(file)) from None
    except OSError as error:
        raise unusable(file, "locked", error) from error
    try:
        yield
    finally:
        lock.release()


def write_whole(file: Path, data: bytes) -> None:
    """Put ``data`` in the place of the file's content, so that whoever reads sees the old or the new one, never a part.

    Raises :class:`StateError`; then the old content stands.
    """
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # readable by its owner alone
        try:
            with os.fdopen(descriptor, "wb") as new:
                new.write(data)
                new.flush()
                os.fsync(new.fileno())
            Path(name).replace(file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _keep_name(file.parent)
    except OSError as error:
        raise unusable(file, "written", error) from error


def append(file: Path, data: bytes) -> None:
    """Add ``data`` at the end, and return when it is on the disk. Raises :class:`StateError`."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, _PRIVATE)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise unusable(file, "written", error) from error


def who_else_may_write(file: Path) -> str | None:
    """Who beside this user could have written the file, in words; None: nobody. Raises ``OSError`` without a file."""
    found = file.stat()
    if not hasattr(os, "geteuid"):
        return None
    if found.st_uid not in (os.geteuid(), 0):
        return "it belongs to another user"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "others may write to it"
    return None


def may_others_read(file: Path) -> bool:
    """Whether users beside its owner may read the file, or list the folder. Raises ``OSError`` without one."""
    mode = file.stat().st_mode
    return hasattr(os, "geteuid") and bool(mode & (stat.S_IRGRP | stat.S_IROTH))


def unusable(file: Path, done: str, error: OSError) -> StateError:
    """The error of a file that can't be ``done``."""
    why = error.strerror or str(error)
    return StateError(
        f"{file}: can't be {done} ({why}); make room there, or name another [state] folder", path=str(file)
    )


def _keep_name(folder: Path) -> None:
    """A file's name is on the disk only when its folder is."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
