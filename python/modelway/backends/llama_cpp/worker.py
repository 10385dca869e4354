"""The child process that runs one model with xllamacpp's own HTTP server, on a free loopback port.

Run as a script, so it needs nothing of modelway. One JSON line on its standard input says what to load;
one JSON line on its standard output answers with the server's address or with what went wrong. Then it
lives exactly as long as its standard input is open: nothing has to be sent to end it, and it ends with
its parent however that ends.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from typing import Any, NoReturn

_PR_SET_PDEATHSIG = 1


def main() -> NoReturn:
    order = json.loads(sys.stdin.buffer.readline())
    _die_with_parent(order["parent"])
    answers = os.dup(1)
    # The engine prints to standard output now and then; that channel is for one line of ours.
    os.dup2(2, 1)
    answer, server = _load(order)
    os.write(answers, json.dumps(answer).encode() + b"\n")
    os.close(answers)
    if server is not None:
        sys.stdin.buffer.read()
    # Not sys.exit: the engine's threads may be in the middle of an answer that nobody reads any more.
    os._exit(0)


def _load(order: dict[str, Any]) -> tuple[dict[str, str], object]:
    """The answer, and the server: it stops with its last reference."""
    try:
        from xllamacpp import CommonParams, Server
    except ImportError as error:
        return {"missing": f"xllamacpp can't be imported ({error}); pip install 'modelway[llama]'"}, None
    params = CommonParams()
    params.model.path = order["path"]
    # The window is shared out among the slots; each answer gets what was asked for.
    params.n_ctx = order["context"] * order["parallel"]
    params.n_parallel = order["parallel"]
    params.cpuparams.n_threads = order["threads"]
    params.cpuparams_batch.n_threads = order["threads"]
    params.port = 0
    # Without a key every program and every web page on this machine could use the model.
    params.api_keys = [order["api_key"]]
    params.ui = False
    params.endpoint_slots = False
    # Up to 8 GiB of old prompts kept in memory otherwise.
    params.cache_ram_mib = 0
    # Errors only: what is logged at higher levels shows prompts.
    params.verbosity = 1
    try:
        server = Server(params)
    except Exception as error:
        return {"failed": str(error)}, None
    return {"address": server.listening_address}, server


def _die_with_parent(parent: int) -> None:
    """The end of standard input is not seen while a model is being loaded; Linux offers more."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # It may have gone before the line above.
    if os.getppid() != parent:
        os._exit(0)


if __name__ == "__main__":
    main()
