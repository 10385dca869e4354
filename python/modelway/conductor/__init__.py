"""The conductor joins routing and backends: it asks the chosen model, falls back, and tells its caller."""

from modelway.conductor.history import AttemptRecord, RequestRecord
from modelway.conductor.pipeline import Conductor
from modelway.conductor.reply import Reply

__all__ = ["AttemptRecord", "Conductor", "Reply", "RequestRecord"]
