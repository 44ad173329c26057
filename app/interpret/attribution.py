"""Why a network says a label: class-activation and occlusion maps; pure functions over arrays.

A map is (32, 32), as large as what the network sees, from 0, which does not speak for the label, to 1, which speaks for
it most. None needs a gradient.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.imaging import seen
from app.inference.metadata import ReceptiveField

SIDE = 32
NEUTRAL = np.array([125, 123, 114], np.uint8)
"""The training pictures' mean colour: the network sees next to nothing there."""

MOST_CELLS = 512
"""Rows or columns of a heat map over a whole picture."""

Map = NDArray[np.float64]
Pictures = NDArray[np.uint8]


def class_activation(
    features: NDArray[np.float32], weights: NDArray[np.float32], pooling: Literal["max", "average"]
) -> Map:
    """What each place of (h, w, c) features adds to a score that is `weights` (c,) times their pooled values.

    Exact: the places' shares add up to the score but for its bias. Under a mean every value counts (Zhou et al. 2016);
    under a maximum only the largest of its channel does, or each of several equal ones in part.
    """
    if pooling == "average":
        return np.asarray(features @ weights / (features.shape[0] * features.shape[1]), np.float64)
    largest = features.max(axis=(0, 1))
    counts = (features == largest).astype(np.float64)
    return np.asarray(counts / counts.sum(axis=(0, 1)) @ (largest * weights).astype(np.float64))


def masks(
    features: NDArray[np.float32], field: ReceptiveField, most: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For Score-CAM: the at most `most` most active channels of (h, w, c) features, and each as a mask (n, 32, 32)."""
    order = np.argsort(-np.abs(features).mean(axis=(0, 1)), kind="stable")[:most]
    order = order[np.ptp(features, axis=(0, 1))[order] > 0]
    shares = [(channel - channel.min()) / np.ptp(channel) for channel in features.transpose(2, 0, 1)[order]]
    return order, np.array([enlarged(share, field) for share in shares], np.float32).reshape(-1, SIDE, SIDE)


def masked(picture: NDArray[np.uint8], masks: NDArray[np.float32]) -> Pictures:
    """A picture (32, 32, 3) behind each of (n, 32, 32) masks: where the mask is 0, the neutral colour."""
    shown = NEUTRAL + masks[..., None] * (picture.astype(np.float32) - NEUTRAL)
    return np.asarray(shown.round(), np.uint8)


def score_activation(features: NDArray[np.float32], scores: NDArray[np.float32]) -> Map:
    """Score-CAM (Wang et al. 2020) of (h, w, n) features: each weighs as its score (n,) does in their softmax."""
    weights = np.exp(scores - scores.max(), dtype=np.float64)
    return np.asarray(np.maximum(features @ (weights / weights.sum()), 0))


def enlarged(values: NDArray[np.floating], field: ReceptiveField) -> Map:
    """A layer's map (h, w) as (32, 32): each value in the middle of what it sees, linear in between."""
    rows, columns = (_interpolation(field, axis, values.shape[axis]) for axis in (0, 1))
    return np.asarray(rows @ values @ columns.T, np.float64)


def _interpolation(field: ReceptiveField, axis: int, count: int) -> NDArray[np.float64]:
    """The share (32, count) of each of `count` values in each pixel."""
    centres = field.start[axis] + (field.size[axis] - 1) / 2 + np.arange(count) * field.step[axis]
    return np.stack([np.interp(np.arange(SIDE), centres, value) for value in np.eye(count)], axis=1)


def patches(grid: int, size: int) -> list[tuple[int, int]]:
    """The top left corners of `grid` x `grid` squares of `size` pixels, evenly over 32 x 32, row by row."""
    places = np.linspace(0, SIDE - size, grid).round().astype(int).tolist()
    return [(top, left) for top in places for left in places]


def occluded(picture: NDArray[np.uint8], corners: Sequence[tuple[int, int]], size: int) -> Pictures:
    """A picture (32, 32, 3) with each of the squares in turn hidden behind the neutral colour."""
    views = np.repeat(picture[None], len(corners), axis=0)
    for view, (top, left) in zip(views, corners, strict=True):
        view[top : top + size, left : left + size] = NEUTRAL
    return views


def occlusion(drops: NDArray[np.float64], corners: Sequence[tuple[int, int]], size: int) -> Map:
    """Each pixel's mean of the drops in probability that hiding the squares over it causes (Zeiler and Fergus 2014)."""
    total, count = np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE))
    for drop, (top, left) in zip(drops, corners, strict=True):
        total[top : top + size, left : left + size] += drop
        count[top : top + size, left : left + size] += 1
    return total / np.maximum(count, 1)


def normalized(values: Map) -> Map:
    """0 for what does not speak for the label, 1 for what speaks for it most; all 0 where nothing does."""
    positive = np.maximum(values, 0)
    return positive / positive.max() if positive.max() > 0 else positive


def over_picture(heat: Map, width: int, height: int) -> Map:
    """A map (32, 32) of what the network sees, set into the whole picture: 32 cells along its shorter side, 0 outside.

    Fewer for a picture so long that its longer side would have more than MOST_CELLS.
    """
    cells = min(SIDE, MOST_CELLS * min(width, height) / max(width, height))
    columns, rows = (max(1, round(extent / min(width, height) * cells)) for extent in (width, height))
    left, top, right, bottom = seen(width, height)
    x = ((np.arange(columns) + 0.5) / columns - left) / (right - left)
    y = ((np.arange(rows) + 0.5) / rows - top) / (bottom - top)
    inside = ((y >= 0) & (y < 1))[:, None] & ((x >= 0) & (x < 1))
    source = np.ix_(*((places * SIDE).astype(int).clip(0, SIDE - 1) for places in (y, x)))
    return np.where(inside, heat[source], 0.0)
