"""``[health] alert_command``: a program of the user's, run for each alert.

No shell reads anything of it: the sentence is one argument, whatever stands in it. One runs at a time, none for long,
and nothing ever waits for it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from collections import deque
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelway.events import AvailabilityChanged

_log = logging.getLogger("modelway.monitor")

#: How long one run may take.
LIMIT_S = 10.0
#: How many alerts may wait for the runs before them; then the oldest is left out.
_MOST_WAITING = 100


class AlertCommand:
    """Runs in a task of its own, which lives only while something is to be run."""

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._waiting: deque[tuple[Sequence[str], AvailabilityChanged]] = deque(maxlen=_MOST_WAITING)
        self._running: asyncio.Task[None] | None = None
        self._has_failed = False

    def run(self, command: Sequence[str], alert: AvailabilityChanged) -> None:
        """Run it when those before it have ended."""
        self._waiting.append((command, alert))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run_all())

    async def aclose(self) -> None:
        """End what runs and leave out what waits; idempotent."""
        self._waiting.clear()
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})

    async def _run_all(self) -> None:
        while self._waiting:
            command, alert = self._waiting.popleft()
            failure = await self._run_one(command, alert)
            if failure and not self._has_failed:  # once: it would fail for each alert alike
                _log.warning('[health] alert_command: "%s" %s', command[0], failure)
            self._has_failed = failure is not None

    async def _run_one(self, command: Sequence[str], alert: AvailabilityChanged) -> str | None:
        """Run it to its end; what went wrong."""
        # A task of its own: cancelled in it, asyncio would end the program alone and leave what that has started.
        starting = asyncio.create_task(
            asyncio.create_subprocess_exec(
                *command,
                alert.message,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                # A group of its own, so that what it started ends with it.
                process_group=0,
            )
        )
        try:
            async with asyncio.timeout(self._limit_s):
                process = await asyncio.shield(starting)
                await process.communicate(json.dumps(asdict(alert)).encode() + b"\n")
        except TimeoutError:
            return f"did not end within {self._limit_s:g} s and was ended"
        except (OSError, ValueError) as error:
            return f"could not be started: {getattr(error, 'strerror', None) or error}"
        finally:
            await _end(starting)
        return f"ended with {process.returncode}" if process.returncode else None


async def _end(starting: asyncio.Task[asyncio.subprocess.Process]) -> None:
    """Kill the program's group, if it was started and still runs."""
    with suppress(OSError, ValueError):  # it was never there, or it ended this moment
        process = await starting
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
