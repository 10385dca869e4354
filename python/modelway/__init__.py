"""modelway: the local-first router for many language models.

``import modelway`` loads nothing but this file: every public name loads its module on first use, so a
program that only routes never pays for the gateway, and a command line starts at once.

>>> import modelway as mw
>>> router = mw.ModelRouter(mw.load_config("models.toml"))     # doctest: +SKIP
>>> router.select("Write a Rust function to parse JSON").model  # doctest: +SKIP
'deepseek-coder:6.7b'
"""

from __future__ import annotations

# One table instead of imports: name -> the module that defines it.
_HOMES = {
    "modelway.types": (
        "Classification CostTier LatencyClass LicenseTier Locality ModelCapability ModelHealth ModelProfile "
        "RequestOutcome RoutingDecision RoutingRequest SelectionReason TaskClass build_profile"
    ),
    "modelway.router": "ModelRouter",
    "modelway.waiters": "FairQueue RateLimiter WeightedSemaphore",
    "modelway.config": "Config load_config",
    "modelway.conductor": "Conductor Reply RequestRecord",
    "modelway.discovery": "discover",
    "modelway.events": (
        "AvailabilityChanged ConductorMessage ConsentNeeded Degraded Failed FallingBack Finished ModelLoading "
        "ModelSelected Queued TextDelta ThinkingDelta ToolCallDelta Usage WarningLabel"
    ),
    "modelway.errors": (
        "Attempt BackendError ConfigError ConfigProblem ConsentRequired ContextTooLong EgressRefused InvalidRequest "
        "ModelwayError NoModelAvailable QueueFull RateLimited StateError StreamInterrupted UnknownBackend UnknownModel"
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = sorted(_HOME_OF)  # noqa: PLE0605  (a type checker reads the stub beside this file)


def __getattr__(name: str) -> object:
    module = _HOME_OF.get(name)
    if module is None:
        if name == "__version__":
            from modelway.types import build_profile

            return build_profile["version"]
        raise AttributeError(f"module 'modelway' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
