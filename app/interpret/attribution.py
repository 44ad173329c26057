"""Why a network says a label: what the maps of all methods of /explain share, without gradients.

A map is (side, side), as large as what the network sees. Its values go from 0, for places that do not speak for the
label, to 1, for the place that speaks for it most.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.imaging import Fit, seen
from app.inference.metadata import Input, ReceptiveField

NEUTRAL = {1: [122], 3: [125, 123, 114]}
"""By the number of channels, a mean colour of photographs: that of CIFAR-10, for networks that do not tell theirs."""

MOST_CELLS = 512
"""Rows or columns of a heat map over a whole picture."""

Map = NDArray[np.float64]
Pictures = NDArray[np.uint8]


def neutral(input: Input) -> NDArray[np.uint8]:
    """The mean colour (channels,) of the training pictures, which tells the network next to nothing."""
    return np.array(input.neutral or NEUTRAL[input.channels], np.uint8)


def enlarged(values: NDArray[np.floating], field: ReceptiveField | None, side: int) -> Map:
    """A layer's map (h, w) as (side, side): each value at the centre of its receptive field, linear in between.

    Where no field is known, the values are spread evenly.
    """
    rows, columns = (_interpolation(field, axis, values.shape[axis], side) for axis in (0, 1))
    return np.asarray(rows @ values @ columns.T, np.float64)


def _interpolation(field: ReceptiveField | None, axis: int, count: int, side: int) -> NDArray[np.float64]:
    """The share (side, count) of each of `count` values in each pixel."""
    if field:
        centres = field.start[axis] + (field.size[axis] - 1) / 2 + np.arange(count) * field.step[axis]
    else:
        centres = (np.arange(count) + 0.5) * side / count - 0.5
    return np.stack([np.interp(np.arange(side), centres, value) for value in np.eye(count)], axis=1)


def patches(grid: int, size: int, side: int) -> list[tuple[int, int]]:
    """The top left corners of `grid` x `grid` squares of `size` pixels, spread evenly over side x side, row by row."""
    places = np.linspace(0, side - size, grid).round().astype(int).tolist()
    return [(top, left) for top in places for left in places]


def occluded(
    picture: NDArray[np.uint8], corners: Sequence[tuple[int, int]], size: int, colour: NDArray[np.uint8]
) -> Pictures:
    """Copies of a picture (side, side, channels), each with one of the squares hidden behind `colour`."""
    views = np.repeat(picture[None], len(corners), axis=0)
    for view, (top, left) in zip(views, corners, strict=True):
        view[top : top + size, left : left + size] = colour
    return views


def normalized(values: Map) -> Map:
    """Scaled to 0 to 1, with negative values as 0; all 0 if nothing speaks for the label."""
    positive = np.maximum(values, 0)
    return positive / positive.max() if positive.max() > 0 else positive


def hottest(heat: Map, size: int) -> tuple[int, int]:
    """The top left corner of the square of `size` pixels that has the most of a map (side, side)."""
    sums = np.pad(heat.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    within = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    row, column = np.unravel_index(within.argmax(), within.shape)
    return int(row), int(column)


def over_picture(heat: Map, width: int, height: int, fit: Fit) -> Map:
    """A map (side, side) of what the network sees, placed in the whole picture, 0 outside.

    The picture's shorter side has `side` cells, or fewer if the longer one would have more than MOST_CELLS.
    """
    side = len(heat)
    cells = min(side, MOST_CELLS * min(width, height) / max(width, height))
    columns, rows = (max(1, round(extent / min(width, height) * cells)) for extent in (width, height))
    left, top, right, bottom = seen(width, height, fit)
    x = ((np.arange(columns) + 0.5) / columns - left) / (right - left)
    y = ((np.arange(rows) + 0.5) / rows - top) / (bottom - top)
    inside = ((y >= 0) & (y < 1))[:, None] & ((x >= 0) & (x < 1))
    source = np.ix_(*((places * side).astype(int).clip(0, side - 1) for places in (y, x)))
    return np.where(inside, heat[source], 0.0)
