"""A child process with a loaded model: started, known to have ended, ended."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from modelway.backends.wire.refusals import clean
from modelway.errors import BackendError
from modelway.origin import Origin

_WORKER = Path(__file__).with_name("worker.py")
#: How long a child may take to end by itself.
_STOP_S = 2.0
#: The end of what it wrote to standard error, for the message when it dies.
_TAIL_BYTES = 4096


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """``context``: tokens an answer's window has; ``parallel``: answers at once; ``threads``: for computing."""

    threads: int
    context: int
    parallel: int


class LlamaChild:
    """One process, one model. ``exited`` is done once the process has ended and was waited for."""

    def __init__(self, process: asyncio.subprocess.Process):
        self._process = process
        self._tail = bytearray()
        self.pid = process.pid
        self.address = ""
        #: Known to us and to the child only; never on a command line.
        self.api_key = secrets.token_urlsafe(24)
        self.exited = asyncio.create_task(self._watch())

    @classmethod
    async def start(cls, path: Path, options: EngineOptions, load_s: float, origin: Origin) -> Self:
        """Start a process and wait until the model is loaded; on any other end there is no process left.

        Raises BackendError: ``missing`` without xllamacpp, ``timeout`` after ``load_s`` seconds,
        ``server_error`` where the model can't be loaded.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            # Nothing is to be imported from the working directory.
            "-P",
            str(_WORKER),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # Idle threads of two models that compute at once would take each other's cores by spinning.
            env={"OMP_WAIT_POLICY": "passive", **os.environ},
            # Ctrl-C is for the parent, which ends its children in good order.
            process_group=0,
        )
        child = cls(process)
        try:
            async with asyncio.timeout(load_s):
                await child._load(path, options, origin)
        except TimeoutError:
            await child.kill()
            raise origin.error("timeout", f"{path} was not loaded within {load_s:g} s") from None
        except BaseException:
            await child.kill()
            raise
        return child

    async def stop(self) -> None:
        """End the process and wait for it, at most about two seconds."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await asyncio.wait({self.exited}, timeout=_STOP_S)
        await self.kill()

    async def kill(self) -> None:
        """End the process at once and wait for it; nothing happens where it has ended."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await asyncio.shield(self.exited)

    async def _load(self, path: Path, options: EngineOptions, origin: Origin) -> None:
        order = {"path": str(path), "parent": os.getpid(), "api_key": self.api_key, **asdict(options)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # A child that is already dead says so by its empty answer.
        with suppress(BrokenPipeError, ConnectionResetError):
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            await self._process.stdin.drain()
        line = await self._process.stdout.readline()
        answer = json.loads(line) if line.endswith(b"\n") else {}
        if "missing" in answer:
            raise origin.error("missing", answer["missing"])
        if "address" not in answer:
            raise await self._not_loaded(path, answer.get("failed"), origin)
        self.address = answer["address"]

    async def _not_loaded(self, path: Path, why: str | None, origin: Origin) -> BackendError:
        await self.exited
        detail = clean(self._tail.decode("utf-8", "replace"))
        said = why or f"its process ended with {self._process.returncode}"
        return origin.error("server_error", f"{path} could not be loaded: {said} ({detail})", detail=detail)

    async def _watch(self) -> None:
        assert self._process.stderr is not None
        # Read to the end, or a full pipe would stop the child.
        while chunk := await self._process.stderr.read(_TAIL_BYTES):
            self._tail += chunk
            del self._tail[:-_TAIL_BYTES]
        await self._process.wait()
