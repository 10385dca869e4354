"""A router with limits, and loops whose steps are counted."""

from __future__ import annotations

import asyncio
import os
import threading
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

import modelway as mw
from modelway.config import Config
from modelway.router import for_core

OK = mw.RequestOutcome(True)


def limited(*models: str, max_concurrent: int | None = None, **settings: Any) -> mw.ModelRouter:
    """A router of ``models`` on one backend; ``settings`` as the core reads them."""
    router = mw.ModelRouter(Config.model_validate({"models": [{"id": model} for model in models]}))
    plain = for_core(router.settings) | settings
    plain["models"] = [model | {"max_concurrent": max_concurrent} for model in plain["models"]]
    router.replace_table(plain)
    return router


def rates(**of: dict[str, Any]) -> dict[str, Any]:
    """Limits as the core reads them: ``user`` or ``all``, each with rates of ``requests`` and ``tokens``."""
    none = {"requests": None, "tokens": None}
    return {"user": none | of.get("user", {}), "all": none | of.get("all", {}), "quota": []}


def exit_code_of_child(child: Callable[[], int]) -> int:
    """What ``child`` returns in a fork of this process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other tests may have left threads
        number = os.fork()
    if not number:
        try:
            os._exit(child())
        finally:
            os._exit(255)
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def run_on_loops(count: int, main: Callable[[int], Coroutine[Any, Any, object]]) -> list[BaseException]:
    """Runs ``main(0)``, ``main(1)`` and so on, each on an event loop in a thread of its own; what they raised."""
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            asyncio.run(asyncio.wait_for(main(number), 4))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


async def steps(count: int) -> None:
    """Lets the loop run so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def cancel_at_each_step(
    scenario: Callable[[], tuple[Coroutine[Any, Any, object], Callable[[], Coroutine[Any, Any, None]]]],
) -> int:
    """Runs ``scenario`` again and again, each time cancelled one step of the loop later, until it ends before.

    It gives the coroutine to cancel, and a check to be awaited afterwards. Returns how often it was cancelled.
    """
    for count in range(1000):
        coroutine, check = scenario()
        task = asyncio.ensure_future(coroutine)
        await steps(count)
        was_running = task.cancel()
        await asyncio.wait((task,))
        await check()
        if not was_running:
            task.result()
            return count
    raise AssertionError("it never ends")
