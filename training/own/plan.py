"""What fits into the time given: the size of the pictures, and when to stop training so that the rest is done in time.

Nothing here is known of a machine beforehand. A few updates of the training itself say which size it can afford, and
the steps that measuring and writing consist of are rehearsed on the network before it is trained.
"""

import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from training.own import fit, network, release
from training.own.graph import Graph
from training.own.listing import Listing
from training.own.network import Start
from training.own.split import Split
from training.release import export

EPOCHS = {64: 15, 96: 25, 128: 40}
"""A size is chosen where the time is enough to see every picture so many times in it."""

FOR_TRAINING = 0.8
"""The share of the time that training has, about, when a size is chosen."""

STEPS = 24
"""What measuring and writing take without computing pictures, in units of building and compiling the network once.

Of `fast` at 32 x 32 pixels the one took 11.7 and the other 0.7 seconds of CPU time, counted by a profile of a release;
the rest is for fetching the best weights, for ending the process, and for a machine that becomes busier meanwhile.
"""

TRIED = 32
"""Pictures that a rehearsal computes."""


def process_age() -> float:
    """Seconds since this process began, loading its libraries included; 0 where the system does not tell."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        ticks = float(fields[19])  # field 22 of proc(5), starttime
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError):
        return 0.0


def side(found: Listing, start: Start | None, seconds: float) -> int:
    """The largest size that the pictures fill and the time allows, by what a few updates take on this machine."""
    typical = _typical(found)
    fitting = [side for side in sorted(EPOCHS, reverse=True) if side <= typical]
    if not fitting:
        return network.SIZES[0]
    cost = fit.seconds_a_picture(start, len(found.labels))
    for each in fitting:
        if FOR_TRAINING * seconds >= EPOCHS[each] * len(found.entries) * cost * (each / network.SIZES[0]) ** 2:
            return each
    return network.SIZES[0]


def _typical(found: Listing) -> float:
    """The median of the shorter sides of some pictures, by their headers; 0 where none can be read."""
    sides = []
    for entry in found.entries[:: max(1, len(found.entries) // 100)]:
        try:
            with Image.open(entry.path) as picture:
                sides.append(min(picture.size))
        except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError):
            continue
    return statistics.median(sides) if sides else 0


@dataclass(frozen=True)
class Rehearsal:
    """What it took to build, translate and compile the network once, and to compute a picture, in seconds."""

    built: float
    picture: float

    def ending(self, parts: Split) -> float:
        """About how many seconds measuring and writing will take."""
        return STEPS * self.built + release.pictures_computed(parts) * self.picture


def rehearse(start: Start | None, size: int, labels: int) -> Rehearsal:
    """The steps of the ending, on weights that nothing has trained."""
    began = time.monotonic()
    graph = Graph(export.to_onnx(network.build(start, size, labels), half=False))
    batch = np.zeros((TRIED, size, size, 3), np.uint8)
    graph([batch])
    built = time.monotonic() - began
    graph([batch])
    return Rehearsal(built, (time.monotonic() - began - built) / TRIED)
