"""Dense correlation: sliding weights over an array without a flip, padding, stride or dilation."""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from app.convolution.plan import DIRECT_TAPS
from app.deadline import Checkpoint

Array = NDArray[Any]
Weights = NDArray[np.float64]

NARROW = 32
"""Planes that are narrower, and higher than wide, are turned: OpenCV's filter works row by row."""


def correlate(padded: Array, weights: Weights, fft: bool, checkpoint: Checkpoint) -> Array:
    """Slide `weights`, of one to three dimensions, over the first axes of `padded`; a last axis of channels stays.

    Computes and answers in the dtype of `padded`, float32 or float64: n - k + 1 outputs along an axis of n elements
    under k weights. Raises what `checkpoint` raises.
    """
    if weights.ndim == 1:
        (line,) = _plane(padded[None], weights[None], fft, checkpoint)
        return np.asarray(line)
    if weights.ndim == 2:
        return _plane(padded, weights, fft, checkpoint)
    return _volume(padded, weights, fft, checkpoint)


def _volume(padded: Array, weights: Weights, fft: bool, checkpoint: Checkpoint) -> Array:
    """Correlate (D, H, W) with (d, h, w) weights plane by plane.

    OpenCV filters planes only, so the slabs lie one under another; rows whose windows span two slabs are dropped.
    """
    depth, height, width = padded.shape
    slabs, rows = depth - len(weights) + 1, height - weights.shape[1] + 1
    stacked = padded.reshape(depth * height, width)
    wanted = np.arange(slabs)[:, None] * height + np.arange(rows)
    total: Array = np.zeros((slabs, rows, width - weights.shape[2] + 1), padded.dtype)
    for i in np.flatnonzero(weights.any(axis=(1, 2))):
        total += _plane(stacked[i * height : (i + slabs) * height], weights[i], fft, checkpoint)[wanted]
    return total


def _plane(padded: Array, weights: Weights, fft: bool, checkpoint: Checkpoint) -> Array:
    """Correlate (H, W) or (H, W, C) with (h, w) weights: (H - h + 1, W - w + 1[, C])."""
    if padded.shape[1] < min(NARROW, padded.shape[0]):
        turned = _plane(np.ascontiguousarray(padded.swapaxes(0, 1)), weights.T, fft, checkpoint)
        return turned.swapaxes(0, 1)
    height, width = padded.shape[0] - weights.shape[0] + 1, padded.shape[1] - weights.shape[1] + 1
    if fft or weights.size <= DIRECT_TAPS:
        checkpoint()
        return _filter(padded, weights)[:height, :width]
    total: Array | None = None
    for top, left, block in _blocks(weights):
        checkpoint()
        part = padded[top : top + height + block.shape[0] - 1, left : left + width + block.shape[1] - 1]
        found = _filter(part, block)[:height, :width]
        total = found if total is None else np.add(total, found, out=total)
    return np.zeros((height, width, *padded.shape[2:]), padded.dtype) if total is None else total


def _blocks(weights: Weights) -> Iterator[tuple[int, int, Weights]]:
    """Blocks of at most DIRECT_TAPS weights, with their top left corners; blocks of zeros are left out."""
    rows = min(weights.shape[0], max(7, DIRECT_TAPS // weights.shape[1]))
    columns = DIRECT_TAPS // rows
    tops, lefts = np.arange(0, weights.shape[0], rows), np.arange(0, weights.shape[1], columns)
    held = np.logical_or.reduceat(np.logical_or.reduceat(weights != 0, tops, axis=0), lefts, axis=1)
    for top, left in np.argwhere(held) * (rows, columns):
        yield int(top), int(left), weights[top : top + rows, left : left + columns]


def _filter(values: Array, weights: Weights) -> Array:
    """OpenCV's filter, each output where its window begins; windows that leave `values` give outputs of no use."""
    weights = np.ascontiguousarray(weights)
    found = cv2.filter2D(values, -1, weights, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    return np.asarray(found).reshape(values.shape)
