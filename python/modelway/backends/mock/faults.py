"""The ways a model server fails, as data: which fault, where in the answer it strikes, and for how long.

A fault strikes once the pieces named by ``after`` have been sent (never later than just before the last
record, whatever ``after`` says), so a test knows exactly what its client has seen by then.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


class FaultKind(enum.Enum):
    """What goes wrong. Those above RESET_MID_STREAM strike before the first record, the others where ``after`` says."""

    RESET_BEFORE_HEADERS = "reset_before_headers"
    #: Nothing until released or the client leaves.
    STALL_BEFORE_HEADERS = "stall_before_headers"
    #: The headers leave byte by byte, one every ``interval_s``, and never end.
    TRICKLE_BEFORE_HEADERS = "trickle_before_headers"
    #: No fault of the answer: it begins ``interval_s`` late.
    DELAY = "delay"
    #: An HTTP status that is no success: ``status``, ``message`` or a raw ``body``, ``headers``.
    STATUS = "status"
    #: Status 200 and something that is no answer: ``body``, by default a page to log in at, as ``content_type``.
    PAGE = "page"
    #: The answer as ever, announced as ``content_type``.
    WRONG_CONTENT_TYPE = "wrong_content_type"
    #: The answer as ever, behind a header of ``size`` bytes.
    HUGE_HEADER = "huge_header"
    #: A TCP reset between two records.
    RESET_MID_STREAM = "reset_mid_stream"
    #: The connection is closed between two records, as by a process that ended, before the body is complete.
    CLOSE_MID_STREAM = "close_mid_stream"
    #: The body ends as if all were well, without the record that says so.
    END_WITHOUT_DONE = "end_without_done"
    #: Headers and pieces are sent, then nothing until released or the client leaves.
    STALL_MID_STREAM = "stall_mid_stream"
    #: The next record leaves byte by byte, one every ``interval_s``.
    TRICKLE = "trickle"
    #: An error object in the place of the next record, under status 200; the stream ends after it.
    ERROR_RECORD = "error_record"
    #: A record that is not JSON, in the place of the next one.
    MALFORMED_RECORD = "malformed_record"
    #: A record that is JSON of the wrong shape, in the place of the next one.
    WRONG_TYPE = "wrong_type"
    #: A whole record whose text holds a byte that is not UTF-8, in the place of the next one.
    INVALID_UTF8 = "invalid_utf8"
    #: The body ends inside a character.
    CUT_UTF8 = "cut_utf8"
    #: A well-formed answer of no text, thinking or tool call.
    EMPTY_ANSWER = "empty_answer"
    #: A record with ``size`` bytes of text, in the place of the next one.
    GIANT_RECORD = "giant_record"
    #: ``count`` records of one character each, before the next one.
    TINY_RECORDS = "tiny_records"
    #: ``count`` empty lines before the next record.
    BLANK_LINES = "blank_lines"
    #: One more record after the one that ended the answer.
    DATA_AFTER_DONE = "data_after_done"
    #: No fault of the answer: its bytes leave in packets of ``size`` bytes, so that records and characters
    #: are split (1), or that many records share a packet (large).
    REPACKETED = "repacketed"


_SIZES = {FaultKind.GIANT_RECORD: 9 * 1024 * 1024, FaultKind.HUGE_HEADER: 64 * 1024}

#: What a network that wants a login first puts in the place of every answer.
LOGIN_PAGE = b"<html><head><title>Welcome</title></head><body><h1>Please log in</h1></body></html>"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. Only ``kind`` is needed; the other fields concern the kinds that name them.

    ``after`` counts the pieces sent before it strikes. ``size`` is in bytes and by default 1 for
    ``REPACKETED``, 9 MiB for ``GIANT_RECORD``, 64 KiB for ``HUGE_HEADER``. ``message`` is the error's text
    in the shape of the protocol spoken; ``body`` replaces the whole body of a ``STATUS`` or a ``PAGE``, and
    ``content_type`` says what that is: without it ``text/plain``. Raises ``ValueError`` for values that no
    server could send.
    """

    kind: FaultKind
    after: int = 1
    status: int = 500
    message: str | None = None
    body: bytes | None = None
    content_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None
    count: int = 1_000_000
    interval_s: float = 0.01

    def __post_init__(self) -> None:
        if self.after < 0:
            raise ValueError(f"Fault.after: {self.after} pieces can't be sent; give 0 or more")
        if self.kind is FaultKind.STATUS and not 300 <= self.status <= 599:
            raise ValueError(f"Fault.status: {self.status} is a success or no status; give 300 to 599")
        if self.size is not None and self.size < 1:
            raise ValueError(f"Fault.size: {self.size} bytes can't be sent; give 1 or more")
        if self.count < 1:
            raise ValueError(f"Fault.count: {self.count} records are no fault; give 1 or more")
        if self.interval_s < 0:
            raise ValueError(f"Fault.interval_s: {self.interval_s} seconds can't be waited; give 0 or more")

    @classmethod
    def http(cls, status: int, message: str | None = None, *, retry_after: str | None = None) -> Fault:
        """An HTTP error in the protocol's own shape; ``retry_after`` is sent as it stands."""
        headers = {} if retry_after is None else {"Retry-After": retry_after}
        return cls(FaultKind.STATUS, status=status, message=message, headers=headers)

    @classmethod
    def html(cls, status: int, page: str = "<html><body><h1>Bad Gateway</h1></body></html>") -> Fault:
        """What a proxy in front of the server answers when the server is gone."""
        return cls(FaultKind.STATUS, status=status, body=page.encode(), content_type="text/html")

    @classmethod
    def redirect(cls, location: str, status: int = 307) -> Fault:
        """A redirect; a client that follows it takes the prompt and its key to ``location``."""
        return cls(FaultKind.STATUS, status=status, body=b"", headers={"Location": location})

    @property
    def bytes_to_send(self) -> int:
        """``size``, or the kind's default."""
        return _SIZES.get(self.kind, 1) if self.size is None else self.size

    @property
    def page(self) -> tuple[bytes, str]:
        """The body of a ``STATUS`` or ``PAGE``, and its content type."""
        if self.body is None:
            return LOGIN_PAGE, self.content_type or "text/html"
        return self.body, self.content_type or "text/plain"


class FaultScript:
    """What the next requests of one model meet: first the queue, one entry a request, then the standing fault."""

    def __init__(self, queue: Sequence[Fault | None] = (), standing: Fault | None = None):
        self.queue: deque[Fault | None] = deque(queue)
        self.standing = standing

    def take(self) -> Fault | None:
        """The fault of the request that starts now; None: it is served well."""
        return self.queue.popleft() if self.queue else self.standing
