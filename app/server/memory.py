"""Memory that requests have freed: kept for the next ones, and given back to the system a moment later.

By default glibc fetches every array and body of some megabytes from the system and gives it back, page by page, which
takes longer than working on it: /convolve answers a tenth sooner if such blocks are kept. But what is kept would stay
with the process for good, 2 GB of it after large pictures. So the process looks at its size now and then.
"""

import asyncio
import ctypes
import gc
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # of <malloc.h>

YOUNG_OBJECTS = 10_000
"""After so many the garbage collector looks for cycles; requests leave none, so its usual 700 are a waste of time."""

SHORTEST, LONGEST = 1.0, 15.0
"""Seconds from one look at the process's size to the next; each trim that gave little back doubles them."""

SLACK = 16_000_000
"""Bytes by which the process may have grown beyond its smallest size before it is trimmed, in a thread."""

STATM = Path("/proc/self/statm")
PAGE = os.sysconf("SC_PAGESIZE") if hasattr(os, "sysconf") else 4096


def share_one_arena() -> None:
    """Let all threads to come allocate from one arena: with glibc, on Linux. To be called before there are threads.

    By default each thread has an arena of its own, whose end `trim` cannot give back: 64 MB for each.
    """
    if glibc := _glibc():
        glibc.mallopt(M_ARENA_MAX, 1)


def settle() -> None:
    """Give back what loading has left over, then keep what requests free: with glibc, on Linux.

    What was loaded stays, so the garbage collector need not look through it again and again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])
    trim()
    if glibc := _glibc():
        glibc.mallopt(M_MMAP_THRESHOLD, 32 * 2**20)  # the most that glibc allows
        glibc.mallopt(M_TRIM_THRESHOLD, 128 * 2**20)


def trim() -> None:
    """Give every free page back to the system: with glibc, on Linux. Releases the interpreter meanwhile."""
    if glibc := _glibc():
        glibc.malloc_trim(0)


def resident() -> int:
    """The process's resident memory in bytes; 0 where the system does not say."""
    try:
        return int(STATM.read_text().split()[1]) * PAGE
    except OSError:
        return 0


async def keep_trimmed(busy: Callable[[], bool]) -> None:
    """Trim once the process has grown and is not `busy` any more, or has been for LONGEST seconds; until cancelled."""
    least, pause, waited = resident(), SHORTEST, 0.0
    while True:
        await asyncio.sleep(pause)
        before = resident()
        least = min(least, before)
        if before <= least + SLACK:
            pause = SHORTEST
        elif busy() and waited < LONGEST:
            waited += pause
        else:
            await asyncio.to_thread(trim)
            waited = 0.0
            # What is left may be a network compiled since, or work that goes on although its request has been answered.
            pause = SHORTEST if resident() < before - SLACK else min(2 * pause, LONGEST)


@cache
def _glibc() -> Any:
    """The C library, if it is one that trims; else None."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
