"""The Rust core: decisions over a snapshot. Import these names from ``modelway`` instead."""

from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, Self, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from modelway.errors import ModelwayError

__all__ = [
    "Admitted",
    "Alert",
    "Classification",
    "ClassificationBatch",
    "CoreFairQueue",
    "CoreRateLimiter",
    "CoreRouter",
    "CoreSemaphore",
    "CostTier",
    "Effects",
    "EgressPass",
    "EmptyCall",
    "FeatureBatch",
    "LatencyClass",
    "LicenseTier",
    "Locality",
    "ModelCapability",
    "ModelHealth",
    "ModelLoad",
    "ModelProfile",
    "Permit",
    "Place",
    "Queued",
    "RequestOutcome",
    "Resident",
    "RoutingDecision",
    "RoutingRequest",
    "SelectionReason",
    "TaskClass",
    "TrainingSet",
    "build_profile",
    "classifier_fingerprint",
    "feature_space",
    "features",
    "shipped_weights",
    "silent_weights",
    "stakes_features",
    "stakes_of",
]

#: How the extension was built: version, profile ("release" or "debug"), target (the processor).
build_profile: dict[str, str]

#: Sixteen hex digits that tell the shipped weights of the classifier from others.
classifier_fingerprint: str

#: What the columns of ``features`` mean: version, buckets, sample_bytes,
#: opening and level (values of those features), thresholds (for each count the values that begin a level).
feature_space: dict[str, Any]

def features(texts: Sequence[str]) -> FeatureBatch:
    """The features of texts, exactly as scoring counts them. Runs on all cores and lets other threads run."""

def shipped_weights() -> bytes:
    """The file of the weights that ship with modelway."""

def silent_weights() -> bytes:
    """A file of weights that say nothing of any text, and of which every answer is followed."""

def stakes_of(text: str) -> tuple[str, ...]:
    """Which of ``tax``, ``medical`` and ``legal`` a request is about, so that a wrong answer could do harm. Of a text
    of more than 2 KiB the first and the last are read, each for itself; English, Spanish, French, German and Chinese
    are known. docs/privacy.md tells how much is found."""

def stakes_features(rows: Sequence[tuple[str, int]]) -> FeatureBatch:
    """What the weights behind ``stakes_of`` are trained on, for texts and who wrote each (0: not one by whose rows the
    lexicon was written). Columns: 30,720 buckets, then what words and tasks say, as ``classify/stakes/model.rs``
    tells. What rows of one hand alone have does not count in them."""

