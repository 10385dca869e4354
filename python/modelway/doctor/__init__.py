"""What is wrong or wasteful here, each finding with its remedy: ``modelway doctor``.

What is to be known is gathered first (``examined.py``, ``machine.py``); each check is a function of that alone.
"""

from modelway.doctor.diagnosis import diagnose
from modelway.doctor.finding import Finding

__all__ = ["Finding", "diagnose"]
