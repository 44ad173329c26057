"""Where the windows of a convolution lie: padding, stride, dilation and what stands beyond the border.

The centre of a mask of n elements along an axis is element n // 2, counted from 0, before any flip: the middle of an
odd mask, the later of the two middle elements of an even one. That is the rule of scipy.ndimage. A dilated mask is the
mask with dilation - 1 zeros between its elements, and has the centre of one that size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidInput

Operation = Literal["convolution", "correlation"]
Boundary = Literal["constant", "reflect", "mirror", "nearest", "wrap"]
Padding = Literal["same", "valid", "full"] | int | Sequence[int | Sequence[int]]

LONGEST = 2**31 - 1
"""A stride, dilation or window beyond this reaches past any array, and its products past 64 bits."""


@dataclass(frozen=True, slots=True)
class Axis:
    """The geometry along one axis, in elements."""

    size: int
    mask: int
    before: int
    after: int
    stride: int
    dilation: int

    @property
    def extent(self) -> int:
        """What the dilated mask covers."""
        return (self.mask - 1) * self.dilation + 1

    @property
    def padded(self) -> int:
        return self.before + self.size + self.after

    @property
    def output(self) -> int:
        return (self.padded - self.extent) // self.stride + 1


def plan(
    shape: Sequence[int],
    mask: Sequence[int],
    operation: Operation,
    padding: Padding,
    stride: int | Sequence[int] = 1,
    dilation: int | Sequence[int] = 1,
) -> tuple[Axis, ...]:
    """What happens along each axis of an input of `shape` under a mask of shape `mask`.

    `same` pads so that a stride of 1 keeps the size, `valid` not at all, `full` so that every overlap counts; a stride
    s keeps the first of the outputs of stride 1 and every s-th after it. Raises InvalidInput where a value is
    impossible, has not one element an axis, or leaves the mask larger than the padded input.
    """
    rank = len(shape)
    strides = each_axis("stride", stride, rank)
    dilations = each_axis("dilation", dilation, rank)
    if not isinstance(padding, str | int) and len(padding) != rank:
        raise InvalidInput.about("padding", f"padding has {len(padding)} elements; expected {rank}, one an axis")
    axes = []
    for i in range(rank):
        axis = Axis(shape[i], mask[i], 0, 0, strides[i], dilations[i])
        before, after = _padding(padding if isinstance(padding, str | int) else padding[i], axis.extent, operation)
        axis = Axis(shape[i], mask[i], before, after, strides[i], dilations[i])
        if axis.extent > axis.padded:
            raise InvalidInput.about(
                "mask",
                f"along axis {i} the mask covers {axis.extent} elements and the padded input has {axis.padded}; "
                "expected no more than that (padding `same` or `full` adds some)",
            )
        axes.append(axis)
    return tuple(axes)


def each_axis(name: str, value: int | Sequence[int], rank: int) -> Sequence[int]:
    """`value` for each of `rank` axes. Raises InvalidInput for another number of values, or one not in 1 to LONGEST."""
    values = [value] * rank if isinstance(value, int) else value
    if len(values) != rank:
        raise InvalidInput.about(name, f"{name} has {len(values)} elements; expected {rank}, one an axis")
    for one in values:
        if not 1 <= one <= LONGEST:
            raise InvalidInput.about(name, f"{name} is {one}; expected 1 to {LONGEST}")
    return values


def _padding(padding: str | int | Sequence[int], extent: int, operation: Operation) -> tuple[int, int]:
    match padding:
        case "valid":
            return 0, 0
        case "full":
            return extent - 1, extent - 1
        case "same":
            centre = extent // 2
            outer = extent - 1 - centre
            return (outer, centre) if operation == "convolution" else (centre, outer)
        case int():
            before = after = padding
        case _:
            if len(padding) != 2:
                raise InvalidInput.about("padding", f"padding has a pair {list(padding)}; expected [before, after]")
            before, after = int(padding[0]), int(padding[1])
    if min(before, after) < 0:
        raise InvalidInput.about("padding", f"padding is {min(before, after)}; expected 0 or more")
    return before, after


def source(positions: NDArray[np.int64], size: int, boundary: Boundary) -> NDArray[np.int64]:
    """Which of `size` elements stands at each position, which may lie outside 0 to size - 1 (names as in SciPy).

    reflect  d c b a | a b c d | d c b a        mirror  d c b | a b c d | c b a
    nearest  a a a a | a b c d | d d d d        wrap    a b c d | a b c d | a b c d

    `constant` gives the nearest, for the caller to overwrite.
    """
    match boundary:
        case "reflect":
            folded = positions % (2 * size)
            return np.minimum(folded, 2 * size - 1 - folded)
        case "mirror":
            folded = positions % max(2 * size - 2, 1)
            return np.minimum(folded, max(2 * size - 2, 1) - folded) if size > 1 else np.zeros_like(positions)
        case "wrap":
            return positions % size
    return positions.clip(0, size - 1)
