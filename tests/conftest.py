"""What every test is held to: nothing of modelway blocks the event loop, nothing connects to another machine, the first
stage starts no engine, and how much memory the machine has does not matter.

No engine: not in this process, not in a child, not in a child's child. In a run without e2e tests a module of
the engine's name stands first on every process's path. It writes down who imports it, and the test that did
so fails.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster

from network_guard import Watch, doors_watched, watching

NO_ENGINE = Path(__file__).with_name("no_engine")


@pytest.fixture(scope="session")
def engine_imports(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """The file that names every process that imported the engine; None in a run that may start it."""
    if any(item.get_closest_marker("e2e") for item in request.session.items):
        yield None
        return
    record = tmp_path_factory.mktemp("engine") / "imports"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(NO_ENGINE)
        patch.setenv("PYTHONPATH", str(NO_ENGINE), prepend=os.pathsep)
        patch.setenv("MODELWAY_ENGINE_IMPORTS", str(record))
        yield record


@pytest.fixture(autouse=True, scope="session")
def _heeds_interrupts() -> None:
    """A shell starts what runs in its background with interrupts ignored, and children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _nobodys_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The user's configuration folder is an empty one, for children too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield


@pytest.fixture(autouse=True, scope="session")
def _any_machine() -> Iterator[None]:
    """How much memory there is, nobody knows but who configures it; in this process, not in its children."""
    from modelway.residency import manager
    from modelway.residency.machine import Machine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manager, "read_machine", lambda: Machine(None, has_gpu=False))
        yield


@pytest.fixture(autouse=True)
def _starts_no_engine(engine_imports: Path | None) -> Iterator[None]:
    yield
    if engine_imports is None:
        return
    loaded = sys.modules.pop("xllamacpp", None)
    assert loaded is None, f"the engine was loaded into the test process: {loaded}"
    if engine_imports.exists():
        importers = engine_imports.read_text()
        engine_imports.unlink()
        pytest.fail(f"the engine was imported by: {importers}", pytrace=False)


@pytest.fixture(scope="session")
def blocking_calls() -> BlockBuster:
    """Told off when they are called under an event loop by modelway, but for what it does once, at its start."""
    calls = BlockBuster("modelway", excluded_modules=["modelway.testing", "modelway.backends.mock"])
    for call in calls.functions.values():
        call.can_block_in("modelway/config/written.py", ("load_config", "from_toml"))
    return calls


@pytest.fixture(autouse=True)
def _never_blocks_the_loop(blocking_calls: BlockBuster) -> Iterator[None]:
    blocking_calls.activate()
    yield
    blocking_calls.deactivate()


@pytest.fixture(autouse=True, scope="session")
def _doors_watched() -> Iterator[None]:
    with doors_watched():
        yield


@pytest.fixture(autouse=True)
def connections() -> Iterator[Watch]:
    """What this test connects to; it fails where that is another machine, or a server elsewhere without a pass."""
    with watching() as watch:
        yield watch
