"""The configuration: as it was written (``Config``) and as it is in force (``settings.Settings``).

Two types on purpose: what a person wrote keeps its names and says where each value came from; what the
router and the backends read has every default, address and place worked out.
"""

from modelway.config.written import Config, load_config, trained_weights_file

__all__ = ["Config", "load_config", "trained_weights_file"]
