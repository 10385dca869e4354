"""Routing cases: plain dicts of JSON, as in ``tests/data/chains.jsonl`` and ``decisions.jsonl``.

``models`` holds names, or objects with ``id`` and any of ``aliases``, ``strengths``, ``weaknesses``, ``tools``,
``vision``, ``context``, ``ttft_ms``, ``cost``, ``license`` (a tier), ``location`` and ``destination``; ``defaults``,
``fallbacks`` and ``timeouts`` are those of the configuration, ``forbid`` names licences. ``privacy`` holds
``allow_external``, ``allow_lan`` and ``secret_scan``; ``consents`` are as the router is told them, without ids. The
same rows are read by the tests of the Rust core.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import modelway as mw
from modelway.explain import rejection_sentence

Case = dict[str, Any]

_DATA = Path(__file__).parents[1] / "data"
#: A licence of each tier.
_LICENSE_OF = {
    "permissive": "apache-2.0",
    "copyleft": "gpl-3.0",
    "restricted": "llama3.1",
    "proprietary": "proprietary",
}


def rows(table: str) -> list[Case]:
    return [json.loads(line) for line in (_DATA / f"{table}.jsonl").read_text(encoding="utf-8").splitlines()]


def config_of(case: Case) -> mw.Config:
    """The configuration that a case describes, through the public door."""
    privacy = dict(case.get("privacy", {}))
    if "secret_scan" in privacy:
        privacy["secret_scan_before_external"] = privacy.pop("secret_scan")
    destinations = sorted({model["destination"] for model in case["models"] if "destination" in model})
    return mw.Config.model_validate(
        {
            "backends": [{"name": "here", "kind": "ollama"}, *map(_backend, destinations)],
            "privacy": privacy,
            "licenses": {"forbid": case.get("forbid", [])},
            "models": [_model(model) for model in case["models"]],
            "defaults": case.get("defaults", {}),
            "fallbacks": case.get("fallbacks", {}),
            "timeouts": case.get("timeouts", {}),
        }
    )


def router_of(case: Case) -> mw.ModelRouter:
    """A router of that configuration, with the consents of the case."""
    router = mw.ModelRouter(config_of(case))
    router.set_consents(consents_of(case))
    return router


def consents_of(case: Case) -> list[Case]:
    return [{"id": f"consent-{place}", **consent} for place, consent in enumerate(case.get("consents", ()))]


def _backend(destination: str) -> Case:
    """A server at a host, or at a literal address of the local network."""
    scheme = "http" if destination[0].isdigit() else "https"
    return {"name": destination, "kind": "openai", "url": f"{scheme}://{destination}"}


def _model(model: Any) -> Case:
    if isinstance(model, str):
        model = {"id": model}
    written = {
        "id": model["id"],
        "capabilities": ["TextGeneration", *(["VisionInput"] if model.get("vision") else [])],
        "supports_tools": model.get("tools", False),
        "cost_tier": model.get("cost", "free"),
    }
    for ours, theirs in (("context", "max_context"), ("ttft_ms", "avg_ttft_ms")):
        if ours in model:
            written[theirs] = model[ours]
    for same in ("aliases", "strengths", "weaknesses", "location"):
        if same in model:
            written[same] = model[same]
    if "destination" in model:
        written["backend"] = model["destination"]
    if "license" in model:
        written["license"] = _LICENSE_OF[model["license"]]
    return written


def decided(router: mw.ModelRouter, request: str | mw.RoutingRequest) -> Case:
    """What the core decides, or why it can't, as a row of the tables writes it."""
    try:
        decision = router.select(request)
    except mw.ContextTooLong as error:
        return {"error": "context_too_long", "needed": error.needed_tokens, "longest": error.max_context}
    except mw.ConsentRequired as error:
        # The models of one destination: it is asked about one at a time.
        needs = {"needs_consent": list(error.models), "destination": error.destination, "kinds": list(error.kinds)}
        return {"error": "consent_required", **needs}
    except mw.UnknownModel:
        return {"error": "unknown_model"}
    except mw.NoModelAvailable as error:
        if error.attempts:
            return {"error": "none_left", "rejected": [[tried.model, _word(tried.why)] for tried in error.attempts]}
        return {"error": "embedding" if "embedding" in str(error) else "no_models"}
    return {
        "model": decision.model,
        "reason": str(decision.reason),
        "tie_break": decision.tie_break,
        "chain": list(decision.chain),
        "rejected": [list(pair) for pair in decision.rejected],
        "needs_consent": [model for model, _ in decision.needs_consent],
    }


def _word(sentence: str) -> str:
    words = (
        "external", "lan", "local_only", "unscanned", "images_leave", "license",
        "tools", "images", "context_length", "unavailable",
    )  # fmt: skip
    return next(word for word in words if rejection_sentence(word) == sentence)
