"""Tiles of a padded input, taken straight from the input: the padded array as a whole is never made."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.convolution.windows import Axis, Boundary, source

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Padded:
    """An input with what lies beyond its border: `fill` under the boundary `constant`, else elements of the input.

    `values` has the axes of the mask first and perhaps a channel axis after them. Where `absent` is true a value is
    missing and counts as 0. `dtype` is that of the tiles.
    """

    values: Array
    boundary: Boundary
    fill: float
    dtype: np.dtype[Any]
    absent: NDArray[np.bool_] | None = None

    @cached_property
    def missing(self) -> "Padded":
        """1 where a value is missing, 0 elsewhere; nothing is missing under the boundary `constant`."""
        return replace(self, values=np.asarray(self.absent), fill=0.0, absent=None)

    @cached_property
    def present(self) -> "Padded":
        """0 where a value is missing, 1 elsewhere."""
        return replace(self, values=~np.asarray(self.absent), fill=1.0, absent=None)

    def tile(self, positions: Sequence[range]) -> Array:
        """The elements at evenly spaced positions along each axis, counted from the first element of the input."""
        tile = np.empty((*map(len, positions), *self.values.shape[len(positions) :]), self.dtype)
        inside = [_inside(p, size) for p, size in zip(positions, self.values.shape, strict=False)]
        if all(part.start < part.stop for part in inside):
            here = tuple(inside)
            there = tuple(_slice(p[part]) for p, part in zip(positions, inside, strict=True))
            tile[here] = self.values[there]
            if self.absent is not None:
                tile[here][self.absent[there]] = 0
        for axis, part in enumerate(inside):
            for edge in (slice(0, part.start), slice(part.stop, len(positions[axis]))):
                if edge.start < edge.stop:
                    self._fill(tile, positions, axis, edge)
        return tile

    def _fill(self, tile: Array, positions: Sequence[range], axis: int, edge: slice) -> None:
        """Write what lies beyond the border of one axis."""
        here = (slice(None),) * axis + (edge,)
        if self.boundary == "constant":
            tile[here] = self.fill
            return
        edges = [p[edge] if i == axis else p for i, p in enumerate(positions)]
        there = np.ix_(
            *(source(_array(p), size, self.boundary) for p, size in zip(edges, self.values.shape, strict=False))
        )
        tile[here] = self.values[there]
        if self.absent is not None:
            tile[here][self.absent[there]] = 0

    def windows(self, positions: Sequence[NDArray[np.int64]]) -> Array:
        """The elements (n0, n1, …, t[, C]) of windows of t elements; `positions` (n, t) has them along each axis."""
        shape = self.values.shape[: len(positions)]
        places = [source(p, size, self.boundary) for p, size in zip(positions, shape, strict=True)]
        flat = places[0]
        for size, place in zip(shape[1:], places[1:], strict=True):
            flat = flat[..., None, :] * size + place
        found = self.values.reshape(-1, *self.values.shape[len(positions) :])[flat].astype(self.dtype)
        if self.absent is not None:
            found[self.absent.reshape(-1)[flat]] = 0
        if self.boundary == "constant":
            inside = [(p >= 0) & (p < size) for p, size in zip(positions, shape, strict=True)]
            found[~reduce(lambda so_far, axis: so_far[..., None, :] & axis, inside)] = self.fill
        return found


def spread(first: int, count: int, step: int) -> range:
    """`count` positions from `first` on, `step` apart."""
    return range(first, first + count * step, step)


def positions(axis: Axis, outputs: slice, taps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the given mask elements of each output's window lie (outputs, taps), from the input's first element."""
    starts = np.arange(outputs.start, outputs.stop) * axis.stride - axis.before
    return starts[:, None] + taps * axis.dilation


def _inside(positions: range, size: int) -> slice:
    """Which of the positions lie in 0 to size - 1; an empty slice at the end they lie beyond."""
    step, count = positions.step, len(positions)
    start = min(max(0, -(positions.start // step)), count)
    stop = min(max(start, -((positions.start - size) // step)), count)
    return slice(start, stop)


def _slice(positions: range) -> slice:
    return slice(positions[0], positions[-1] + 1, positions.step)


def _array(positions: range) -> NDArray[np.int64]:
    return np.arange(positions.start, positions.stop, positions.step)
