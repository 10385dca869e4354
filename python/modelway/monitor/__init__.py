"""Which backends on this device answer and what they have, looked after between requests; alerts for what lasts."""

from modelway.monitor.watch import BackendStatus, Monitor

__all__ = ["BackendStatus", "Monitor"]
