"""Selection and chains, slow and obvious: written from the rules, not from the code.

The rules (docs/decisions.md and the comments of select.rs, fallback.rs and table.rs say the same):

- A name means a task or a model; a model is meant by its id, an alias, or its id without ``:latest``.
- What follows a task or a model is what its chain says, in order; then what the names in it lead to, and so on. A
  task stands for its default model and leads on to that model's own chain too. No model comes twice.
- Candidates: the model that the caller named and what follows it; then for the class the default, its chain,
  models that are good at it, the others, those that are bad at it. What is equal so far is ordered by licence,
  cost and time to the first token, then as configured; but those of somebody else stand behind all that are not.
- A candidate that is forbidden for its licence, that the request may not go to, that lacks what the request needs, is
  too short for it, or is out of order is passed over. The first that is left serves, the others follow.
- A request may go to a server of the user's own network (written by its literal address) where that is allowed, and
  elsewhere where all that is allowed at all, its caller does not forbid it, nothing has to be searched for secrets, it
  holds no images, and one consent in force names the destination, the model or none, and all kinds of data in it. Who
  lacks nothing but that consent is told; a model so named by the caller, or nothing else being left, is an error.
- Of models of the same rank those that failed lately stand behind the others, and then those whose first token is
  expected later than the task wants it: by what was seen of the model, else by what is written of it. The best at a
  task is of the rank of those good at it, where nobody wrote a default or a chain. What the caller's word leads to
  stays as it is.
"""

from __future__ import annotations

from typing import NamedTuple

from routing_cases import Case

TASKS = ("quick", "deep", "code", "math", "creative", "tool_use", "embedding", "general")
LICENSES = ("permissive", "copyleft", "restricted", "proprietary", "unknown")
COSTS = ("free", "low", "medium", "high")
HARD = ("connect", "reset", "timeout", "server_error", "malformed", "empty", "interrupted")
HOLDING = ("rate_limited", "busy", "missing", "unauthorized")
#: Why a first choice was passed over, as the reason of the decision.
REASON_OF = {
    "external": "privacy",
    "lan": "privacy",
    "tools": "capability",
    "images": "capability",
    "context_length": "context_length",
    "unavailable": "fallback",
    "license": "fallback",
    **dict.fromkeys(("local_only", "unscanned", "images_leave", "consent"), "privacy"),
}
#: A licence of each tier, as the cases write them.
LICENSE_OF = {
    "permissive": "apache-2.0",
    "copyleft": "gpl",
    "restricted": "llama3.1",
    "proprietary": "proprietary",
}
#: A moment of 2027, in seconds since 1970.
NOW_S = 1_800_000_000


def unique(items: list[str]) -> list[str]:
    return list(dict.fromkeys(items))


def models_of(case: Case) -> dict[str, Case]:
    models = [{"id": model} if isinstance(model, str) else model for model in case["models"]]
    return {model["id"]: model for model in models}


def model_called(case: Case, name: str) -> str | None:
    models = models_of(case)
    if name in models:
        return name
    for model in models.values():
        if name in model.get("aliases", ()):
            return str(model["id"])
    return f"{name}:latest" if f"{name}:latest" in models else None


def first_model(case: Case, name: str) -> str | None:
    """The model that a task or a model's name stands for."""
    if name in TASKS:
        default = case.get("defaults", {}).get(name)
        return best_at(case, name) if default is None else model_called(case, default)
    return model_called(case, name)


def merit(model: Case) -> tuple[int, int, float]:
    license_place = LICENSES.index(model.get("license", "unknown"))
    return (license_place, COSTS.index(model.get("cost", "free")), model.get("ttft_ms", float("inf")))


def best_at(case: Case, task: str) -> str | None:
    """What stands for a default that nobody configured: the best model on this machine that is good at the task, and
    one that is forbidden only where there is no other."""
    models = models_of(case)
    good = [
        name
        for name, model in models.items()
        if task in model.get("strengths", ()) and model.get("location", "device") == "device"
    ]
    return min(good, key=lambda name: (is_forbidden(case, models[name]), merit(models[name])), default=None)


