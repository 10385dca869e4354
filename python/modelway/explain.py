"""Reasons as sentences. The core gives closed enums; what they mean in words is said here, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelway.errors import Attempt
    from modelway.types import RoutingDecision

#: What a task class is called in a sentence.
TASK_WORDS = {
    "quick": "a quick question",
    "deep": "a question that takes thought",
    "code": "about code",
    "math": "mathematics",
    "creative": "creative writing",
    "tool_use": "a task for tools",
    "embedding": "an embedding",
    "general": "a general request",
}

_REJECTIONS = {
    "external": "it runs at a provider, and nothing leaves this machine without consent",
    "lan": "it runs on another machine, and nothing leaves this machine without consent",
    "local_only": "it runs elsewhere, and the request is not to leave your own machines",
    "unscanned": "it runs elsewhere, and text can't be searched for secrets yet; set secret_scan_before_external "
    "= false under [privacy] to send it unsearched",
    "images_leave": "it runs elsewhere, and images can't be rid yet of what they tell beside the picture",
    "consent": "it runs elsewhere, and you have not consented to sending this there",
    "license": "the configuration forbids its licence",
    "tools": "it takes no tools, and the request carries some",
    "images": "it reads no images, and the request carries some",
    "context_length": "the request is longer than its context",
    "unavailable": "it failed lately and is left alone for a while",
    "cold": "it would have to be loaded first, and what is in memory is preferred",
}

_HELD = {
    None: "it failed lately and is left alone for a while",
    "backend": "its backend can't be reached and is left alone for a while (is the server running?)",
    "rate_limited": "its server asked us to wait",
    "busy": "its server is busy",
    "missing": "its server does not have it",
    "unauthorized": "its server refused our key",
}

_TIE_BREAKS = {
    None: "",
    "health": "; of equal models it has failed least lately",
    "budget": "; of equal models its first word is expected soon enough",
    "wait": "; of equal models it can begin soonest",
    "license": "; of equal models it has the freest licence",
}

_LIMITS = {
    "user requests": "you have sent as many requests as the rate for a user lets pass",
    "user tokens": "you have used as many tokens as the rate for a user lets pass",
    "quota requests": "the quota of requests is used up",
    "quota tokens": "the quota of tokens is used up",
    "users": "there are more users than can be kept apart",
    "retries": "its backend has had as many second attempts as it may",
    "model tokens": "the request is larger than the model's rate of tokens ever lets pass",
    "backend tokens": "the request is larger than its backend's rate of tokens ever lets pass",
    "all tokens": "the request is larger than the common rate of tokens ever lets pass",
}

#: By ``what`` of a limit in force.
_ALLOWED = {
    "rate": "{limit:,} {unit} in {window_s:,.0f} s, of which {burst:,} at once",
    "quota": "{limit:,} {unit} in each {window_s:,.0f} s",
    "concurrency": "{limit:,} {unit} at once",
    "queue": "{limit:,} {unit} may wait",
    "memory": "{limit:,} {unit} of loaded models",
    "retries": "{limit:,} second attempts for 100 requests",
    "users": "{limit:,} {unit} kept apart by their limits",
    "connections": "{limit:,} {unit} at once",
}

_PASSED_OVER = {
    "fallback": "the first choice failed lately and is left alone for a while",
    "capability": "the first choice can't do what the request needs",
    "context_length": "the request is longer than the context of the first choice",
    "warm": "the first choice would have to be loaded first",
    "privacy": "the first choice is not on this machine, and nothing leaves it without consent",
}

#: Where the reason alone would say too little, or the wrong thing: by why the first choice was rejected.
_PASSED_OVER_FOR = {
    "local_only": "the first choice is elsewhere, and the request is not to leave your own machines",
    "unscanned": "the first choice is elsewhere, and text can't be searched for secrets yet",
    "images_leave": "the first choice is elsewhere, and images can't be rid yet of what they tell beside the picture",
    "license": "the configuration forbids the licence of the first choice",
}

#: Kinds of data, as parts of a sentence.
_KINDS = {
    "text": "text",
    "code": "code",
    "images": "images",
    "files": "files",
    "tool_results": "results of tools",
}


def explain(decision: RoutingDecision) -> str:
    """One sentence on why this model serves, without a full stop, for people."""
    return _why(decision) + _TIE_BREAKS[decision.tie_break]


def _why(decision: RoutingDecision) -> str:
    task = str(decision.task)
    words = TASK_WORDS[task]
    reason = str(decision.reason)
    if reason in _PASSED_OVER:
        passed_over = _PASSED_OVER[reason]
        if reason in {"privacy", "fallback"}:
            passed_over = _PASSED_OVER_FOR.get(decision.rejected[0][1], passed_over)
        return f"{passed_over}; for {words} this model is next"
    if reason == "unsure":  # apart from the others: only a decision that was read has leads
        return f"nothing in the request points clearly to a specialist{_leads(decision)}"
    if reason == "structure" and not decision.scores and task == "quick":
        return "the client asks for this by itself, a title, a summary or the like, so a quick model will do"
    sentences = {
        "explicit_model": "you asked for this model",
        "explicit_task": f"you asked for {task}",
        "structure": f"the form of the request says it is {words}",
        "classified": f"the words of the request say it is {words}",
        "context": f"the request follows up on what came before, which is {words}",
        "default": "there is nothing to read, so the general model serves",
    }
    return sentences[reason]


def _leads(decision: RoutingDecision) -> str:
    """The two likeliest classes of an unsure reading, where one of them is a lead at all."""
    first, second = sorted(decision.scores.items(), key=lambda item: -item[1])[:2]
    if first[0] == "general" and second[1] < 0.25:
        return ""
    return f" ({first[0]} {first[1]:.0%}, {second[0]} {second[1]:.0%})"


def rejection_sentence(rejection: str) -> str:
    """Why a model could not be chosen."""
    return _REJECTIONS[rejection]


def consent_sentence(destination: str, models: Sequence[str], kinds: Sequence[str]) -> str:
    """The message of an error that says what to consent to, and how."""
    serve = "it is" if len(models) == 1 else "they are"
    *others, last = [_KINDS[kind] for kind in kinds]
    what = f"{', '.join(others)} and {last}" if others else last
    return (
        f"{', '.join(models)} could serve, but {serve} at {destination}, and you have not consented to sending {what} "
        f'there; "modelway consent grant {destination} --kinds {",".join(kinds)}" does'
    )


def not_now_sentence(held: str | None) -> str:
    """Why a model must be left alone now; None: its circuit is open, "backend": that of its backend."""
    return _HELD[held]


def limit_sentence(model: str, limit: str, retry_after_s: float | None) -> str:
    """The message of an error that says which limit keeps a request from ``model``; None: it never passes."""
    again = "send a smaller request" if retry_after_s is None else f"come back in {retry_after_s:.1f} s"
    return f"{model}: {limit_clause(limit)}; {again}"


def limit_clause(limit: str) -> str:
    """How a limit keeps a request out, as a part of a sentence."""
    return _LIMITS[limit]


def allowance(limit: Mapping[str, Any]) -> str:
    """What a limit of ``ModelRouter.limits_in_force`` allows, as part of a sentence."""
    return _ALLOWED[limit["what"]].format_map(limit)


def none_left_sentence(attempts: tuple[Attempt, ...] | list[Attempt]) -> str:
    """The message of an error that says why no model can serve, each model with its reason."""
    lines = []
    for attempt in attempts:
        again = ""
        if attempt.next_try_s is not None:
            again = f"; next try in {attempt.next_try_s:.1f} s" if attempt.next_try_s else "; may be tried again now"
        lines.append(f"{attempt.model}: {attempt.why}{again}")
    return "no model can serve this request: " + " | ".join(lines)
