"""Events as JSON documents: the lines of ``ask --json`` and ``chat --json``."""

from __future__ import annotations

import re
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from modelway.cli.output import print_json
from modelway.events import ConductorMessage, Failed, ModelSelected, Usage

if TYPE_CHECKING:
    from modelway.errors import Attempt


def event_document(event: ConductorMessage) -> dict[str, Any]:
    """The event's fields under their own names, with ``event`` first: its class in snake_case."""
    document: dict[str, Any] = {"event": re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(event).__name__).lower()}
    document |= {item.name: getattr(event, item.name) for item in fields(event)}
    match event:
        case ModelSelected(decision=decision):
            document["decision"] = decision.to_dict()
        case Failed(error=error):
            attempts: tuple[Attempt, ...] = getattr(error, "attempts", ())
            document["error"] = type(error).__name__
            document["attempts"] = [attempt._asdict() for attempt in attempts]
    if isinstance(usage := document.get("usage"), Usage):
        document["usage"] = asdict(usage)
    return document


def print_event(event: ConductorMessage) -> None:
    """The event on a line of its own on stdout."""
    print_json(event_document(event), pretty=False)
