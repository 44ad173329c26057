"""How many processors this process may use, by which threads and processes are counted."""

import math
import os
from pathlib import Path

CGROUP = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")


def usable() -> int:
    """The processors of the computer, less what affinity or a container's quota takes away; at least 1.

    A quota of one and a half processors counts as two. With Python 3.13, PYTHON_CPU_COUNT lowers the number too.
    """
    count = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # on Linux
        count = min(count, len(os.sched_getaffinity(0)))
    return max(1, math.ceil(min(count, quota(CGROUP, MOUNT))))


def quota(cgroup: Path, mount: Path) -> float:
    """The processors that control groups (version 2) allow, which may be a fraction; infinity if they do not say.

    `cgroup` is the process's list of groups, and `mount` where they are mounted. The groups above its own count too.
    """
    try:
        own = next(line for line in cgroup.read_text().splitlines() if line.startswith("0::/"))
    except (OSError, StopIteration):
        return math.inf
    group = mount / own.removeprefix("0::/")
    return min(_limit(folder / "cpu.max") for folder in (group, *group.parents) if folder.is_relative_to(mount))


def _limit(file: Path) -> float:
    """The processors that a file `cpu.max` allows: microseconds, or `max`, and the period they are of."""
    try:
        most, period = file.read_text().split()
        return math.inf if most == "max" else int(most) / int(period)
    except (OSError, ValueError):
        return math.inf
