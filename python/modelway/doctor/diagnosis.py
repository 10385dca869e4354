"""All checks, in the order in which their findings are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from modelway.config import Config
from modelway.doctor.examined import Examined, examine
from modelway.doctor.finding import Finding
from modelway.doctor.model_checks import (
    cpu_offload,
    missing_models,
    missing_tools,
    silent_servers,
    unknown_licenses,
    unstable_context,
)
from modelway.doctor.privacy_checks import (
    cloud_models,
    exposed_files,
    ledger_chain,
    old_consents,
    open_servers,
    unsearched_text,
    useless_consents,
)

CHECKS: tuple[Callable[[Examined], Iterator[Finding]], ...] = (
    silent_servers,
    missing_models,
    missing_tools,
    open_servers,
    exposed_files,
    ledger_chain,
    cloud_models,
    old_consents,
    useless_consents,
    unsearched_text,
    unknown_licenses,
    cpu_offload,
    unstable_context,
)


async def diagnose(config: Config) -> list[Finding]:
    """What is wrong or wasteful with ``config`` on this machine, problems first; empty: nothing.

    Asks the backends on this device what they have, as discovery does, and what they have in memory; loads nothing.
    Raises :class:`ConfigError` for a configuration that can't be used.
    """
    return findings_of(await examine(config))


def findings_of(examined: Examined) -> list[Finding]:
    """What the checks say of it, problems first."""
    found = [finding for check in CHECKS for finding in check(examined)]
    return sorted(found, key=lambda finding: finding.severity != "problem")
