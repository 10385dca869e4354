"""What is in memory: models loaded and unloaded as the router says, and what others do beside us noticed."""

from modelway.residency.manager import GpuMemoryManager

__all__ = ["GpuMemoryManager"]