def written_chain(case: Case, name: str) -> list[str]:
    """What the configuration writes behind a task or a model, under whichever of its names."""
    for start, links in case.get("fallbacks", {}).items():
        same_model = name not in TASKS and start not in TASKS and first_model(case, start) == first_model(case, name)
        if start == name or same_model:
            return list(links)
    return []


def followers(case: Case, start: str) -> list[str]:
    """The models that follow the first choice of a task or a model."""

    def with_own_model(name: str) -> list[str]:
        own = first_model(case, name)
        return [name] if own is None else [name, own]

    def key(name: str) -> str:
        return name if name in TASKS else str(first_model(case, name))

    reached: list[str] = []
    seen: set[str] = set()
    level = with_own_model(start)
    while level:
        fresh = []
        for name in level:
            if key(name) not in seen:
                seen.add(key(name))
                fresh.append(name)
        links = [link for name in fresh for link in written_chain(case, name)]
        reached += links
        level = [name for link in links for name in with_own_model(link)]
    models = [first_model(case, link) for link in reached]
    return unique([model for model in models if model is not None and model != first_model(case, start)])


def fallback_chain(case: Case, name: str) -> list[str]:
    """A model without a chain of its own follows the chains of the classes that it is the default of."""
    if name in TASKS or written_chain(case, name):
        return followers(case, name)
    model = model_called(case, name)
    served = [task for task in TASKS if first_model(case, task) == model]
    return unique([follower for task in served for follower in followers(case, task)])


def rank(case: Case, task: str, name: str) -> tuple[int, int]:
    chain = followers(case, task)
    if name == first_model(case, task) and (chain or task in case.get("defaults", {})):
        return (0, 0)
    if name in chain:
        return (1, chain.index(name))
    model = models_of(case)[name]
    if task in model.get("strengths", ()):
        return (2, 0)
    return (4, 0) if task in model.get("weaknesses", ()) else (3, 0)


def for_class(case: Case, task: str) -> list[str]:
    models = models_of(case)
    first = first_model(case, task)
    return sorted(
        models,
        key=lambda name: (
            rank(case, task, name),
            models[name].get("location") == "external",
            name != first,
            merit(models[name]),
            list(models).index(name),
        ),
    )


def is_forbidden(case: Case, model: Case) -> bool:
    tier = model.get("license", "unknown")
    names = {name.lower() for name in case.get("forbid", ())}
    return bool(names & {tier, LICENSE_OF.get(tier)})


def kinds_of(request: Case, task: str) -> set[str]:
    """Kinds of data in a request without messages."""
    prompt = request.get("prompt", "")
    has_code_line = any(line.rstrip(" \t\r").endswith((";", "{", "}")) for line in prompt.split("\n"))
    has_code = task == "code" or "```" in prompt or "~~~" in prompt or has_code_line
    return {"text", *(["code"] if has_code else []), *(["images"] if request.get("images", 0) else [])}


def kept_here(case: Case, model: Case, request: Case, kinds: set[str]) -> str | None:
    """Why the request may not go where the model is."""
    place = model.get("location", "device")
    policy = {"allow_external": False, "allow_lan": False, "secret_scan": True, **case.get("privacy", {})}
    if place == "device" or (place == "lan" and "destination" in model and policy["allow_lan"]):
        return None
    if not policy["allow_external"]:
        return str(place)
    if request.get("allow_external") is False:
        return "local_only"
    if policy["secret_scan"]:
        return "unscanned"
    if "images" in kinds:
        return "images_leave"
    for consent in case.get("consents", ()):
        is_for_it = consent["destination"] == model["destination"] and consent.get("model") in {None, model["id"]}
        is_now = consent.get("since_s", 0) <= NOW_S < consent.get("until_s", float("inf"))
        if is_for_it and is_now and kinds <= set(consent["kinds"]):
            return None
    return "consent"


def passed_over(case: Case, model: Case, request: Case, task: str, down: set[str]) -> str | None:
    tokens = request["context_tokens"]
    kept = kept_here(case, model, request, kinds_of(request, task))
    checks = [
        ("license", is_forbidden(case, model)),
        (kept, kept not in {None, "consent"}),
        ("tools", request.get("tools", False) and not model.get("tools", False)),
        ("images", request.get("images", 0) > 0 and not model.get("vision", False)),
        ("context_length", "context" in model and model["context"] < tokens),
        ("unavailable", model["id"] in down),
        ("consent", kept == "consent"),
    ]
    return next((why for why, applies in checks if applies), None)


