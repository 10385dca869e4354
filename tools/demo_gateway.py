"""The demo's side of the gateway: the process, a request, and the sabotage of a model."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from modelway import ModelwayError

_READY = "modelway is listening on "
#: More than a cold model needs to its first token, and less than anybody waits for a demo.
_TIMEOUT_S = 60
#: How long the gateway may take to end.
_STOP_S = 10
_MAX_TOKENS = 40


@dataclass(frozen=True)
class Answer:
    """What the gateway said of a request, and its text. Times are this client's own."""

    model: str
    task: str
    confidence: float
    location: str
    fallback: str
    warning: str
    load_ms: int
    first_token_s: float
    text: str


class Gateway:
    """``modelway serve`` on a free port; the process ends with the ``with`` block, however that ends."""

    def __init__(self, config: Path) -> None:
        command = [sys.executable, "-m", "modelway", "serve", "--config", str(config), "--host", "127.0.0.1"]
        self._process = subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True)
        self.url = ""

    def __enter__(self) -> Self:
        try:
            self.url = self._await_ready()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def break_model(self, model: str, file: Path) -> None:
        """Take the model's file away and kill the process that runs it, if there is one."""
        for pid in self._children():
            with suppress(OSError):
                if str(file) in Path(f"/proc/{pid}/maps").read_text():
                    os.kill(pid, signal.SIGKILL)
                    print(f"--- {model}: its process {pid} was killed and its file taken away\n")
        file.unlink()

    def _await_ready(self) -> str:
        assert self._process.stdout is not None
        said = self._process.stdout.readline().strip()
        if not said.startswith(_READY):
            raise ModelwayError(f"demo: the gateway did not start; it said {said!r}")
        return said.removeprefix(_READY)

    def _children(self) -> Iterator[int]:
        for entry in Path("/proc").glob("[0-9]*/status"):
            with suppress(OSError):
                if f"\nPPid:\t{self._process.pid}\n" in entry.read_text():
                    yield int(entry.parent.name)

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except BaseException:  # too slow, or a second Ctrl-C: it must not outlive this program
            self._process.kill()
            self._process.wait()
            raise


def ask(url: str, model: str, prompt: str, tools: Sequence[Any] = ()) -> Answer:
    """One streamed chat completion. Raises ModelwayError where the gateway refuses or the stream breaks off."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": _MAX_TOKENS,
        "stream": True,
    }
    if tools:
        body["tools"] = list(tools)
    address = urlsplit(url)
    with closing(http.client.HTTPConnection(address.hostname or "", address.port, timeout=_TIMEOUT_S)) as connection:
        began = time.perf_counter()
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            raise ModelwayError(f"demo: the gateway answered {response.status}: {response.read().decode()}")
        text, first_token_s = "", 0.0
        for piece in _pieces(response):
            first_token_s = first_token_s or time.perf_counter() - began
            text += piece
    words = ("model", "task", "location", "fallback", "warning")
    said = {word: response.getheader(f"x-modelway-{word}", "") for word in words}
    return Answer(
        **said,
        confidence=float(response.getheader("x-modelway-confidence", "0")),
        load_ms=int(response.getheader("x-modelway-load-ms", "0")),
        first_token_s=first_token_s,
        text=text,
    )


def _pieces(response: http.client.HTTPResponse) -> Iterator[str]:
    """What there is to read, piece by piece: thinking, text, the calls of tools."""
    ended = False
    for line in response:
        if not line.startswith(b"data: "):
            continue
        data = line.removeprefix(b"data: ").strip()
        if data == b"[DONE]":
            ended = True
            continue
        event = json.loads(data)
        if "error" in event:
            raise ModelwayError(f"demo: the answer broke off: {event['error']['message']}")
        for choice in event["choices"]:
            delta = choice["delta"]
            functions = [call["function"] for call in delta.get("tool_calls") or []]
            calls = "".join(f"{function.get('name', '')}{function.get('arguments', '')}" for function in functions)
            if piece := (delta.get("reasoning_content") or "") + (delta.get("content") or "") + calls:
                yield piece
    if not ended:
        raise ModelwayError("demo: the answer ended without its last record")
