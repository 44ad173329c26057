"""Why a network says a label: the arithmetic of class-activation and occlusion maps, without gradients.

A map is (side, side), as large as what the network sees. Its values go from 0, for places that do not speak for the
label, to 1, for the place that speaks for it most.
"""

from collections.abc import Sequence
from typing import Literal

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


def class_activation(
    features: NDArray[np.float32], weights: NDArray[np.float32], pooling: Literal["max", "average"]
) -> Map:
    """What each place of (h, w, c) features adds to a score: the sum of `weights` (c,) times the pooled channels.

    Exact: the shares of all places add up to the score without its bias. Under average pooling every value counts (Zhou
    et al. 2016); under max pooling only the largest value of a channel does, and several equal ones share its part.
    """
    if pooling == "average":
        return np.asarray(features @ weights / (features.shape[0] * features.shape[1]), np.float64)
    largest = features.max(axis=(0, 1))
    counts = (features == largest).astype(np.float64)
    return np.asarray(counts / counts.sum(axis=(0, 1)) @ (largest * weights).astype(np.float64))


def masks(
    features: NDArray[np.float32], field: ReceptiveField | None, most: int, side: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For Score-CAM: the `most` most active channels of (h, w, c) features, and a mask of each.

    Masks are (n, side, side), 0 to 1.
    """
    order = np.argsort(-np.abs(features).mean(axis=(0, 1)), kind="stable")[:most]
    order = order[np.ptp(features, axis=(0, 1))[order] > 0]
    shares = [(channel - channel.min()) / np.ptp(channel) for channel in features.transpose(2, 0, 1)[order]]
    return order, np.array([enlarged(share, field, side) for share in shares], np.float32).reshape(-1, side, side)


def masked(picture: NDArray[np.uint8], masks: NDArray[np.float32], colour: NDArray[np.uint8]) -> Pictures:
    """A picture (side, side, channels) seen through each of (n, side, side) masks: `colour` where the mask is 0."""
    shown = colour + masks[..., None] * (picture.astype(np.float32) - colour)
    return np.asarray(shown.round(), np.uint8)


def score_activation(features: NDArray[np.float32], scores: NDArray[np.float32]) -> Map:
    """Score-CAM (Wang et al. 2020) of (h, w, n) features: the weights are the softmax of their scores (n,)."""
    weights = np.exp(scores - scores.max(), dtype=np.float64)
    return np.asarray(np.maximum(features @ (weights / weights.sum()), 0))


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


def occlusion(drops: NDArray[np.float64], corners: Sequence[tuple[int, int]], size: int, side: int) -> Map:
    """Each pixel's mean of the drops in probability that hiding the squares over it causes (Zeiler and Fergus 2014)."""
    total, count = np.zeros((side, side)), np.zeros((side, side))
    for drop, (top, left) in zip(drops, corners, strict=True):
        total[top : top + size, left : left + size] += drop
        count[top : top + size, left : left + size] += 1
    return total / np.maximum(count, 1)


def normalized(values: Map) -> Map:
    """Scaled to 0 to 1, with negative values as 0; all 0 if nothing speaks for the label."""
    positive = np.maximum(values, 0)
    return positive / positive.max() if positive.max() > 0 else positive


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