class State(NamedTuple):
    """Which models are left alone now, which others have failed lately, and how soon the first token of some came."""

    down: set[str]
    ailing: set[str]
    first_token: dict[str, float]


#: How soon a first token is wanted, in milliseconds; "standard" for all tasks that are not named.
BUDGETS = {"quick": 100, "standard": 2_000, "deep": 30_000}


def is_late(case: Case, task: str, name: str, state: State) -> bool:
    expected = state.first_token.get(name, models_of(case)[name].get("ttft_ms"))
    pace = task if task in {"quick", "deep"} else "standard"
    return expected is not None and int(expected) > case.get("timeouts", {}).get(f"{pace}_ms", BUDGETS[pace])


def select(case: Case, request: Case, read: tuple[str, str], state: State) -> Case:
    """The decision as a row writes it. ``read`` is (task, reason) as the classifier reads the prompt; ``request``
    holds its length in ``context_tokens``."""
    models = models_of(case)
    if not models:
        return {"error": "no_models"}
    named = request.get("model")
    explicit = None if named is None else model_called(case, named)
    if named is not None and explicit is None:
        return {"error": "unknown_model"}
    if request.get("task") == "embedding":
        return {"error": "embedding"}
    if "task" in request:
        task, reason = request["task"], "explicit_task"
    elif request.get("tools"):
        task, reason = "tool_use", "structure"
    else:
        task, reason = read
    own: list[str] = []
    if explicit is not None:
        reason = "explicit_model"
        own = unique([explicit, *followers(case, explicit)])
    order = for_class(case, task)
    candidates = unique([*own, *order])
    why = {name: passed_over(case, models[name], request, task, state.down) for name in candidates}
    left = [name for name in candidates if why[name] is None]
    rejected = [[name, why[name]] for name in candidates if why[name] is not None]
    needs_consent = [name for name in candidates if why[name] == "consent"]
    if explicit is not None and why[explicit] == "consent":
        needs_consent, left = [explicit], []
    if not left and needs_consent:
        # It is asked about one destination at a time.
        destination = models[needs_consent[0]]["destination"]
        there = [name for name in needs_consent if models[name]["destination"] == destination]
        kinds = [kind for kind in ("text", "code", "images") if kind in kinds_of(request, task)]
        return {"error": "consent_required", "needs_consent": there, "destination": destination, "kinds": kinds}
    if not left:
        may_go = [
            name for name in candidates if kept_here(case, models[name], request, kinds_of(request, task)) is None
        ]
        too_short = [models[name]["context"] for name in may_go if why[name] == "context_length"]
        if too_short and "unavailable" not in why.values():
            return {"error": "context_too_long", "needed": request["context_tokens"], "longest": max(too_short)}
        return {"error": "none_left", "rejected": rejected}
    if left[0] != candidates[0]:
        reason = REASON_OF[str(why[candidates[0]])]
    burdens = {name: (name in state.ailing, is_late(case, task, name, state)) for name in order}
    is_external = {name: models[name].get("location") == "external" for name in order}
    least_first = sorted(order, key=lambda name: (rank(case, task, name), is_external[name], burdens[name]))
    serving = [name for name in unique([*own, *least_first]) if why[name] is None]
    tie_break = None
    if serving[0] != left[0]:
        tie_break = "health" if left[0] in state.ailing and serving[0] not in state.ailing else "budget"
    elif serving[0] not in own:
        # Which of those that nothing else tells apart would serve, if licences counted nothing?
        best = serving[0]
        equals = [
            name
            for name in left
            if (rank(case, task, name), is_external[name], burdens[name])
            == (rank(case, task, best), is_external[best], burdens[best])
        ]
        otherwise = min(equals, key=lambda name: (merit(models[name])[1:], list(models).index(name)))
        tie_break = "license" if merit(models[best])[0] < merit(models[otherwise])[0] else None
    return {
        "model": serving[0],
        "reason": reason,
        "tie_break": tie_break,
        "chain": serving[1:],
        "rejected": rejected,
        "needs_consent": needs_consent,
    }


