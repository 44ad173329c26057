"""Pooling: the largest or the mean value of each window; pure functions over arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from app.convolution.windows import each_axis
from app.errors import InvalidInput, TooLarge

Kind = Literal["max", "average"]

COST = 10
"""Multiply-adds of a convolution that take as long as combining one value here; measured."""

MAX_MULTIPLY_ADDS = 10_000_000_000

SMALLER = 2.0**-64
"""A factor by which sums of any values stay finite."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The windows along one axis: `outputs` of them, each of `size` elements, the first starting `before` the input."""

    size: int
    stride: int
    before: int
    after: int
    outputs: int


def plan(
    shape: Sequence[int],
    size: int | Sequence[int] = 2,
    stride: int | Sequence[int] | None = None,
    padding: Literal["valid", "same"] = "valid",
) -> tuple[Pool, ...]:
    """The windows along each axis of an input of `shape`; the stride is the size where none is given.

    `valid` keeps windows that lie wholly inside; `same` has one for every stride begun, ceil(n / stride), the overhang
    shared between both ends, the odd one at the far end, and what overhangs does not count (TensorFlow's rule). Raises
    InvalidInput.
    """
    sizes = each_axis("size", size, len(shape))
    strides = sizes if stride is None else each_axis("stride", stride, len(shape))
    pools = []
    for i, (n, k, s) in enumerate(zip(shape, sizes, strides, strict=True)):
        if padding == "valid" and k > n:
            raise InvalidInput.about(
                "size", f"along axis {i} size is {k} and the input has {n} elements; expected no more"
            )
        outputs = -(-n // s) if padding == "same" else (n - k) // s + 1
        overhang = max((outputs - 1) * s + k - n, 0) if padding == "same" else 0
        pools.append(Pool(k, s, overhang // 2, overhang - overhang // 2, outputs))
    return tuple(pools)


def pool(
    values: NDArray[Any], kind: Kind, pools: Sequence[Pool], max_multiply_adds: int = MAX_MULTIPLY_ADDS
) -> NDArray[Any]:
    """The pooled array: float64 for a float64 input, else float32 (a picture's values).

    The first axes are pooled, one for each of `pools`. A window that holds NaN, a missing value, gives NaN. Raises
    TooLarge where that costs more than `max_multiply_adds`.
    """
    work = COST * values.size * sum(len(_elements(p, n)) for p, n in zip(pools, values.shape, strict=False))
    if work > max_multiply_adds:
        cost = f"windows of {[p.size for p in pools]} over {values.size} values cost as much as {work} multiply-adds"
        detail = f"{cost}; expected at most {max_multiply_adds}"
        raise TooLarge.about("size", detail)
    result = np.float64 if values.dtype == np.float64 else np.float32
    with np.errstate(all="ignore"):
        if kind == "max":
            for axis, p in enumerate(pools):
                values = _combine(values, axis, p, np.maximum)
            return values.astype(result, copy=False)
        values = values.astype(result, copy=False)
        pooled = _mean(values, pools)
        if not np.isfinite(pooled).all():  # a value is missing, or the sum too large, which the mean never is
            return np.where(np.isfinite(pooled), pooled, _mean(values * SMALLER, pools) / SMALLER)
        return pooled


def _mean(values: NDArray[Any], pools: Sequence[Pool]) -> NDArray[Any]:
    for axis, p in enumerate(pools):
        inside = _combine(np.ones(values.shape[axis], values.dtype), 0, p, np.add)
        counts = inside.reshape([-1 if i == axis else 1 for i in range(values.ndim)])
        values = _combine(values, axis, p, np.add) / counts
    return values


def _combine(values: NDArray[Any], axis: int, pool: Pool, combine: np.ufunc) -> NDArray[Any]:
    """Combine the elements of each window along `axis`: element by element of the window, all windows at once."""
    values = np.moveaxis(values, axis, 0)
    starts, last = _starts(pool), len(values) - 1
    # A window's elements that lie inside the input are one run; the first of them starts its result.
    combined = values[starts.clip(0, last)]
    for element in _elements(pool, len(values)):
        where = starts + element
        begun = np.flatnonzero((where > starts.clip(0)) & (where <= last))
        if begun.size:
            first, stop = begun[0], begun[-1] + 1
            source = slice(where[first], where[stop - 1] + 1, pool.stride)
            combine(combined[first:stop], values[source], out=combined[first:stop])
    return np.moveaxis(combined, 0, axis)


def _starts(pool: Pool) -> NDArray[np.int64]:
    """Where each window begins, which may be before the input."""
    return np.arange(pool.outputs) * pool.stride - pool.before


def _elements(pool: Pool, size: int) -> range:
    """Which of a window's elements, but for the first, lie inside an input of `size` for any window."""
    starts = _starts(pool)
    return range(max(1, -int(starts.max())), min(pool.size, size - int(starts.min())))
