"""How often a caller may ask: a token bucket for each, in this process's memory."""

import time
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from app.errors import RateLimited

MOST_CALLERS = 10_000
"""Callers that are remembered; the one that has been quiet for longest is forgotten first."""


class RateLimit:
    """At most `burst` requests at once, and `rate` a second in the long run, from each caller.

    A bucket is one number, the time at which it will be full again (the generic cell rate algorithm): nothing has to
    refill it.
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1 / rate
        self._tolerance = (burst - 1) / rate
        self._clock = clock
        self._full_at: dict[str, float] = {}

    def take(self, caller: str) -> None:
        """Count a request of `caller`. Raises RateLimited, which says when there will be room for it."""
        now = self._clock()
        full_at = max(now, self._full_at.pop(caller, now))
        wait = full_at - now - self._tolerance
        admitted = wait <= 1e-9  # of a second, for sums of fractions
        self._full_at[caller] = full_at + self._interval if admitted else full_at  # now the last one
        if len(self._full_at) > MOST_CALLERS:
            del self._full_at[next(iter(self._full_at))]
        if not admitted:
            rate = 1 / self._interval
            detail = f"more than {rate:g} requests per second came from {caller}; the next is admitted in {wait:.3g} s"
            raise RateLimited(detail, wait=wait)


@lru_cache(maxsize=MOST_CALLERS)
def network_of(address: str) -> str:
    """The address that a caller counts for: IPv6 gives every customer a network of 64 bits, which counts as one."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or f"{IPv6Address(int(parsed) >> 64 << 64)}/64")
    return address
