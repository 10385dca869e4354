"""A stream cut at each of its bytes: the whole answer where its end had come, else a beginning of it and an error.

The frames are shaped as real servers write them: thinking, characters of four bytes, tool calls. Every position goes
through framer, reader and the loop that joins them, with bursts handed in; a sample goes over a socket, through a
conductor.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import orjson
import pytest
from conductor_kit import OpenConductor, collect, text_of

from modelway.backends.base import Deadlines
from modelway.backends.ollama.answer import OllamaAnswer
from modelway.backends.openai_compat.answer import OpenAIAnswer
from modelway.backends.wire.exchange import Exchange, Reader
from modelway.backends.wire.lines import Framer, LineFramer, SseFramer
from modelway.errors import BackendError, NoModelAvailable, StreamInterrupted
from modelway.events import Ended, TextDelta, ThinkingDelta, ToolCallDelta
from modelway.origin import Origin

ORIGIN = Origin("local", "m")
PATIENT = Deadlines(first_token_s=60.0, between_tokens_s=60.0)
#: What every server's answer says, piece by piece.
PIECES = [
    ("thinking", "Hm 🤔"),
    ("thinking", ", 日本?"),
    ("text", "Yes"),
    ("text", ": 😀🏳️‍🌈é"),
    ("text", '}\n"{'),
    ("tool", '{"city":"東京🗼"}'),
]


@dataclass(frozen=True)
class Server:
    """One way to write the answer; complete after its first ``end`` frames, where the body ends well after them."""

    kind: str
    content_type: str
    frames: list[bytes]
    end: int
    framer: Callable[[], Framer]
    reader: Callable[[Origin], Reader]

    @property
    def stream(self) -> bytes:
        return b"".join(self.frames)

    def due(self, cut: int) -> int:
        """How many characters the frames say that are whole before ``cut``; each frame says a piece or nothing."""
        whole = [frame for frame, at in zip(self.frames, accumulate(map(len, self.frames)), strict=True) if at <= cut]
        # A tool call's arguments are an object in one protocol, a text in the other.
        forms = {piece: (piece.encode(), orjson.dumps(piece)[1:-1]) for _, piece in PIECES}
        return sum(len(piece) for frame in whole for piece in forms if any(form in frame for form in forms[piece]))

    @property
    def least(self) -> int:
        """Bytes from which on a good end of the body may be a complete answer: only a line's end may be missing."""
        return len(b"".join(self.frames[: self.end]).rstrip())


def ollama() -> Server:
    def line(message: dict[str, Any], **more: object) -> bytes:
        record = {"model": "m", "created_at": "2026-01-02T03:04:05.6Z", "message": {"role": "assistant"} | message}
        return orjson.dumps(record | {"done": False} | more) + b"\n"

    frames = []
    for kind, piece in PIECES:
        if kind == "tool":
            function = {"index": 0, "name": "weather", "arguments": orjson.loads(piece)}
            frames.append(line({"content": "", "tool_calls": [{"id": "call_1", "function": function}]}))
        else:
            frames.append(line({"content": piece} if kind == "text" else {"content": "", "thinking": piece}))
    frames.append(line({"content": ""}, done=True, done_reason="stop", load_duration=1, eval_count=6))
    return Server("ollama", "application/x-ndjson", frames, len(frames), LineFramer, OllamaAnswer)


def sse(chunks: Iterable[dict[str, Any]]) -> list[bytes]:
    return [*(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks), b"data: [DONE]\n\n"]


