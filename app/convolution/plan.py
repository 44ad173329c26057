"""How a convolution is computed: the cheapest exact way, the size of its tiles, and what it costs.

Along each axis, with stride s, dilation d and g = gcd(s, d): outputs d / g apart see the same every d-th element of the
input, and the outputs between them see none of these. Of those elements, every (s / g)-th meets the same mask elements.
So the polyphase decomposition turns a strided, dilated convolution into (d / g) (s / g) dense ones, each over every
lcm(s, d)-th element. Where that would be very many, the windows of the outputs are gathered instead, one by one.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

from app.convolution.windows import Axis
from app.errors import TooLarge

Method = Literal["direct", "fft"]
"""What callers see: multiply and add, or through the Fourier transform."""

Way = Literal["direct", "fft", "spread", "windows"]
"""`direct` and `fft` are dense convolutions of phases; `spread` is `direct` with the zeros of a dilated mask written
out; `windows` multiplies and adds gathered windows."""

DIRECT_TAPS = 49
"""OpenCV's filter2D multiplies and adds up to this many mask elements; beyond, it takes the Fourier transform."""

FFT_TAPS = 160
"""What one output costs through the Fourier transform, in multiply-adds of the direct method; measured."""

FFT_WORTH = 4_000_000
"""Multiply-adds from which on the Fourier transform is worth its setting up."""

PASS, COPY, GATHER = 200_000, 10, 120
"""What a dense convolution of one phase of one tile costs beside its sums, what copying an element of it costs, and
what one sum of a gathered window costs, in multiply-adds of the direct method; measured, rounded up."""

TILE = 512 * 1024
"""Input elements of a tile: what stays in the cache."""

LARGEST_TILE = 4 * 1024 * 1024
"""Input elements of a tile for a mask that would have tiles of TILE overlap for the most part."""

WINDOWS = 256 * 1024
"""Elements of the windows gathered at a time."""

MAX_SPREAD = 4096
"""Elements of a dilated mask whose zeros may be written out."""

OVERHEAD, FREE = 10, 10 * PASS
"""With what is read and copied for them, few multiply-adds cost up to OVERHEAD times as much, and FREE besides."""

MOST_OVERHEAD = 20_000_000_000
"""What a convolution may cost in this way although fewer multiply-adds are allowed; about four seconds."""

MAX_ELEMENTS = 200_000_000
MAX_MULTIPLY_ADDS = 10_000_000_000

Box = tuple[slice, ...]
"""A block of outputs: a slice along each axis."""


