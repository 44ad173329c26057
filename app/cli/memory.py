"""Whether this process may use the memory that loading the networks takes."""

import sys

from app.cli.failures import fail

ADDRESS_SPACE, DATA = 1_300_000_000, 500_000_000
"""Bytes that loading the networks takes at least, counted as `ulimit -v` and `ulimit -d` do."""


def reject_little_memory() -> None:
    """Exit if this process may not use the memory that loading takes: below it, libraries crash in many ways."""
    if sys.platform != "linux":
        return
    import resource

    for name, limit, needed in (("--as", resource.RLIMIT_AS, ADDRESS_SPACE), ("--data", resource.RLIMIT_DATA, DATA)):
        allowed, _ = resource.getrlimit(limit)
        if allowed != resource.RLIM_INFINITY and allowed < needed:
            found = f"a limit allows this process {allowed // 10**6} MB of memory (prlimit {name})"
            fail(f"{found}; expected at least {needed // 10**6} MB")
