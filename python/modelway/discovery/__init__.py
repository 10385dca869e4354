"""What the backends on this machine have, asked without loading a model."""

from modelway.discovery.survey import complete, discover

__all__ = ["complete", "discover"]
