"""Every error modelway raises. One base, so that one ``except ModelwayError`` is enough.

Messages name the place, the value and the remedy; the facts a program needs stand in typed
attributes. Nothing here is imported by ``import modelway`` until it is first used.
"""

from __future__ import annotations

from typing import NamedTuple


class ModelwayError(Exception):
    """Base of all errors that modelway raises on purpose."""


class ConfigProblem(NamedTuple):
    """One thing wrong in a configuration.

    ``path`` is where (``fallbacks.code[1]``), ``message`` what is wrong with which value and how to
    mend it.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigError(ModelwayError, ValueError):
    """A configuration that can't be used; ``problems`` holds every problem found, not only the first."""

    def __init__(self, problems: list[ConfigProblem] | tuple[ConfigProblem, ...], source: str = ""):
        self.problems: tuple[ConfigProblem, ...] = tuple(problems)
        self.source = source
        lines = [str(problem) for problem in self.problems]
        head = f"{source}: " if source else ""
        if len(lines) == 1:
            super().__init__(head + lines[0])
        else:
            body = "".join(f"\n  {line}" for line in lines)
            super().__init__(f"{head}{len(lines)} problems in the configuration{body}")


class InvalidRequest(ModelwayError, ValueError):
    """A request that no model could answer as it stands (wrong types, text that is not Unicode)."""


class Attempt(NamedTuple):
    """One model that did not serve: ``why``, and in how many seconds it will be tried again.

    ``next_try_s`` is None where time alone changes nothing (a model without tools stays so).
    """

    model: str
    why: str
    next_try_s: float | None = None


class NoModelAvailable(ModelwayError):
    """No model could serve the request; ``attempts`` names each candidate, why, and its next try."""

    def __init__(self, message: str, attempts: tuple[Attempt, ...] = ()):
        self.attempts = tuple(attempts)
        super().__init__(message)


class UnknownModel(NoModelAvailable, LookupError):
    """The caller asked for a model or task by a name that nothing here has."""

    def __init__(self, message: str, name: str = ""):
        self.name = name
        super().__init__(message)


class UnknownBackend(ModelwayError, LookupError):
    """No backend is called ``name``, and none was under an earlier configuration."""

    def __init__(self, message: str, name: str = ""):
        self.name = name
        super().__init__(message)


class ContextTooLong(ModelwayError):
    """The request does not fit the context of any model that could serve it.

    ``needed_tokens`` is the estimate for the request, ``max_context`` the largest context among the
    models that were left.
    """

    def __init__(self, message: str, needed_tokens: int = 0, max_context: int = 0):
        self.needed_tokens = needed_tokens
        self.max_context = max_context
        super().__init__(message)


class RateLimited(ModelwayError):
    """A limit of ours keeps the request; nothing was sent, and nothing was charged.

    ``limit`` names it: "user requests", "user tokens", "quota requests", "quota tokens", "users", "retries", or
    "model tokens", "backend tokens", "all tokens" for a request larger than that limit ever lets pass.
    ``retry_after_s`` says when it may pass; None: never as it stands.
    """

    def __init__(self, message: str, *, limit: str = "", retry_after_s: float | None = None):
        self.limit = limit
        self.retry_after_s = retry_after_s
        super().__init__(message)


class QueueFull(ModelwayError):
    """As many requests wait as may, or the request would be served after its deadline.

    ``retry_after_s`` is when there may be room, at the present pace.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None):
        self.retry_after_s = retry_after_s
        super().__init__(message)


class BackendError(ModelwayError):
    """A backend failed before its first token, or refused the request.

    ``kind`` is one of the outcome kinds of :class:`modelway.RequestOutcome` (``connect``, ``reset``,
    ``timeout``, ``server_error``, ``malformed``, ``empty``, ``interrupted``, ``rate_limited``,
    ``busy``, ``missing``, ``rejected``, ``unauthorized``): it decides what counts against the model's
    health and whether another model is tried. ``status`` is the HTTP status where there was one;
    ``retry_after_s`` what the server asked for; ``detail`` at most 200 clean characters of its answer.
    ``lacks`` names a capability ("tools", "vision") where that is why it refused.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        model: str = "",
        backend: str = "",
        status: int | None = None,
        retry_after_s: float | None = None,
        detail: str = "",
        lacks: str | None = None,
    ):
        self.kind = kind
        self.model = model
        self.backend = backend
        self.status = status
        self.retry_after_s = retry_after_s
        self.detail = detail
        self.lacks = lacks
        super().__init__(message)


class StreamInterrupted(ModelwayError):
    """The answer broke off after its first token; ``partial`` is the text that came before."""

    def __init__(self, message: str, *, partial: str, model: str = "", backend: str = "", kind: str = "interrupted"):
        self.partial = partial
        self.model = model
        self.backend = backend
        self.kind = kind
        super().__init__(message)


class ConsentRequired(ModelwayError):
    """Only models elsewhere could serve, and nobody has consented to what would be sent to them.

    ``destination`` is what consent has to name, ``models`` those there that could serve, ``kinds`` the kinds of data
    that the request holds (``text``, ``code``, ``images``, ``files``, ``tool_results``). Consent is given by the user,
    never by a request.
    """

    def __init__(
        self, message: str, *, destination: str = "", models: tuple[str, ...] = (), kinds: tuple[str, ...] = ()
    ):
        self.destination = destination
        self.models = models
        self.kinds = kinds
        super().__init__(message)


class EgressRefused(ModelwayError):
    """Nothing was sent to ``destination``, or no more than before: the way out is closed.

    Consent was revoked, the ledger can't be written, or the address is not what it should be.
    """

    def __init__(self, message: str, *, destination: str = ""):
        self.destination = destination
        super().__init__(message)


class StateError(ModelwayError):
    """A file in which modelway keeps its state can't be read or written; ``path`` is which."""

    def __init__(self, message: str, *, path: str = ""):
        self.path = path
        super().__init__(message)