@final
class TaskClass:
    """What kind of answer a prompt wants.

    ``.name`` is the long name (``CodeGeneration``), ``str()`` the short form (``code``) that TOML,
    headers and JSON use. Compares equal to its own short form.
    """

    QuickResponse: ClassVar[TaskClass]
    DeepThinking: ClassVar[TaskClass]
    CodeGeneration: ClassVar[TaskClass]
    Mathematical: ClassVar[TaskClass]
    Creative: ClassVar[TaskClass]
    ToolUse: ClassVar[TaskClass]
    Embedding: ClassVar[TaskClass]
    General: ClassVar[TaskClass]

    @property
    def name(self) -> str: ...
    @staticmethod
    def parse(name: str) -> TaskClass:
        """The class of a short or long name, in any case; ``ValueError`` names the nearest one."""
    @staticmethod
    def all() -> tuple[TaskClass, ...]: ...
    def __str__(self) -> str: ...
    def __repr__(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class ModelCapability:
    """What a model can do at all."""

    TextGeneration: ClassVar[ModelCapability]
    CodeGeneration: ClassVar[ModelCapability]
    MathReasoning: ClassVar[ModelCapability]
    LowLatency: ClassVar[ModelCapability]
    DeepReasoning: ClassVar[ModelCapability]
    CreativeWriting: ClassVar[ModelCapability]
    ToolUse: ClassVar[ModelCapability]
    VisionInput: ClassVar[ModelCapability]
    AudioInput: ClassVar[ModelCapability]
    ImageGeneration: ClassVar[ModelCapability]

    @property
    def name(self) -> str: ...
    @staticmethod
    def parse(name: str) -> ModelCapability: ...
    @staticmethod
    def all() -> tuple[ModelCapability, ...]: ...
    def __str__(self) -> str: ...
    def __repr__(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class LatencyClass:
    """How soon a warm model's first token comes: Instant < 100 ms, Fast < 500 ms, Standard < 2 s, else Deliberate."""

    Instant: ClassVar[LatencyClass]
    Fast: ClassVar[LatencyClass]
    Standard: ClassVar[LatencyClass]
    Deliberate: ClassVar[LatencyClass]

    @property
    def name(self) -> str: ...
    @staticmethod
    def parse(name: str) -> LatencyClass: ...
    @staticmethod
    def all() -> tuple[LatencyClass, ...]: ...
    def __str__(self) -> str: ...
    def __repr__(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class CostTier:
    """What an answer costs in money: ``free``, ``low``, ``medium``, ``high``."""

    Free: ClassVar[CostTier]
    Low: ClassVar[CostTier]
    Medium: ClassVar[CostTier]
    High: ClassVar[CostTier]

    @property
    def name(self) -> str: ...
    @staticmethod
    def parse(name: str) -> CostTier: ...
    @staticmethod
    def all() -> tuple[CostTier, ...]: ...
    def __str__(self) -> str: ...
    def __repr__(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class LicenseTier:
    """How free a model's weights are: ``permissive``, ``copyleft``, ``restricted``, ``proprietary``, ``unknown``."""

    Permissive: ClassVar[LicenseTier]
    Copyleft: ClassVar[LicenseTier]
    Restricted: ClassVar[LicenseTier]
    Proprietary: ClassVar[LicenseTier]
    Unknown: ClassVar[LicenseTier]

    @property
    def name(self) -> str: ...
    @staticmethod
    def parse(name: str) -> LicenseTier: ...
    @staticmethod
    def all() -> tuple[LicenseTier, ...]: ...
    def __str__(self) -> str: ...
    def __repr__(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Locality:
    """Where a model runs: ``device``, ``lan`` or ``external``."""

    Device: ClassVar[Locality]
    Lan: ClassVar[Locality]
    External: ClassVar[Locality]

    @property
    def name(self) -> str: ...
    @staticmethod
    def parse(name: str) -> Locality: ...
    @staticmethod
    def all() -> tuple[Locality, ...]: ...
    def __str__(self) -> str: ...
    def __repr__(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class SelectionReason:
    """Why this model: ``explicit_model``, ``explicit_task``, ``classified``, ``structure``, ``context``,
    ``default``, ``unsure``, ``fallback``, ``capability``, ``context_length``, ``warm``, ``privacy``."""

    ExplicitModel: ClassVar[SelectionReason]
    ExplicitTask: ClassVar[SelectionReason]
    Classified: ClassVar[SelectionReason]
    Structure: ClassVar[SelectionReason]
    Context: ClassVar[SelectionReason]
    Default: ClassVar[SelectionReason]
    Unsure: ClassVar[SelectionReason]
    Fallback: ClassVar[SelectionReason]
    Capability: ClassVar[SelectionReason]
    ContextLength: ClassVar[SelectionReason]
    Warm: ClassVar[SelectionReason]
    Privacy: ClassVar[SelectionReason]

    @property
    def name(self) -> str: ...
    @staticmethod
    def parse(name: str) -> SelectionReason: ...
    @staticmethod
    def all() -> tuple[SelectionReason, ...]: ...
    def __str__(self) -> str: ...
    def __repr__(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class ModelProfile:
    """What the router knows of one model, as configured or discovered."""

    @property
    def model_id(self) -> str: ...
    @property
    def backend_id(self) -> str: ...
    @property
    def aliases(self) -> tuple[str, ...]: ...
    @property
    def strengths(self) -> tuple[TaskClass, ...]: ...
    @property
    def weaknesses(self) -> tuple[TaskClass, ...]: ...
    @property
    def capabilities(self) -> tuple[ModelCapability, ...]: ...
    @property
    def avg_ttft_ms(self) -> int | None: ...
    @property
    def avg_tokens_per_sec(self) -> float | None: ...
    @property
    def max_context(self) -> int | None:
        """Tokens; None: unknown, and then no request is refused for its length."""
    @property
    def memory_bytes(self) -> int | None: ...
    @property
    def supports_streaming(self) -> bool: ...
    @property
    def supports_tools(self) -> bool: ...
    @property
    def cost_tier(self) -> CostTier: ...
    @property
    def license_tier(self) -> LicenseTier: ...
    @property
    def license(self) -> str | None:
        """Its short name; None: not recognised."""
    @property
    def destination(self) -> str | None:
        """What consent to it names; None: it runs on this device."""
    @property
    def latency_class(self) -> LatencyClass | None: ...
    @property
    def location(self) -> Locality: ...
    def __repr__(self) -> str: ...

@final
class ModelHealth:
    """A snapshot of the health of one model, or of one backend.

    A backend is judged by its connections alone: whatever it answers is a success of its own. A model is not
    ``available`` either while its backend must be left alone.

    ``state`` is ``closed`` (requests pass), ``open`` (none pass until ``retry_in_s`` is over) or
    ``half_open`` (one probe may pass). ``held`` tells why the model is set aside although its circuit
    is closed (``rate_limited``, ``missing``, ``unauthorized``), else None.
    """

    @property
    def model(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def held(self) -> str | None: ...
    @property
    def available(self) -> bool: ...
    @property
    def successes(self) -> int: ...
    @property
    def failures(self) -> int: ...
    @property
    def consecutive_failures(self) -> int: ...
    @property
    def success_rate(self) -> float | None: ...
    @property
    def ttft_ms(self) -> float | None: ...
    @property
    def load_ms(self) -> float | None:
        """How long loading it takes, averaged over time."""
    @property
    def tokens_per_sec(self) -> float | None: ...
    @property
    def retry_in_s(self) -> float | None: ...
    @property
    def since_last_success_s(self) -> float | None: ...
    def __repr__(self) -> str: ...

@final
class RequestOutcome:
    """How one request to one model ended.

    ``kind`` is by default ``success`` or ``server_error``; the others are ``connect``, ``reset``,
    ``timeout``, ``malformed``, ``empty``, ``interrupted`` (hard failures), ``rate_limited``, ``busy``
    (hold the model for ``retry_after_s``), ``missing``, ``unauthorized`` (set it aside), ``rejected``
    and ``cancelled`` (say nothing about the model). ``ttft_ms`` (time to the first token) and ``duration_ms`` are those
    of a warm model; ``load_ms`` is how long loading it took, where this request had it loaded, and then ``ttft_ms`` is
    not averaged. Milliseconds and token counts must not be negative (``ValueError``).
    """

    def __new__(
        cls,
        success: bool,
        *,
        kind: str | None = None,
        ttft_ms: float | None = None,
        duration_ms: float | None = None,
        tokens: int | None = None,
        retry_after_s: float | None = None,
        load_ms: float | None = None,
    ) -> RequestOutcome: ...
    @property
    def success(self) -> bool: ...
    @property
    def kind(self) -> str: ...
    @property
    def ttft_ms(self) -> float | None: ...
    @property
    def duration_ms(self) -> float | None: ...
    @property
    def tokens(self) -> int | None: ...
    @property
    def retry_after_s(self) -> float | None: ...
    @property
    def load_ms(self) -> float | None: ...
    def __repr__(self) -> str: ...

@final
class RoutingRequest:
    """What a decision may look at. ``task`` and ``model`` are the caller's own words and win.

    Exactly one of ``prompt`` and ``messages`` is usual; of ``messages`` (OpenAI chat messages) the last
    user message is read, or ``prompt`` as the next one; a follow-up that has nothing of its own stays
    with what the messages before it were about. Images in all of them count, and the length of all
    is estimated.
    ``tools``: the request carries tool definitions. ``images``: how many images it carries beside
    those in ``messages``. ``context_tokens``: its length in tokens where known, else estimated.
    ``user``: whose limits and whose turn it is; the decision does not depend on it, nor on ``conversation``, by
    which name whoever keeps conversations knows this one. ``allow_external``: False keeps the request from models of
    others; True and None grant nothing, as consent is never given by a request. ``prefer_warm``: whether a model in
    memory passes one that would have to be loaded first, but for one that ``model`` names; None: as configured.
    """

    def __new__(
        cls,
        prompt: str | None = None,
        messages: Sequence[Mapping[str, Any]] | None = None,
        task: TaskClass | str | None = None,
        model: str | None = None,
        tools: bool = False,
        images: int | None = None,
        context_tokens: int | None = None,
        user: str | None = None,
        conversation: str | None = None,
        allow_external: bool | None = None,
        deadline_ms: float | None = None,
        prefer_warm: bool | None = None,
    ) -> RoutingRequest: ...
    @property
    def prompt(self) -> str: ...
    @property
    def task(self) -> TaskClass | None: ...
    @property
    def model(self) -> str | None: ...
    @property
    def tools(self) -> bool: ...
    @property
    def images(self) -> int: ...
    @property
    def context_tokens(self) -> int:
        """As given, else the estimate."""
    @property
    def kinds(self) -> tuple[str, ...]:
        """What kinds of data it holds: ``text``, ``code``, ``images``, ``files``, ``tool_results``.

        All messages count. A decision adds ``code`` where that is the task.
        """
    @property
    def user(self) -> str | None: ...
    @property
    def conversation(self) -> str | None: ...
    @property
    def allow_external(self) -> bool | None: ...
    @property
    def deadline_ms(self) -> float | None:
        """How long the caller waits for the first token, over all attempts; None: as long as it takes."""
    @property
    def prefer_warm(self) -> bool | None: ...
    def __repr__(self) -> str: ...

@final
class Classification:
    """What the classifier read in a text."""

    @property
    def task(self) -> TaskClass: ...
    @property
    def confidence(self) -> float:
        """Probability of ``task``, in [0, 1]."""
    @property
    def margin(self) -> float:
        """Probability of the best class less that of the second."""
    @property
    def complexity(self) -> float:
        """0 (a quick answer will do) to 1 (deep thinking)."""
    @property
    def scores(self) -> dict[str, float]:
        """Probability by short class name, every class but embedding; they add up to 1."""
    @property
    def evidence(self) -> tuple[tuple[int, int, str, float], ...]:
        """What speaks for what: (start, end, task, weight), positions in characters of the text."""
    def to_dict(self) -> dict[str, Any]: ...
    def __repr__(self) -> str: ...

@final
class ClassificationBatch:
    """What the classifier read in many texts, as read-only arrays. Reading them needs numpy (``ImportError``)."""

    @property
    def tasks(self) -> NDArray[np.uint8]:
        """The class of each text, by its place in ``task_names``."""
    @property
    def confidence(self) -> NDArray[np.float32]:
        """Probability of that class, in [0, 1]."""
    @property
    def complexity(self) -> NDArray[np.float32]:
        """0 (a quick answer will do) to 1 (deep thinking)."""
    @property
    def scores(self) -> NDArray[np.float32]:
        """Probabilities, one row a text and one column a class of ``task_names``."""
    @property
    def unsure(self) -> NDArray[np.bool_]:
        """Where no class was likely enough to be followed, and the text counts as general."""
    @property
    def task_names(self) -> tuple[str, ...]: ...
    def __len__(self) -> int: ...

@final
class FeatureBatch:
    """A sparse matrix in compressed rows, numbers in little-endian bytes; columns rise within a row."""

    @property
    def indptr(self) -> bytes:
        """int64: where each row begins, and the end."""
    @property
    def columns(self) -> bytes:
        """uint32: buckets of n-grams, then each level of each count."""
    @property
    def values(self) -> bytes:
        """float32."""

@final
class TrainingSet:
    """Labelled texts as features, ready to train on.

    Numbers go in and out as little-endian bytes; rows are counted from 0, classes in the order of ``task_names``.
    Work runs on ``threads`` threads, by default all cores, and other threads of Python run meanwhile; the result
    does not depend on how many. ``ValueError`` for numbers that do not fit.
    """

    def __new__(
        cls,
        texts: Sequence[str],
        labels: bytes,
        accepted: bytes,
        weights: bytes,
        bags: bytes,
        typical: bytes,
        grades: bytes,
    ) -> Self:
        """One entry a text: its class (uint8), the classes that are right (uint8, a bit each), how much it counts
        (float32; 0: not at all), its bag or -1 (int8), whether it calibrates (uint8), how much thought it takes
        (uint8, 1 to 5; 0: not known)."""
    def train(self, rows: bytes, *, steps: int, base: bytes | None = None, threads: int | None = None) -> bytes:
        """A file of weights from some rows (uint32), starting from the file ``base``, else from nothing; not
        calibrated."""
    def held_losses(
        self, rows: bytes, held: bytes, *, steps: int, base: bytes | None = None, threads: int | None = None
    ) -> list[float]:
        """The mean loss on the rows ``held`` after each step of training with ``rows``."""
    def scores(self, weights: bytes, rows: bytes) -> bytes:
        """Raw scores (float32) that a file of weights gives to some rows: the classes, then complexity."""
    def calibrated(self, weights: bytes, rows: bytes, scores: bytes, priors: bytes) -> bytes:
        """The same weights calibrated on ``scores`` from others that had not seen the rows, and on ``priors``, the
        probabilities of the classes by words and structure alone."""
    def __len__(self) -> int: ...

@final
class RoutingDecision:
    """Which model serves, and why. Frozen; strings are made when they are read."""

    @property
    def model(self) -> str: ...
    @property
    def backend(self) -> str: ...
    @property
    def task(self) -> TaskClass: ...
    @property
    def confidence(self) -> float: ...
    @property
    def complexity(self) -> float: ...
    @property
    def location(self) -> Locality: ...
    @property
    def reason(self) -> SelectionReason: ...
    @property
    def chain(self) -> tuple[str, ...]:
        """The models that follow if ``model`` fails, in order, each once."""
    @property
    def rejected(self) -> tuple[tuple[str, str], ...]:
        """(model, reason) of every model that could not be chosen: ``license``; ``external`` or ``lan`` (nothing is let
        out), ``local_only``, ``unscanned``, ``images_leave``; ``tools``, ``images``, ``context_length``,
        ``unavailable``; ``consent`` (it lacks nothing else); or was passed over for one in memory: ``cold``."""
    @property
    def needs_consent(self) -> tuple[tuple[str, str], ...]:
        """(model, destination) of those of ``rejected`` that lack nothing but consent."""
    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of data that models elsewhere were judged by: those of the request, and ``code`` where that is the
        task; empty where there are no such models."""
    @property
    def tie_break(self) -> str | None:
        """What decided among models that are equal otherwise: ``health`` (another has failed lately), ``budget`` (the
        first token of another would come too late for the task), ``wait`` (another would take longer to begin),
        ``license`` (that of another is less free); None: nothing had to."""
    @property
    def budget_ms(self) -> int:
        """How soon the first token of a warm model is wanted for the task: ``[timeouts]`` of the configuration."""
    @property
    def explanation(self) -> str: ...
    @property
    def scores(self) -> dict[str, float]:
        """Probability by short class name; empty where the caller's word or the tools decided the class."""
    @property
    def context_tokens(self) -> int: ...
    def to_dict(self) -> dict[str, Any]: ...
    def __repr__(self) -> str: ...

@final
class Admitted:
    """A request that holds all that it needs and has begun: ``finish`` or ``cancel`` its ticket, once."""

    @property
    def ticket(self) -> int: ...
    @property
    def effects(self) -> Effects: ...
    def __repr__(self) -> str: ...

@final
class Queued:
    """A request that waits. The effects of a later call grant its ticket; then ``begin_admitted`` it."""

    @property
    def ticket(self) -> int: ...
    @property
    def position(self) -> int:
        """Which turn is its own: 1 is the next."""
    @property
    def eta_s(self) -> float | None:
        """How long that takes at the present pace; None before anybody was served."""
    @property
    def effects(self) -> Effects: ...
    def __repr__(self) -> str: ...

@final
class Effects:
    """What a change caused. False where it caused nothing."""

    @property
    def granted(self) -> tuple[int, ...]:
        """Tickets that waited and hold all that they need now; each has to be begun, or cancelled."""
    @property
    def refused(self) -> tuple[tuple[int, ModelwayError], ...]:
        """Tickets that waited for what can't be any more, each with the error for its owner."""
    @property
    def evicted(self) -> tuple[str, ...]:
        """Models to be unloaded now. On a managed backend report each by ``model_unloaded``."""
    @property
    def load(self) -> tuple[str, ...]:
        """Models to be loaded now, on managed backends only. Report each by ``model_loaded`` or by
        ``model_not_loaded``."""
    @property
    def alerts(self) -> tuple[Alert, ...]: ...
    def __bool__(self) -> bool: ...
    def __repr__(self) -> str: ...

@final
class Alert:
    """A trouble that has begun, or is over: each is told once, by whichever call noticed it.

    Either ``model`` or ``backend`` says whose it is.
    """

    @property
    def model(self) -> str | None: ...
    @property
    def backend(self) -> str | None: ...
    @property
    def what(self) -> str:
        """``circuit`` (it is not closed), ``missing`` (the server does not have the model) or ``unauthorized`` (it
        refuses our key). The last two are over when the model is seen again, or answers a request well."""
    @property
    def is_over(self) -> bool: ...
    @property
    def since_s(self) -> float:
        """How long it lasted; 0.0 where it has just begun."""
    def __repr__(self) -> str: ...

@final
class ModelLoad:
    """How busy a model is."""

    @property
    def running(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def wait_s(self) -> float | None:
        """How long a newcomer would wait, for its turn at the present pace and for the model to be loaded; 0: not at
        all, None: nobody knows yet."""
    def __repr__(self) -> str: ...

@final
class Resident:
    """A model that holds memory of its backend."""

    @property
    def model(self) -> str: ...
    @property
    def state(self) -> str:
        """``ready``, ``loading`` or ``unloading``."""
    @property
    def memory_bytes(self) -> int: ...
    @property
    def running(self) -> int:
        """How many requests use it."""
    @property
    def is_closed(self) -> bool:
        """Whether it takes no new requests, as others wait for its memory or it is gone."""
    def __repr__(self) -> str: ...

@disjoint_base
class CoreRouter:
    """The routing table, the classifier, the health of all models, and the limits on their use. Thread-safe, never
    waits.

    What a call caused for others is never lost: where it raises, the next call that returns ``Effects`` tells it.
    """

    def __new__(
        cls,
        settings: Mapping[str, Any],
        clock: Callable[[], float] | None = None,
        wall_clock: Callable[[], float] | None = None,
    ) -> Self:
        """``clock`` gives monotonic seconds, ``wall_clock`` seconds since 1970; None: the machine's own does.

        The settings are plain values; what is absent among the following is not limited, or has the default that is
        given.

        ``limits`` {"user": LIMITS, "all": LIMITS, "quota": [{"unit": "requests" or "tokens", "amount", "window_s"}]},
        with LIMITS = {"requests": RATE or None, "tokens": RATE or None}, RATE = {"amount", "window_s", "burst"};
        ``backends`` [{"name", "max_waiting", "limits", "retry_percent", "retry_reserve_per_s", and optional
        "memory_bytes", "is_managed" (it loads and unloads at our word), "computes_alone" (one model at a time has
        running requests), "max_wait_ms" (30,000), "embedding_bytes" (of the memory, for embedding models alone; None:
        what they need, up to a tenth), "device" (backends that name the same one share it, and say the same of those
        five), "location" ("device"), "destination", "is_own_network" (it is on the local network, and the user wrote
        its literal address)}]; ``prefer_warm`` (False): whether a model in memory passes one that is not;
        ``privacy`` {"allow_external" (False), "allow_lan" (False), "secret_scan" (True)}; ``forbid_licenses``, names of
        licences and tiers; ``license``, ``destination`` and ``is_own_network`` (as of a backend) of each of ``models``;
        ``budgets_ms`` {"quick", "standard", "deep"}, how soon a first token is wanted;
        ``max_concurrent``, ``limits`` and ``is_pinned`` (it never leaves memory) of each of ``models``; ``max_users``
        (10,000); ``shares`` [(user, weight)];
        ``window_ms`` (30,000), ``least_success_percent`` (80), ``samples_to_judge`` (20).
        """
    def select(self, request: str | RoutingRequest) -> RoutingDecision:
        """Decide which model serves.

        Raises ``NoModelAvailable``, ``UnknownModel``, ``ContextTooLong``, or ``ConsentRequired`` where the model that
        the caller named, or every one that could serve, lacks nothing but consent.
        """
    def set_consents(self, consents: Iterable[Mapping[str, Any]]) -> None:
        """From now on these consents are given and no others; passes made under any other are void.

        Each has ``id``, ``destination``, ``kinds``, and optional ``model`` (any), ``since_s`` and ``until_s`` (seconds
        since 1970; always). Raises ``ValueError`` or ``TypeError`` for what is none; then nothing has changed.
        """
    def clear(self, model: str, request: str | RoutingRequest, request_id: str) -> EgressPass | None:
        """The pass that sending this request to ``model`` takes; None: it is on this device and takes none.

        Raises ``ConsentRequired``, and ``NoModelAvailable`` where something else keeps the request from it.
        """
    def clear_control(self, backend: str) -> EgressPass | None:
        """The pass that asking ``backend`` how it is and what it has takes; None: it is on this device.

        Raises ``EgressRefused`` where it is not of the user's own network with ``allow_lan``, and ``UnknownBackend``.
        """
    def classify(self, text: str) -> Classification: ...
    def classify_many(self, texts: Sequence[str]) -> ClassificationBatch:
        """What ``classify`` says of each text, without evidence; on all cores, and other threads run meanwhile."""
    def fallback_chain(self, name: str) -> tuple[str, ...]:
        """The models that follow the first choice for a task or a model, each once. Raises ``UnknownModel``."""
    def record_outcome(self, model: str, outcome: RequestOutcome, attempt: int | None = None) -> tuple[Alert, ...]:
        """Take note of how a request ended, for programs that run requests themselves."""
    def admit(
        self,
        model: str,
        user: str | None = None,
        *,
        tokens: int | None = None,
        deadline_s: float | None = None,
        is_retry: bool = False,
    ) -> Admitted | Queued:
        """Let a request in with all that it needs, or into the fair queue of ``model``.

        ``user`` is who asks; None is one user whom all share. ``tokens`` is what it is thought to read and write,
        ``deadline_s`` for how long it may wait. Raises ``RateLimited``, ``QueueFull``, or ``NoModelAvailable`` where
        the model must be left alone; then nothing was taken.
        """
    def begin_admitted(self, ticket: int) -> None:
        """Take the right to ask its model for a ticket that was granted after waiting.

        Raises ``NoModelAvailable`` where the circuit opened meanwhile; the ticket holds what it was granted until
        it is cancelled.
        """
    def finish(self, ticket: int, outcome: RequestOutcome, tokens: int | None = None) -> Effects:
        """End a request: all is given back, once, and ``outcome`` counts for health.

        ``tokens`` is what it really read and wrote; None: as was thought. An unknown ticket changes nothing.
        """
    def cancel(self, ticket: int) -> Effects:
        """End a request as if it had never been, whether it waits or was granted."""
    def observe(
        self, backend: str, *, reachable: bool, present: Iterable[str] = (), missing: Iterable[str] = ()
    ) -> Effects:
        """Take note of what an active check of a backend saw. No circuit is opened or closed by it.

        A backend that answers and was away, at the check before or by its circuit, may be probed at once, and so may
        those of its models whose circuit its absence would explain. ``missing`` are ids of models that it does not
        have: they are set aside for 60 s from each check; ``present`` are ids that it has, and ends that. Names that
        nothing has are passed over.
        """
    def tick(self) -> Effects:
        """Let those go on who waited for time to pass."""
    def next_wake_s(self) -> float | None:
        """In how many seconds ``tick`` has something to do, if nothing else happens before."""
    def holds(self, ticket: int) -> bool:
        """Whether a ticket waits or runs."""
    def place(self, ticket: int) -> tuple[int, float | None] | None:
        """Position and expected seconds of a ticket that waits, its model's load included; None: it does not."""
    def load(self, model: str) -> ModelLoad: ...
    def model_loaded(self, model: str, *, memory_bytes: int | None = None, load_ms: float | None = None) -> Effects:
        """A model serves from now on, loaded at our word or by somebody else; what it takes and how long loading it
        took, where that is known; the latter is kept as ``load_ms`` of its health, too. Raises ``UnknownModel``."""
    def model_unloaded(self, model: str) -> Effects:
        """A model was unloaded, or is seen not to be there."""
    def model_not_loaded(self, model: str, *, memory_bytes: int | None = None) -> Effects:
        """A model could not be loaded: who waits for it is refused with ``NoModelAvailable``.

        With ``memory_bytes`` it is known that it takes so many, more than was thought: all that is idle is to be
        unloaded, and then it is to be loaded once more; who waits for it is refused where its backend has less.
        """
    def preload(self, model: str) -> Effects:
        """Have a model of a managed backend loaded as if somebody waited for it, until it is there. Raises
        ``NoModelAvailable`` where it takes more memory than there can be."""
    def residents(self, backend: str) -> list[Resident]:
        """The models of a backend that hold memory of its device. Raises ``UnknownBackend``."""
    def device(self, backend: str) -> str:
        """The name of the device that a backend's models live on; backends on the same one share it."""
    def memory(self, backend: str) -> tuple[int | None, int]:
        """How many bytes a backend's device has for models (None: unknown) and how many of them are held, also by the
        models of other backends."""
    def standing(self, user: str | None) -> dict[str, dict[str, int | float]]:
        """What is left of each limit in force of a user: ``requests``, ``tokens`` (rates), ``quota_requests``,
        ``quota_tokens``, each with ``limit``, ``remaining`` and ``reset_s``, when all of it is there again."""
    def limits(self) -> list[dict[str, Any]]:
        """Each limit in force: ``what`` (rate, quota, concurrency, queue, memory, retries, users), ``unit``,
        ``limit``, ``of`` (user, all, backend NAME, model NAME, or a device that backends share), for rates and
        quotas ``window_s``, for rates ``burst``."""
    def begin(self, model: str) -> int:
        """Take the right to ask ``model`` now; returns the attempt's number for ``record_outcome``.

        Raises ``NoModelAvailable`` where its circuit is open, its one probe is under way, or it is held.
        """
    def health(self, model: str) -> ModelHealth: ...
    def backend_health(self, backend: str) -> ModelHealth:
        """The same for a backend. Raises ``UnknownBackend`` where none was ever called so."""
    def resolve(self, name: str) -> str:
        """The model id that an id or alias means. Raises ``UnknownModel`` with the nearest name."""
    @property
    def profiles(self) -> dict[str, ModelProfile]: ...
    def replace_table(self, settings: Mapping[str, Any]) -> None:
        """Other settings. Health, and what was used of limits and quotas, stays with the names; whom they let go on
        is told by the next call that returns ``Effects``."""

@final
class EgressPass:
    """The right to send one body to one destination, once. Only a router makes one: ``clear``, ``clear_control``."""

    @property
    def destination(self) -> str: ...
    @property
    def model(self) -> str:
        """Its id; empty for what is asked of a server itself."""
    @property
    def request_id(self) -> str: ...
    @property
    def kinds(self) -> tuple[str, ...]:
        """What the body holds."""
    @property
    def consent(self) -> str:
        """The consent's id, or ``allow_lan``."""
    @property
    def is_valid(self) -> bool:
        """False for ever once its consent is revoked, changed or over, or the configuration lets it out no more."""
    def take(self) -> bool:
        """True once, while it is valid: each sending takes one."""
    def __repr__(self) -> str: ...

class _Wakes(Protocol):
    """Event loops, as the standalone classes need them: ``modelway.waiters``."""

    def wait(self, ticket: int, owner: Permit, /) -> Coroutine[Any, Any, Permit]: ...
    def wake(self, tickets: tuple[int, ...], refused: BaseException | None = None, /) -> list[int] | None: ...
    def forget(self, ticket: int, /) -> None: ...

@disjoint_base
class Permit:
    """What was asked of a semaphore. Released once: by ``async with``, by ``release``, or when dropped, with a
    ``ResourceWarning``."""

    @property
    def ticket(self) -> int: ...
    def release(self) -> None:
        """Give it back, waiting or held, and wake whom that lets go on; the second time nothing happens."""
    def __aenter__(self) -> Awaitable[Self | None]:
        """Raises ``RuntimeError`` where it is released already."""
    def __aexit__(self, kind: object, error: object, trace: object, /) -> Awaitable[None]: ...
    def __await__(self) -> Generator[None]: ...
    def __next__(self) -> None: ...
    def __repr__(self) -> str: ...

@final
class Place(Permit):
    """A place in a fair queue, then a slot behind it."""

    def __aenter__(self) -> Awaitable[Self]: ...
    @property
    def position(self) -> int:
        """Which turn is its own: 1 is the next; 0: it has its slot."""
    @property
    def eta_s(self) -> float | None:
        """How long that takes at the present pace."""
    def correct(self, real_cost: int) -> None:
        """What it really cost; counts for its user's next turns."""

@disjoint_base
class CoreSemaphore:
    """A weighted semaphore without event loops; ``modelway.WeightedSemaphore`` has them."""

    def __new__(cls, capacity: int, wakes: _Wakes) -> Self: ...
    def acquire(self, weight: int = 1) -> Permit:
        """Take ``weight`` units or queue for them; ``async with`` awaits them.

        Raises ``ValueError`` for a weight of 0 and ``ModelwayError`` for one above the capacity.
        """
    def try_acquire(self, weight: int = 1) -> Permit | None:
        """A permit that holds ``weight`` units, or None where it would have to wait."""
    def resize(self, capacity: int) -> None:
        """Another capacity. Who waits for more than it is refused with ``ModelwayError``."""
    @property
    def capacity(self) -> int: ...
    @property
    def in_use(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    def disown(self) -> None:
        """The process has forked: every further use raises."""

@disjoint_base
class CoreFairQueue:
    """Slots with a fair queue before them, without event loops; ``modelway.FairQueue`` has them."""

    def __new__(cls, slots: int, max_waiting: int, wakes: _Wakes) -> Self: ...
    def enter(self, user: str | None, cost: int = 1, *, weight: int = 1) -> Place:
        """Take a slot or queue for one; ``async with`` awaits it. Twice the ``weight`` gets twice as much.

        Raises ``QueueFull``.
        """
    @property
    def running(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    def disown(self) -> None:
        """The process has forked: every further use raises."""

@disjoint_base
class CoreRateLimiter:
    """A rate limit without event loops; ``modelway.RateLimiter`` has them."""

    def __new__(cls, requests: int, per_s: float, burst: int | None = None) -> Self: ...
    def try_acquire(self, cost: int = 1) -> float:
        """0.0: ``cost`` passed; else nothing was charged, and it may pass after so many seconds.

        Raises ``RateLimited`` where it is more than the burst.
        """
    def reserve(self, cost: int) -> float:
        """Charge ``cost`` now, to be used after so many seconds."""
    def give_back(self, cost: int) -> None:
        """Undo what was charged and not used."""
    @property
    def remaining(self) -> int:
        """What would pass at once."""
    @property
    def burst(self) -> int: ...

@final
class EmptyCall:
    """The yardstick of the benchmarks: methods that take their arguments and return None."""

    def __new__(cls) -> EmptyCall: ...
    def call(self, text: str) -> None: ...
    def call_two(self, text: str, outcome: RequestOutcome) -> None: ...
