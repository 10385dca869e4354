"""Waiting across the border: the core answers now or queued, and asyncio waits here.

No polling, no helper thread, any number of event loops and threads.
"""

from modelway.waiters.fair_queue import FairQueue
from modelway.waiters.permits import Permit, Waiters
from modelway.waiters.rate_limiter import RateLimiter
from modelway.waiters.semaphore import WeightedSemaphore

__all__ = ["FairQueue", "Permit", "RateLimiter", "Waiters", "WeightedSemaphore"]