class Seen(NamedTuple):
    """One request that ended: with which model, how, and how soon its first token came."""

    model: str
    kind: str
    ttft_ms: float | None = None


def after(case: Case, outcomes: list[Seen]) -> State:
    """What is known right after these, nothing having been waited for; each destination, and this device, is one
    backend."""
    down, ailing, first_token = set(), set(), {}
    backend_of = {name: model.get("destination") for name, model in models_of(case).items()}
    for model in models_of(case):
        of_backend = [seen for seen in outcomes if backend_of.get(seen.model) == backend_of[model]]
        backend_is_down, backend_is_ailing = judged([_OF_BACKEND.get(seen.kind, "good") for seen in of_backend])
        of_model = [seen for seen in outcomes if seen.model == model]
        kinds = [seen.kind for seen in of_model]
        for seen in of_model:
            if seen.kind == "success" and seen.ttft_ms is not None:
                # Of samples that come together each new one weighs a tenth.
                before = first_token.get(model, seen.ttft_ms)
                first_token[model] = before + 0.1 * (seen.ttft_ms - before)
        is_down, is_ailing = judged([_OF_MODEL.get(kind, "nothing") for kind in kinds])
        # A missing model and a refused key are mended once it answers; what a server asked for takes its time.
        last_good = max((place for place, kind in enumerate(kinds) if kind == "success"), default=-1)
        is_set_aside = bool(set(kinds[last_good + 1 :]) & {"missing", "unauthorized"})
        if is_down or backend_is_down or is_set_aside or set(kinds) & {"rate_limited", "busy"}:
            down.add(model)
        if is_ailing or backend_is_ailing:
            ailing.add(model)
    return State(down, ailing, first_token)


_OF_MODEL = {"success": "good", **dict.fromkeys(HARD, "hard"), "rate_limited": "busy", "busy": "busy"}
_OF_BACKEND = {"connect": "hard", **dict.fromkeys(("reset", "timeout", "cancelled"), "nothing")}


def judged(verdicts: list[str]) -> tuple[bool, bool]:
    """Whether a circuit that is told these is open in the end; and if not, whether too many of them failed."""
    good = bad = in_a_row = 0
    for verdict in verdicts:
        good += verdict == "good"
        bad += verdict in {"hard", "busy"}
        in_a_row = 0 if verdict == "good" else in_a_row + (verdict == "hard")
        has_failed = verdict in {"hard", "busy"}
        if (verdict == "hard" and in_a_row == 5) or (has_failed and good + bad >= 20 and good / (good + bad) < 0.8):
            return True, False
    return False, bad > (good + bad) / 10


class Faults(NamedTuple):
    """What keeps a table from being built: places with a name or link that means nothing, and chains in a circle."""

    paths: set[str]
    on_cycles: set[str]


def faults(case: Case) -> Faults:
    paths = set()
    links_of: dict[str, list[str]] = {}
    entry_of: dict[str, str] = {}

    def meaning(name: str) -> str | None:
        """One spelling for each task and model; None: nothing is called so."""
        return f"task {name}" if name in TASKS else model_called(case, name)

    def is_served(task: str) -> bool:
        return first_model(case, task) is not None

    for start, links in case.get("fallbacks", {}).items():
        path = f"fallbacks.{start}"
        origin = meaning(start)
        if origin is None:
            paths.add(path)
            continue
        good = []
        for place, link in enumerate(links):
            if meaning(link) is None or (link in TASKS and not is_served(link)):
                paths.add(f"{path}[{place}]")
            else:
                good.append(str(meaning(link)))
        if origin in entry_of:
            paths.add(path)
            continue
        entry_of[origin] = path
        links_of[origin] = good

    def reachable(start: str) -> set[str]:
        found: set[str] = set()
        waiting = list(links_of.get(start, ()))
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += links_of.get(name, ())
        return found

    return Faults(paths, {path for origin, path in entry_of.items() if origin in reachable(origin)})
