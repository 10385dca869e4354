"""The facts of one request that go into its headers: who answers, where, why, after what wait, and what is left."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping

from modelway.events import (
    ConductorMessage,
    ConsentNeeded,
    Degraded,
    FallingBack,
    Finished,
    ModelLoading,
    ModelSelected,
    Queued,
    WarningLabel,
)

#: Where a model runs: its id in, (backend, location) out.
PlaceOf = Callable[[str], tuple[str, str]]

#: What a user may still use: the user in, limit -> ``limit``, ``remaining``, ``reset_s`` out.
StandingOf = Callable[[str | None], Mapping[str, Mapping[str, float]]]

#: Characters of one header value; clients refuse lines of more than 8 KiB.
MAX_VALUE = 1000


def clean(value: str, limit: int = MAX_VALUE) -> str:
    """``value`` as visible ASCII that can't end a header or a comment line early."""
    escaped = value[:limit].encode("ascii", "backslashreplace").decode("ascii")
    return "".join(char if char.isprintable() else "?" for char in escaped)[:limit]


class Facts:
    """Reads a request's events as they pass.

    ``model`` is the candidate that is being asked: once its first record has come, the one that served.
    ``user`` is whose limits they are.
    """

    def __init__(self, place_of: PlaceOf, standing_of: StandingOf) -> None:
        self.request_id = uuid.uuid4().hex
        self.model = ""
        self.user: str | None = None
        self._place_of = place_of
        self._standing_of = standing_of
        self._arrived = time.monotonic()
        self._selected: ModelSelected | None = None
        self._tried: list[str] = []
        self._warnings: list[str] = []
        self._queue_ms: float | None = None  # up to the decision, and all waits that are over
        self._wait: tuple[Queued, float] | None = None  # the one that is not, as it stands, and when it began
        self._load_began: float | None = None
        self._load_eta_s: float | None = None
        self._waited_for_load_ms = 0.0  # by loads that are over
        self._load_ms: float | None = None

    @property
    def elapsed_ms(self) -> float:
        """Since the request arrived."""
        return (time.monotonic() - self._arrived) * 1000

    def warn(self, sentences: tuple[str, ...]) -> None:
        """Something in the request is not honoured."""
        self._warnings += sentences

    def note(self, event: ConductorMessage) -> None:
        match event:
            case ModelSelected():
                self._selected = event
                self.model = event.model
                self._queue_ms = self.elapsed_ms
            case Queued(position=0):
                self._end_wait()
                self._end_load()
            case Queued():
                self._end_load()
                self._wait = event, self.elapsed_ms if self._wait is None else self._wait[1]
            case FallingBack():
                self._end_wait()
                self._tried.append(event.from_model)
                self.model = event.to_model
                self._load_began, self._waited_for_load_ms = None, 0.0
                if event.continues_after is not None:
                    self._warnings.append(event.announce())
            case ModelLoading(eta_s=eta_s):
                self._end_wait()
                self._load_began = self.elapsed_ms
                self._load_eta_s = eta_s
            case Degraded() | WarningLabel() | ConsentNeeded():
                self._warnings.append(event.announce())
            case Finished():
                self._load_ms = event.load_ms

    def _end_wait(self) -> None:
        self._queue_ms, self._wait = self._waited_ms(), None

    def _end_load(self) -> None:
        if self._load_began is not None:
            self._waited_for_load_ms += self.elapsed_ms - self._load_began
            self._load_began = None

    def _waited_ms(self) -> float:
        queue_ms = self.elapsed_ms if self._queue_ms is None else self._queue_ms
        return queue_ms if self._wait is None else queue_ms + self.elapsed_ms - self._wait[1]

    def note_first_record(self) -> None:
        """The model's answer has begun, so whatever loading there was is over.

        Backends do not tell when a load ended, so until ``Finished`` brings the exact figure the time
        to the first record counts as load.
        """
        self._end_load()
        self._load_ms = self._waited_for_load_ms

    @property
    def fell_back(self) -> bool:
        return bool(self._tried)

    @property
    def fallback(self) -> str:
        """The models in the order they were asked (``a->b``), or ``none``."""
        return "->".join([*self._tried, self.model]) if self._tried else "none"

    def headers(self) -> dict[str, str]:
        """What is known by now; on a refusal before the decision that is little more than the id."""
        values = {"request-id": self.request_id, "queue-ms": _ms(self._waited_ms())}
        if self._selected is not None:
            backend, location = self._selected.backend, self._selected.location
            if self._tried:
                backend, location = self._place_of(self.model)
            values |= {
                "model": self.model,
                "backend": backend,
                "task": self._selected.task,
                "confidence": f"{self._selected.confidence:.3f}",
                "location": location,
                "reason": self._selected.reason if self.model == self._selected.model else "fallback",
                "fallback": self.fallback,
            }
        if self._load_ms is not None:
            values["load-ms"] = _ms(self._load_ms)
        if self._warnings:
            values["warning"] = "; ".join(self._warnings)
        headers = {f"x-modelway-{name}": clean(value) for name, value in values.items()}
        return headers | _rate_headers(self._standing_of(self.user))

    def waiting_comment(self) -> str:
        if self._wait is not None:
            queued, _ = self._wait
            eta = "" if queued.eta_s is None else f" eta_s={queued.eta_s:.0f}"
            return f"queued position={queued.position}{eta}"
        if self._load_began is not None:
            left_s = (
                None if self._load_eta_s is None else self._load_eta_s - (self.elapsed_ms - self._load_began) / 1000
            )
            eta = "" if left_s is None else f" eta_s={max(0.0, left_s):.0f}"
            return f"loading model={clean(self.model)}{eta}"
        return f"waiting model={clean(self.model)} elapsed_ms={self.elapsed_ms:.0f}"

    def seam_comment(self, seam: FallingBack) -> str:
        return f"seam from={clean(seam.from_model)} to={clean(seam.to_model)} after_chars={seam.continues_after}"

    def served_comment(self) -> str:
        return (
            f"served model={clean(self.model)} fallback={clean(self.fallback)} "
            f"queue_ms={_ms(self._waited_ms())} load_ms={_ms(self._load_ms or 0.0)}"
        )


def _rate_headers(standing: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    """OpenAI's ``x-ratelimit-*``. Where a rate and a quota count the same, the one of which less is left."""
    headers = {}
    for unit in ("requests", "tokens"):
        left = [standing[limit] for limit in (unit, f"quota_{unit}") if limit in standing]
        if left:
            tightest = min(left, key=lambda limit: limit["remaining"])
            headers[f"x-ratelimit-limit-{unit}"] = str(tightest["limit"])
            headers[f"x-ratelimit-remaining-{unit}"] = str(tightest["remaining"])
            headers[f"x-ratelimit-reset-{unit}"] = f"{tightest['reset_s']:.3f}s"
    return headers


def _ms(value: float) -> str:
    return str(round(value))