@dataclass(frozen=True, slots=True)
class Phases:
    """The polyphase decomposition along one axis."""

    outputs: int
    """Phases of outputs: outputs this many apart belong together."""

    taps: int
    """Phases of mask elements: elements this many apart belong together."""

    step: int
    """Input elements from one element of a phase to the next."""

    kernel: int
    """Mask elements of a phase, at most."""

    @classmethod
    def of(cls, axis: Axis) -> "Phases":
        common = math.gcd(axis.stride, axis.dilation)
        apart, step = axis.dilation // common, axis.stride // common
        return cls(apart, step, axis.dilation * step, -(-axis.mask // step))


@dataclass(frozen=True, slots=True)
class Plan:
    """The way, the outputs of a tile along each axis, and the cost in multiply-adds of the direct method."""

    way: Way
    tile: tuple[int, ...]
    cost: float

    @property
    def method(self) -> Method:
        return "fft" if self.way == "fft" else "direct"

    def boxes(self, axes: Sequence[Axis]) -> Iterator[Box]:
        """The tiles of the output, in the order of its elements."""
        ranges = [range(0, axis.output, size) for axis, size in zip(axes, self.tile, strict=True)]
        for corner in product(*ranges):
            yield tuple(
                slice(start, min(start + size, axis.output))
                for start, size, axis in zip(corner, self.tile, axes, strict=True)
            )


def check_elements(axes: Sequence[Axis], channels: int, most: int) -> None:
    """Raises TooLarge if the padded input or the output would have more than `most` elements."""
    padded, outputs = (math.prod(sizes) for sizes in zip(*((axis.padded, axis.output) for axis in axes), strict=True))
    if (needed := max(padded, outputs) * channels) > most:
        detail = f"the padded input or the output has {needed} elements; expected at most {most}"
        raise TooLarge.about("padding", detail)


def fft_pays(axes: Sequence[Axis], channels: int, taps: int) -> bool:
    """Whether the Fourier transform costs less than multiplying and adding `taps` mask elements for each output."""
    outputs = math.prod(axis.output for axis in axes) * channels
    return taps > FFT_TAPS * _planes(axes) and outputs * taps > FFT_WORTH


def choose(axes: Sequence[Axis], channels: int, taps: int, *, fft: bool, most: int, slides: int = 1) -> Plan:
    """The cheapest plan; `taps` counts the mask's elements other than 0, `fft` says whether to use the transform.

    The mask, or another of its size, slides over the input `slides` times; `cost` counts one.
    Raises TooLarge if that costs more than `most` multiply-adds.
    """
    outputs = math.prod(axis.output for axis in axes) * channels
    sums = slides * outputs * (FFT_TAPS * _planes(axes) if fft else taps)
    plans = [dense(axes, channels, taps, fft=fft), windows(axes, channels, taps)]
    if not fft and math.prod(axis.effective for axis in axes) <= MAX_SPREAD:
        plans.append(spread(axes, channels, taps))
    plan = min(plans, key=lambda plan: plan.cost)
    cost = slides * plan.cost
    allowed = max(most, min(OVERHEAD * most + FREE, MOST_OVERHEAD))
    if sums > most or cost > allowed:
        needed, expected = (sums, most) if sums > most else (math.ceil(cost), allowed)
        how = "need" if sums > most else "cost, with all that is read and copied for them, as much as"
        detail = (
            f"{outputs} outputs under a mask of {taps} elements {how} {needed} multiply-adds; "
            f"expected at most {expected}"
        )
        raise TooLarge.about("mask", detail)
    return plan


def dense(axes: Sequence[Axis], channels: int, taps: int, *, fft: bool) -> Plan:
    """The plan that convolves phases."""
    phases = [Phases.of(axis) for axis in axes]
    counts = [-(-axis.output // phase.outputs) for axis, phase in zip(axes, phases, strict=True)]
    sizes = _tile(counts, [phase.kernel for phase in phases], channels)
    tiles = math.prod(-(-count // size) for count, size in zip(counts, sizes, strict=True))
    tiles *= math.prod(min(phase.outputs, axis.output) for axis, phase in zip(axes, phases, strict=True))
    passes = tiles * math.prod(min(phase.taps, axis.mask) for axis, phase in zip(axes, phases, strict=True))
    read = channels * math.prod(size + phase.kernel - 1 for size, phase in zip(sizes, phases, strict=True))
    if fft:
        planes = phases[0].kernel if len(axes) == 3 else 1
        sums = passes * read * planes * FFT_TAPS
    else:
        sums = tiles * read * min(math.prod(axis.mask for axis in axes), DIRECT_TAPS * taps)
    tile = tuple(min(size * phase.outputs, axis.output) for size, phase, axis in zip(sizes, phases, axes, strict=True))
    return Plan("fft" if fft else "direct", tile, passes * (PASS + COPY * read) + sums)


def spread(axes: Sequence[Axis], channels: int, taps: int) -> Plan:
    """The plan that writes out the zeros of a dilated mask."""
    return replace(dense([undilated(axis) for axis in axes], channels, taps, fft=False), way="spread")


def undilated(axis: Axis) -> Axis:
    """The same geometry, under the dilated mask with its zeros written out."""
    return replace(axis, mask=axis.effective, dilation=1)


def windows(axes: Sequence[Axis], channels: int, taps: int) -> Plan:
    """The plan that gathers the windows of the outputs."""
    room = max(1, WINDOWS // (channels * max(1, min(taps, WINDOWS))))
    tile = []
    for axis in reversed(axes):
        tile.append(min(axis.output, room))
        room = max(1, room // tile[-1])
    tile.reverse()
    tiles = math.prod(-(-axis.output // size) for axis, size in zip(axes, tile, strict=True))
    outputs = math.prod(axis.output for axis in axes) * channels
    passes = tiles * -(-taps // WINDOWS)
    return Plan("windows", tuple(tile), passes * PASS + outputs * taps * GATHER)


def _planes(axes: Sequence[Axis]) -> int:
    """Two-dimensional convolutions that make up one output."""
    return axes[0].mask if len(axes) == 3 else 1


def _tile(outputs: Sequence[int], kernel: Sequence[int], channels: int) -> list[int]:
    """How many outputs of a phase to compute at a time along each axis.

    Few enough that the input elements they see fit into TILE, or, for a large mask, into LARGEST_TILE; and at least
    four times the kernel, or once, so that most elements of a tile are not its neighbours' too. Whole rows if possible.
    """
    sizes = list(outputs)
    for most, least in ((TILE, 4), (LARGEST_TILE, 1)):
        for i in range(len(sizes)):
            seen = channels * math.prod(size + k - 1 for size, k in zip(sizes, kernel, strict=True))
            if seen > most:
                others = seen // (sizes[i] + kernel[i] - 1)
                sizes[i] = min(sizes[i], max(most // others - kernel[i] + 1, least * kernel[i]))
    return [-(-n // -(-n // size)) for n, size in zip(outputs, sizes, strict=True)]  # tiles of about the same size
