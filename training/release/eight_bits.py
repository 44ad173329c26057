"""The numbers of an int8 network: how weights and what they are multiplied with become eight bits.

A layer's input is an affine uint8 over its range, each filter a symmetric int8 with a scale of its own (Jacob et al.
2018; the ranges as in Krishnamoorthi 2018). An engine that knows the pattern multiplies the eight-bit numbers
themselves.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Range = tuple[float, float]
"""The least and the greatest value that a layer is given."""

OUTLIERS = 1e-5
"""The share of what a layer is given that int8 cuts off at either end; `benchmarks.outliers` compares some.

The few largest values, in `accurate` two to four times all others, would make every step as much coarser.
"""


def inputs(found: Range) -> tuple[np.float32, np.uint8]:
    """The step between neighbouring numbers of a layer's input, and the number that means 0."""
    low, high = min(found[0], 0.0), max(found[1], 0.0)
    step = np.float32(max(high - low, 1e-6) / 255)
    return step, np.uint8(round(-low / step))


def filters(kernel: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[Any]]:
    """A kernel in eight bits, and the step of each of its filters (filters,).

    The filters lie along `axis`, 0 or 1, and their channels along the other of the two. Processors without VNNI add
    the products of two neighbouring channels up in sixteen bits. Steps are such that these never overflow: two weights
    of one sign come to at most 128, and 128 * 255 < 2^15.
    """
    rest = tuple(other for other in range(kernel.ndim) if other != axis)
    steps = np.maximum(_largest_pairs(kernel, axis), 1e-12) / 127  # and one is for rounding
    return np.round(kernel / np.expand_dims(steps, rest)).astype(np.int8), steps


def _largest_pairs(kernel: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """The most that two neighbouring channels' weights of one sign come to, for each filter along `axis` (filters,)."""
    by_channel = np.moveaxis(kernel, (1 - axis, axis), (0, -1))
    firsts = range(0, len(by_channel), 2)
    pairs = np.stack([np.add.reduceat((sign * by_channel).clip(0), firsts) for sign in (1, -1)])
    return np.asarray(pairs.max(axis=tuple(range(by_channel.ndim))))