def chunks_of(thinking: str, envelope: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Chunks up to the finish reason; ``thinking`` is the name that the server has for it."""
    for kind, piece in PIECES:
        delta: dict[str, Any] = {"content": piece} if kind == "text" else {thinking: piece}
        if kind == "tool":
            head = {"index": 0, "id": "call_1", "type": "function"}
            yield envelope | choice({"tool_calls": [head | {"function": {"name": "weather", "arguments": ""}}]})
            delta = {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}
        yield envelope | choice(delta)
    yield envelope | choice({}, "tool_calls")


def choice(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def vllm() -> Server:
    """As Ollama's own OpenAI route writes it, too, with ``reasoning``: the finish reason, then a chunk of counts."""
    envelope = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    chunks = [envelope | choice({"role": "assistant", "content": ""}), *chunks_of("reasoning", envelope)]
    counts = envelope | {"choices": [], "usage": {"prompt_tokens": 3, "total_tokens": 9, "completion_tokens": 6}}
    frames = sse([*chunks, counts])
    return Server("openai", "text/event-stream", frames, len(chunks), SseFramer, OpenAIAnswer)


def llama_server() -> Server:
    envelope = {
        "created": 1,
        "id": "chatcmpl-x",
        "model": "m",
        "system_fingerprint": "b1",
        "object": "chat.completion.chunk",
    }
    first = choice({"role": "assistant", "content": None}) | envelope
    *chunks, last = chunks_of("reasoning_content", envelope)
    frames = sse([first, *chunks, last | {"timings": {"prompt_n": 3, "predicted_n": 6, "predicted_ms": 1.5}}])
    return Server("openai", "text/event-stream", frames, len(chunks) + 2, SseFramer, OpenAIAnswer)


def proxied() -> Server:
    """Through a proxy that ends lines with CRLF and keeps the connection alive with comments."""
    plain = vllm()
    frames = [frame.replace(b"\n", b"\r\n") for frame in plain.frames]
    frames[3] = b": still here\r\n\r\n" + frames[3]
    return Server("openai", "text/event-stream", frames, plain.end, SseFramer, OpenAIAnswer)


SERVERS = {make.__name__: make() for make in (ollama, vllm, llama_server, proxied)}
WHOLE = [(kind, character) for kind, piece in PIECES for character in piece]


def tenths(frame: bytes) -> list[int]:
    """The lengths of ten packets that a frame comes in."""
    marks = [len(frame) * tenth // 10 for tenth in range(11)]
    return [end - begin for begin, end in pairwise(marks)]


#: How the stream comes in bursts: their lengths.
PACKETS: dict[str, Callable[[list[bytes]], list[int]]] = {
    "at once": lambda frames: [sum(map(len, frames))],
    "a frame each": lambda frames: list(map(len, frames)),
    "two frames each": lambda frames: [len(b"".join(frames[at : at + 2])) for at in range(0, len(frames), 2)],
    "ten to a frame": lambda frames: [length for frame in frames for length in tenths(frame)],
}


def bursts(stream: bytes, lengths: list[int], cut: int) -> list[bytes]:
    """What of the stream comes before ``cut``, in packets of these lengths."""
    marks = [0, *accumulate(lengths)]
    return [packet for begin, end in pairwise(marks) if (packet := stream[begin : min(end, cut)])]


class Cut:
    """An answer that comes in the given bursts, and then ends or breaks."""

    def __init__(self, packets: list[bytes], *, is_reset: bool) -> None:
        self._packets = iter(packets)
        self._is_reset = is_reset

    async def burst(self) -> bytes:
        packet = next(self._packets, b"")
        if not packet and self._is_reset:
            raise ORIGIN.error("interrupted", "the connection broke in mid-answer")
        return packet

    def close(self) -> None:
        pass


async def read(server: Server, answer: Cut) -> tuple[list[Any], BackendError | None]:
    """The events of an answer, through the loop that reads real ones."""
    sending: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    sending.set_result(answer)
    exchange = Exchange(sending, ORIGIN, PATIENT, server.framer())  # type: ignore[arg-type]
    events: list[Any] = []
    try:
        async for event in exchange.events(server.reader(ORIGIN)):
            events.append(event)  # noqa: PERF401  (what came before an error counts)
    except BackendError as error:
        return events, error
    return events, None


def said(events: Iterable[Any]) -> list[tuple[str, str]]:
    """Every character of the answer with its kind, in order."""
    characters: list[tuple[str, str]] = []
    for event in events:
        match event:
            case TextDelta(text):
                characters += [("text", character) for character in text]
            case ThinkingDelta(text):
                characters += [("thinking", character) for character in text]
            case ToolCallDelta(arguments=text):
                characters += [("tool", character) for character in text]
    return characters


@pytest.mark.parametrize("packets", PACKETS)
@pytest.mark.parametrize("name", SERVERS)
async def test_a_stream_cut_at_any_byte_is_whole_or_an_error_after_a_beginning(name, packets):
    server = SERVERS[name]
    stream, lengths = server.stream, PACKETS[packets](server.frames)
    assert sum(lengths) == len(stream)
    assert server.due(len(stream)) == len(WHOLE)
    for is_reset in (False, True):
        for cut in range(len(stream) + 1):
            events, error = await read(server, Cut(bursts(stream, lengths, cut), is_reset=is_reset))
            came = said(events)
            assert came == WHOLE[: len(came)], f"cut at {cut}"
            assert len(came) >= server.due(cut), f"cut at {cut}: a whole frame was not handed on"
            if error is None:
                # Whoever breaks off is trusted with the very last record alone.
                assert cut >= (len(stream) if is_reset else server.least)
                assert came == WHOLE, f"cut at {cut}"
                assert isinstance(events[-1], Ended)
                assert events[-1].finish_reason == "tool_calls"
            else:
                assert cut < len(stream), "all has come"
                assert error.kind in {"interrupted", "malformed"}
                assert not any(isinstance(event, Ended) for event in events)


#: How a server's body ends where it is cut: framed in chunks with and without the last one, broken off, or unframed.
ENDINGS = ("last chunk", "no last chunk", "reset", "closed")


@asynccontextmanager
async def cutting(server: Server, cuts: Iterator[tuple[int, str, list[int]]]) -> AsyncIterator[str]:
    """A server that ends its answers as ``cuts`` says, one after the other: how many bytes, how, in which packets."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET "):
            writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\nConnection: close\r\n\r\n{"version":"0.32.1"}')
        else:
            await answer(writer, *next(cuts))
        writer.close()

    async def answer(writer: asyncio.StreamWriter, cut: int, ending: str, lengths: list[int]) -> None:
        is_chunked = ending != "closed"
        framing = b"Transfer-Encoding: chunked" if is_chunked else b"Connection: close"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n%b\r\n\r\n" % (server.content_type.encode(), framing))
        for packet in bursts(server.stream, lengths, cut):
            writer.write(b"%x\r\n%b\r\n" % (len(packet), packet) if is_chunked else packet)
            await asyncio.sleep(0)
        if ending == "last chunk":
            writer.write(b"0\r\n\r\n")
        if ending == "reset":
            raw: socket.socket = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        host, port = listener.sockets[0].getsockname()
        yield f"http://{host}:{port}"
    finally:
        listener.close()
        await listener.wait_closed()


CONFIG = """
[defaults]
general = "m"
[health]
failures_to_open = 1000
least_success_percent = 0
retry_percent = 0
retries_per_s = 0
[[backends]]
name = "local"
kind = "{kind}"
url = "{url}"
[[models]]
id = "m"
backend = "local"
"""
#: A prime, so that the sample meets every place of a frame sooner or later.
EVERY = 29


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", SERVERS)
async def test_m17_over_a_socket_the_caller_gets_the_whole_text_or_is_told(
    name: str, ending: str, open_conductor: OpenConductor
) -> None:
    server = SERVERS[name]
    cuts = [*range(ENDINGS.index(ending), len(server.stream), EVERY), len(server.stream)]
    ways = [PACKETS[way](server.frames) for way in PACKETS]
    plan = [(cut, ending, ways[at % len(ways)]) for at, cut in enumerate(cuts)]
    text = "".join(piece for kind, piece in PIECES if kind == "text")
    async with cutting(server, iter(plan)) as url:
        conductor = open_conductor(CONFIG.format(kind=server.kind, url=url))
        outcomes = []
        for cut, _, _ in plan:
            events, error = await collect(conductor, "hello", task="general")
            came = said(events)
            assert came == WHOLE[: len(came)], f"cut at {cut}"
            outcomes.append(type(error))
            match error:
                case None:
                    assert (came, text_of(events)) == (WHOLE, text), f"cut at {cut}"
                case StreamInterrupted():
                    assert came, f"cut at {cut}"
                    assert error.partial == text_of(events), f"cut at {cut}"
                case NoModelAvailable():
                    assert came == [], f"cut at {cut}"
                case _:
                    raise error
    assert (outcomes[0], outcomes[-1]) == (NoModelAvailable, type(None))
    assert StreamInterrupted in outcomes
