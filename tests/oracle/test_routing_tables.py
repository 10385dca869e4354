"""The tables of chains and decisions, each row held against the core and against the slow twin."""

from __future__ import annotations

import pytest
import slow_select
from routing_cases import Case, config_of, decided, router_of, rows

import modelway as mw

CHAINS = rows("chains")
GOOD_CHAINS = [row for row in CHAINS if "chains" in row]
BAD_CHAINS = [row for row in CHAINS if "errors" in row]
DECISIONS = rows("decisions")


def row_id(row: Case) -> str:
    return str(row["id"])


@pytest.mark.parametrize("row", GOOD_CHAINS, ids=row_id)
def test_chain(row: Case) -> None:
    router = mw.ModelRouter(config_of(row))
    for name, chain in row["chains"].items():
        assert router.fallback_chain(name) == tuple(chain), name
        assert slow_select.fallback_chain(with_short_names(row), short(name)) == chain, name


def short(name: str) -> str:
    """A task's short name, as the twin knows it; any other name as it is."""
    try:
        return str(mw.TaskClass.parse(name))
    except ValueError:
        return name


def with_short_names(row: Case) -> Case:
    fallbacks = row.get("fallbacks", {})
    return {**row, "fallbacks": {short(name): [short(link) for link in links] for name, links in fallbacks.items()}}


@pytest.mark.parametrize("row", BAD_CHAINS, ids=row_id)
def test_chain_error(row: Case) -> None:
    with pytest.raises(mw.ConfigError) as caught:
        mw.ModelRouter(config_of(row))
    found = {problem.path: problem.message for problem in caught.value.problems}
    assert sorted(found) == sorted(error["path"] for error in row["errors"])
    for error in row["errors"]:
        assert error["says"] in found[error["path"]]
        assert f"{error['path']}: " in str(caught.value)


@pytest.mark.parametrize("row", DECISIONS, ids=row_id)
def test_decision(row: Case) -> None:
    router = router_of(row)
    for name in row.get("down", ()):
        for _ in range(5):
            router.record_outcome(name, mw.RequestOutcome(False, kind="timeout"))
    asked = mw.RoutingRequest(**row["request"])
    wanted: Case = {key: row[key] for key in ("error", "needed", "longest", "model", "reason", "chain") if key in row}
    if "error" not in row:
        wanted["tie_break"] = row.get("tie_break")
        wanted["needs_consent"] = row.get("needs_consent", [])
    if "rejected" in row or "error" not in row:
        wanted["rejected"] = row.get("rejected", [])
    found = decided(router, asked)
    if row.get("error") == "consent_required":
        # The row names all that lack consent; the error is about one destination.
        destinations = {model["id"]: model.get("destination") for model in row["models"] if "id" in model}
        destination = destinations[row["needs_consent"][0]]
        there = [name for name in row["needs_consent"] if destinations[name] == destination]
        wanted |= {"needs_consent": there, "destination": destination, "kinds": row["kinds"]}
    assert found == wanted
    reading = router.classify(asked.prompt)
    request = {**row["request"], "context_tokens": asked.context_tokens}
    if asked.task is not None:
        request["task"] = str(asked.task)
    read = (str(reading.task), row.get("reason", ""))
    state = slow_select.State(down=set(row.get("down", ())), ailing=set(), first_token={})
    assert slow_select.select(row, request, read, state) == wanted
