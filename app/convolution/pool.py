"""Pooling: the largest or the mean value of each window."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from app.convolution.windows import each_axis
from app.deadline import Checkpoint, unbounded
from app.errors import InvalidInput, TooLarge

Kind = Literal["max", "average"]
Array = NDArray[Any]
Spans = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Where the windows along one axis begin, and where they end."""

COST = 10
"""Multiply-adds of a convolution that take as long as combining two values here; measured."""

MAX_MULTIPLY_ADDS = 10_000_000_000

BAND = 512 * 1024
"""Values held for a band, if its windows are small."""

MAX_BAND = 16 * 1024 * 1024
"""Values held for a band at most."""

COMBINED = 4 * 1024 * 1024
"""Values combined in one step."""

SMALLER = 2.0**-64
"""A factor by which sums of any values stay finite."""


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows along one axis: `outputs` of them, each of `size` elements, the first starting `before` the input."""

    size: int
    stride: int
    before: int
    after: int
    outputs: int

    def spans(self, outputs: slice, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where each window begins and ends within an input of `count` elements; none is empty."""
        starts = np.arange(outputs.start, outputs.stop) * self.stride - self.before
        return starts.clip(0), np.minimum(starts + self.size, count)


def plan(
    shape: Sequence[int],
    size: int | Sequence[int] = 2,
    stride: int | Sequence[int] | None = None,
    padding: Literal["valid", "same"] = "valid",
) -> tuple[Windows, ...]:
    """The windows along each axis of an input of `shape`; the stride is the size unless it is given.

    `valid` keeps windows that lie wholly inside. `same` has ceil(n / stride) windows; their overhang is shared between
    both ends, an odd element goes to the far end, and what overhangs does not count (TensorFlow's rule). Raises
    InvalidInput.
    """
    sizes = each_axis("size", size, len(shape))
    strides = sizes if stride is None else each_axis("stride", stride, len(shape))
    windows = []
    for i, (n, k, s) in enumerate(zip(shape, sizes, strides, strict=True)):
        if padding == "valid" and k > n:
            raise InvalidInput.about(
                "size", f"along axis {i} size is {k} and the input has {n} elements; expected no more than that"
            )
        outputs = -(-n // s) if padding == "same" else (n - k) // s + 1
        overhang = max((outputs - 1) * s + k - n, 0) if padding == "same" else 0
        windows.append(Windows(k, s, overhang // 2, overhang - overhang // 2, outputs))
    return tuple(windows)


@dataclass(frozen=True, eq=False)
class Pooling:
    """The pooling of an input's first axes, one for each of `windows`; a channel axis after them stays as it is.

    The output is in `arithmetic`: float64 for arrays of any dtype, float32 for pictures; by default float64 if the
    input is. A window that holds NaN, a missing
    value, gives NaN. Raises TooLarge if that costs more than `max_multiply_adds`, or if one row of windows covers more
    values than are held at a time.
    """

    values: Array
    kind: Kind
    windows: tuple[Windows, ...]
    max_multiply_adds: int = MAX_MULTIPLY_ADDS
    arithmetic: np.dtype[Any] | None = None

    def __post_init__(self) -> None:
        sizes = [w.size for w in self.windows]
        cost = self._cost()
        if cost > self.max_multiply_adds:
            found = f"windows of {sizes} over {self.values.size} values cost as much as {cost} multiply-adds"
            raise TooLarge.about("size", f"{found}; expected at most {self.max_multiply_adds}")
        if (held := self._held(1)) > MAX_BAND:
            found = f"a row of windows of {sizes} needs {held} values at once"
            raise TooLarge.about("size", f"{found}; expected at most {MAX_BAND}")

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.arithmetic or np.dtype(np.float64 if self.values.dtype == np.float64 else np.float32)

    @property
    def shape(self) -> tuple[int, ...]:
        return (*(w.outputs for w in self.windows), *self.values.shape[len(self.windows) :])

    def rows(self, checkpoint: Checkpoint = unbounded) -> Array:
        """The whole output. Raises what `checkpoint` raises."""
        output = np.empty(self.shape, self.dtype)
        for rows, values in self.tiles(checkpoint):
            output[rows] = values
        return output

    def tiles(self, checkpoint: Checkpoint = unbounded) -> Iterator[tuple[tuple[slice, ...], Array]]:
        """The output from top to bottom, some rows at a time: (where, its values). Raises what `checkpoint` raises."""
        height = self._band()
        for start in range(0, self.shape[0], height):
            rows = slice(start, min(start + height, self.shape[0]))
            with np.errstate(all="ignore"):
                band = self._pooled(rows, checkpoint)
            yield (rows,), band

    def _pooled(self, rows: slice, checkpoint: Checkpoint) -> Array:
        begins, ends = self.windows[0].spans(rows, len(self.values))
        seen = self.values[begins[0] : ends[-1]]
        spans = [(begins - begins[0], ends - begins[0])]
        spans += [
            w.spans(slice(0, w.outputs), n) for w, n in zip(self.windows[1:], self.values.shape[1:], strict=False)
        ]
        if self.kind == "max":
            return _combined(seen, spans, np.maximum, checkpoint).astype(self.dtype, copy=False)
        pooled = self._mean(seen, spans, 1.0, checkpoint)
        finite = np.isfinite(pooled)
        if not finite.all():  # a value is missing, or the sum is too large, which the mean never is
            return np.where(finite, pooled, self._mean(seen, spans, SMALLER, checkpoint) / SMALLER)
        return pooled

    def _mean(self, seen: Array, spans: Sequence[Spans], factor: float, checkpoint: Checkpoint) -> Array:
        """The means of `factor` times the values."""
        total = _combined(seen, spans, np.add, checkpoint, self.dtype, factor)
        for axis, (begins, ends) in enumerate(spans):
            counts = (ends - begins).astype(self.dtype)
            total /= counts.reshape([-1 if i == axis else 1 for i in range(total.ndim)])
        return total

    def _band(self) -> int:
        """Output rows of a band: few enough for BAND, and enough that bands share little of their input."""
        first = self.windows[0]
        shared = max(1, 4 * min(first.size, len(self.values)) // first.stride)
        height = self._fitting(BAND)
        return min(first.outputs, max(height, min(shared, self._fitting(MAX_BAND))))

    def _fitting(self, most: int) -> int:
        """The most output rows of a band that holds at most `most` values; at least 1."""
        low, high = 1, self.windows[0].outputs
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._held(middle) <= most else (low, middle - 1)
        return low

    def _held(self, rows: int) -> int:
        """Values that are held for `rows` output rows, after the first axis or at the end."""
        return rows * math.prod(max(n, m) for n, m in zip(self.shape[1:], self.values.shape[1:], strict=True))

    def _cost(self) -> int:
        """Multiply-adds that take as long: each axis combines what the axes before it have left."""
        height, seen, cost = self._band(), list(self.values.shape), 0
        bands = -(-self.shape[0] // height)
        seen[0] = min(len(self.values), (height - 1) * self.windows[0].stride + self.windows[0].size)
        for axis, w in enumerate(self.windows):
            outputs = height if axis == 0 else w.outputs
            others = math.prod(seen) // seen[axis]
            cost += COST * others * _steps(seen[axis], outputs, min(w.size, seen[axis]))
            seen[axis] = outputs
        return cost * bands * (2 if self.kind == "average" else 1)


def _steps(count: int, outputs: int, size: int) -> int:
    """Pairs of values that are combined along one axis."""
    return min(outputs * size, (count + outputs) * size.bit_length())


def _combined(
    values: Array,
    spans: Sequence[Spans],
    combine: np.ufunc,
    checkpoint: Checkpoint,
    dtype: np.dtype[Any] | None = None,
    factor: float = 1.0,
) -> Array:
    """Combine the elements of each window along one axis after the other, some of the other axes' elements at a time.

    `factor` times the values, in `dtype`, are combined; without a dtype, the values as they are.
    """
    for axis, span in enumerate(spans):
        moved = np.moveaxis(values, axis, 0)
        found = []
        for part in _parts(moved.shape):
            checkpoint()
            some = moved[part] if dtype is None else moved[part].astype(dtype, copy=False)
            some = some if axis or factor == 1 else some * factor
            found.append(_along_first(some, span, combine, checkpoint))
        values = np.moveaxis(np.concatenate(found, axis=1) if len(found) > 1 else found[0], 0, axis)
    return values


def _parts(shape: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Slices of the second axis that leave at most about COMBINED values each; all of it if there is no second axis."""
    if len(shape) == 1:
        yield (slice(None),)
        return
    width = max(1, COMBINED * shape[1] // math.prod(shape))
    for start in range(0, shape[1], width):
        yield slice(None), slice(start, start + width)


def _along_first(values: Array, span: Spans, combine: np.ufunc, checkpoint: Checkpoint) -> Array:
    begins, ends = span
    size = int((ends - begins).max())
    if len(begins) * size > (len(values) + len(begins)) * size.bit_length():
        return _doubling(values, begins, ends, combine, checkpoint)
    # Windows that overhang the start all begin with the first element; the others begin evenly spaced.
    within = 0 if isinstance(_slice(begins), slice) else int(np.argmax(begins > 0)) or len(begins)
    groups = [slice(0, within), slice(within, len(begins))]
    found = [_one_by_one(values, begins[g], ends[g], combine, checkpoint) for g in groups if g.start < g.stop]
    return np.concatenate(found) if len(found) > 1 else found[0]


def _one_by_one(
    values: Array, begins: NDArray[np.int64], ends: NDArray[np.int64], combine: np.ufunc, checkpoint: Checkpoint
) -> Array:
    """The first elements of all windows, combined with the second of those that have one, and so on."""
    combined = np.array(values[_slice(begins)])
    lengths = ends - begins
    for element in range(1, int(lengths.max())):
        checkpoint()
        longer = np.flatnonzero(lengths > element)
        where = _slice(begins[longer] + element)
        here = _slice(longer)
        combine(combined[here], values[where], out=combined[here])
    return combined


def _slice(indices: NDArray[np.int64]) -> slice | NDArray[np.int64]:
    """Evenly spaced indices as a slice, which takes no copy."""
    steps = np.diff(indices)
    if len(steps) and (steps[0] < 1 or (steps != steps[0]).any()):
        return indices
    return slice(int(indices[0]), int(indices[-1]) + 1, int(steps[0]) if len(steps) else 1)


def _doubling(
    values: Array, begins: NDArray[np.int64], ends: NDArray[np.int64], combine: np.ufunc, checkpoint: Checkpoint
) -> Array:
    """Runs of 1, 2, 4, … elements: each window is made of the runs that its length has in binary."""
    combined = np.empty((len(begins), *values.shape[1:]), values.dtype)
    begun = np.zeros(len(begins), np.bool_)
    places, lengths, run = begins.copy(), ends - begins, values
    for bit in range(int(lengths.max()).bit_length()):
        checkpoint()
        has = np.flatnonzero(lengths >> bit & 1)
        new, more = has[~begun[has]], has[begun[has]]
        combined[new] = run[places[new]]
        combined[more] = combine(combined[more], run[places[more]])
        begun[has] = True
        places[has] += 1 << bit
        if len(run) > 1 << bit:
            run = combine(run[: -(1 << bit)], run[1 << bit :])
    return combined
