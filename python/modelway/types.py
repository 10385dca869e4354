"""The types of the Rust core under the names that users import."""

from modelway._core import (
    Classification,
    CostTier,
    LatencyClass,
    LicenseTier,
    Locality,
    ModelCapability,
    ModelHealth,
    ModelProfile,
    RequestOutcome,
    RoutingDecision,
    RoutingRequest,
    SelectionReason,
    TaskClass,
    build_profile,
)

__all__ = [
    "Classification",
    "CostTier",
    "LatencyClass",
    "LicenseTier",
    "Locality",
    "ModelCapability",
    "ModelHealth",
    "ModelProfile",
    "RequestOutcome",
    "RoutingDecision",
    "RoutingRequest",
    "SelectionReason",
    "TaskClass",
    "build_profile",
]
