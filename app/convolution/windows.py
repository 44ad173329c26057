"""Where the windows of a convolution lie: padding, stride, dilation, and what lies beyond the border.

The centre of a mask of n elements along an axis is element n // 2, counted from 0, before any flip: the middle of an
odd mask, the later of the two middle elements of an even one. That is the rule of scipy.ndimage. A dilated mask is the
mask with dilation - 1 zeros between its elements; its centre follows the same rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidInput

Operation = Literal["convolution", "correlation"]
Boundary = Literal["constant", "reflect", "mirror", "nearest", "wrap"]
Padding = Literal["same", "valid", "full"] | int | Sequence[int | Sequence[int]]

LARGEST = 2**31 - 1
"""A larger stride, dilation or window reaches beyond any array, and its products could exceed 64 bits."""


@dataclass(frozen=True, slots=True)
class Axis:
    """The geometry along one axis, in elements; `before` and `after` are the padding."""

    size: int
    mask: int
    before: int
    after: int
    stride: int
    dilation: int

    @property
    def effective(self) -> int:
        """The effective kernel size: how many elements the dilated mask spans."""
        return (self.mask - 1) * self.dilation + 1

    @property
    def padded(self) -> int:
        """The size of the padded input."""
        return self.before + self.size + self.after

    @property
    def output(self) -> int:
        """The number of outputs."""
        return (self.padded - self.effective) // self.stride + 1


def lay_out(
    shape: Sequence[int],
    mask: Sequence[int],
    operation: Operation,
    padding: Padding,
    stride: int | Sequence[int] = 1,
    dilation: int | Sequence[int] = 1,
) -> tuple[Axis, ...]:
    """The geometry along each axis of an input of `shape` under a mask of shape `mask`.

    `same` pads so that a stride of 1 keeps the size, `valid` does not pad, and `full` pads so that every overlap
    counts. A stride s keeps the first output of stride 1 and every s-th after it. Raises InvalidInput if a value is
    out of range, if a list does not have one value per axis, or if the mask is larger than the padded input.
    """
    rank = len(shape)
    strides, dilations = each_axis("stride", stride, rank), each_axis("dilation", dilation, rank)
    paddings = _paddings(padding, rank)
    return tuple(
        _padded(i, Axis(shape[i], mask[i], 0, 0, strides[i], dilations[i]), paddings[i], operation) for i in range(rank)
    )


def each_axis(name: str, value: int | Sequence[int], rank: int) -> Sequence[int]:
    """`value` for each of `rank` axes.

    Raises InvalidInput for another number of values, or for a value outside 1 to LARGEST.
    """
    values = [value] * rank if isinstance(value, int) else value
    if len(values) != rank:
        raise InvalidInput.about(name, f"{name} has {len(values)} values; expected {_one_per_axis(rank)}")
    for number in values:
        if not 1 <= number <= LARGEST:
            expected = "1 or more" if number < 1 else f"at most {LARGEST}"
            raise InvalidInput.about(name, f"{name} is {number}; expected {expected}")
    return values


def _one_per_axis(rank: int) -> str:
    return f"{rank} values, one per axis" if rank > 1 else "1 value, for the only axis"


def _paddings(padding: Padding, rank: int) -> Sequence[str | int | Sequence[int]]:
    """What was asked for along each axis."""
    if isinstance(padding, str | int):
        return [padding] * rank
    if len(padding) != rank:
        raise InvalidInput.about("padding", f"padding has {len(padding)} values; expected {_one_per_axis(rank)}")
    return padding


def _padded(i: int, axis: Axis, padding: str | int | Sequence[int], operation: Operation) -> Axis:
    """Axis number `i` with its padding. Raises InvalidInput if the mask is larger than the padded input."""
    before, after = _amounts(padding, axis.effective, operation)
    axis = replace(axis, before=before, after=after)
    if axis.effective > axis.padded:
        raise InvalidInput.about(
            "mask",
            f"along axis {i} the mask covers {axis.effective} elements and the padded input has {axis.padded}; "
            "expected no more than that (padding `same` or `full` adds some)",
        )
    return axis


def _amounts(padding: str | int | Sequence[int], effective: int, operation: Operation) -> tuple[int, int]:
    """How many elements to add before and after the input."""
    match padding:
        case "valid":
            return 0, 0
        case "full":
            return effective - 1, effective - 1
        case "same":
            centre = effective // 2
            outer = effective - 1 - centre
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
    """Which of `size` elements lies at each position; a position may lie outside 0 to size - 1. Names as in SciPy.

    reflect  d c b a | a b c d | d c b a        mirror  d c b | a b c d | c b a
    nearest  a a a a | a b c d | d d d d        wrap    a b c d | a b c d | a b c d

    `constant` gives the nearest; the caller overwrites it.
    """
    match boundary:
        case "reflect":
            folded = positions % (2 * size)
            return np.minimum(folded, 2 * size - 1 - folded)
        case "mirror":
            period = max(2 * size - 2, 1)
            folded = positions % period
            return np.minimum(folded, period - folded) if size > 1 else np.zeros_like(positions)
        case "wrap":
            return positions % size
    return positions.clip(0, size - 1)
