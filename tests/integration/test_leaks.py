"""The leak check itself: it finds what is left behind, and nothing where all was closed."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack

import leaks
import pytest
from leaks import no_leaks

Leak = Callable[[AsyncExitStack], None]


def a_task(stack: AsyncExitStack) -> None:
    task = asyncio.create_task(asyncio.Event().wait())
    stack.callback(task.cancel)


def a_timer(stack: AsyncExitStack) -> None:
    timer = asyncio.get_running_loop().call_later(60, print)
    stack.callback(timer.cancel)


def a_descriptor(stack: AsyncExitStack) -> None:
    for end in os.pipe():
        stack.callback(os.close, end)


def a_child(stack: AsyncExitStack) -> None:
    end, other = os.pipe()
    pid = os.posix_spawn(
        sys.executable, [sys.executable, "-c", "input()"], {}, file_actions=[(os.POSIX_SPAWN_DUP2, end, 0)]
    )
    stack.callback(os.waitpid, pid, 0)
    for pipe in (end, other):
        stack.callback(os.close, pipe)


@pytest.mark.parametrize(
    ("leak", "named"), [(a_task, "task"), (a_timer, "timer"), (a_descriptor, "descriptor"), (a_child, "child")]
)
async def test_what_is_left_behind_is_named(leak: Leak, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "_PATIENCE_S", 0.01)
    async with AsyncExitStack() as later:
        with pytest.raises(AssertionError, match=rf"left behind: .*{named}"):
            async with no_leaks():
                leak(later)


async def test_an_error_that_nobody_took_is_named() -> None:
    async def fail() -> None:
        raise LookupError("nobody asks")

    with pytest.raises(AssertionError, match="nobody asks"):
        async with no_leaks():
            await asyncio.wait([asyncio.create_task(fail())])


@pytest.mark.parametrize("leak", [a_task, a_timer, a_descriptor, a_child])
async def test_what_was_closed_is_no_leak(leak: Leak) -> None:
    async with no_leaks(), AsyncExitStack() as within:
        leak(within)


async def test_what_was_open_before_may_stay(tmp_path) -> None:
    async with AsyncExitStack() as later:
        for leak in (a_task, a_timer, a_descriptor):
            leak(later)
        async with no_leaks():
            (tmp_path / "file").write_text("closed at once")
