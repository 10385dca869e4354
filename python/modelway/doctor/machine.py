"""What this machine shows without asking a server: who may read and write files, and which ports are open to all."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modelway.privacy.private_file import may_others_read, who_else_may_write

Role = Literal["configuration", "keys", "consents", "ledger", "state"]

#: Linux lists the sockets of this network namespace there; elsewhere nothing is known of them.
_SOCKETS = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
#: A listening socket: its address and port in hexadecimal, no peer, state 0A.
_LISTENING = re.compile(r"^\s*\d+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) [0-9A-F]+:0000 0A ", re.M)
_ASSIGNED = re.compile(r"^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=", re.M | re.ASCII)
_ENV_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Kept:
    """A file or folder and who beside its owner has a way to it. ``writers`` in words; None: nobody."""

    path: Path
    role: Role
    writers: str | None
    others_read: bool


def kept_files(source: Path | None, base_dir: Path, state: Path, key_names: Collection[str]) -> list[Kept]:
    """The files that must be their owner's alone, those of them that there are.

    ``source`` is the configuration, ``.env`` beside it counts where it sets one of ``key_names``.
    """
    roles: list[tuple[Path, Role]] = [] if source is None else [(source, "configuration")]
    if _sets_any(base_dir / ".env", key_names):
        roles.append((base_dir / ".env", "keys"))
    roles += [(state, "state"), (state / "consents.json", "consents")]
    with suppress(OSError):
        roles += [(file, "ledger") for file in sorted(state.glob("egress*.jsonl"))]
    kept = []
    for path, role in roles:
        with suppress(OSError):  # it is not there, or in a folder of somebody else's
            writers = None if role == "configuration" and _is_of_own_group(path) else who_else_may_write(path)
            kept.append(Kept(path, role, writers, may_others_read(path)))
    return kept


def _is_of_own_group(path: Path) -> bool:
    """Whether only this user's private group may write to it, as systems have it that give each user one, of the same
    number, and let files be writable by it."""
    found = path.stat()
    return hasattr(os, "geteuid") and found.st_uid == found.st_gid == os.geteuid() and not found.st_mode & stat.S_IWOTH


def _sets_any(file: Path, names: Collection[str]) -> bool:
    try:
        with file.open("rb") as stream:
            text = stream.read(_ENV_BYTES).decode("utf-8", "replace")
    except OSError:
        return False
    return any(found[1] in names for found in _ASSIGNED.finditer(text))


def open_ports() -> frozenset[int]:
    """The TCP ports at which a program on this machine listens on every address."""
    texts = []
    for file in _SOCKETS:
        with suppress(OSError):
            texts.append(file.read_text("ascii"))
    return ports_for_all("\n".join(texts))


def ports_for_all(sockets: str) -> frozenset[int]:
    """The same, read from lines of ``/proc/net/tcp`` and ``tcp6``."""
    return frozenset(int(found[2], 16) for found in _LISTENING.finditer(sockets) if not found[1].strip("0"))


def ollama_host() -> str:
    """What ``$OLLAMA_HOST`` says; empty: nothing."""
    return os.environ.get("OLLAMA_HOST", "")
