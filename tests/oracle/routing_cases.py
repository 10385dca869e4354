"""Routing cases: plain dicts of JSON, as in ``tests/data/chains.jsonl`` and ``decisions.jsonl``.

``models`` holds names, or objects with ``id`` and any of ``aliases``, ``strengths``, ``weaknesses``, ``tools``,
``vision``, ``context``, ``ttft_ms``, ``cost``, ``license`` (a tier) and ``location``; ``defaults``, ``fallbacks`` and
``timeouts`` are those of the configuration. The same rows are read by the tests of the Rust core.
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
    return mw.Config.model_validate(
        {
            "models": [_model(model) for model in case["models"]],
            "defaults": case.get("defaults", {}),
            "fallbacks": case.get("fallbacks", {}),
            "timeouts": case.get("timeouts", {}),
        }
    )


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
    if "license" in model:
        written["license"] = _LICENSE_OF[model["license"]]
    return written


def decided(router: mw.ModelRouter, request: str | mw.RoutingRequest) -> Case:
    """What the core decides, or why it can't, as a row of the tables writes it."""
    try:
        decision = router.select(request)
    except mw.ContextTooLong as error:
        return {"error": "context_too_long", "needed": error.needed_tokens, "longest": error.max_context}
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
    }


def _word(sentence: str) -> str:
    words = ("external", "lan", "tools", "images", "context_length", "unavailable")
    return next(word for word in words if rejection_sentence(word) == sentence)
