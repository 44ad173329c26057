"""Sliding weights over an array, without a flip and without padding, in the two ways there are."""

import math
from collections.abc import Sequence
from itertools import product
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Weights = NDArray[np.float64]
Method = Literal["direct", "fft"]

DIRECT_TAPS = 49
"""Up to so many mask elements OpenCV's filter2D multiplies and adds; beyond, it takes the Fourier transform."""

FFT_TAPS = 160
"""What one output costs through the Fourier transform, in multiply-adds of the direct method; measured."""

PHASE_COST = 8000
"""Elements of a dilated mask, mostly zeros, that take as long to go through as one pass over a part of the input."""


def correlate(
    padded: Array, weights: Weights, strides: Sequence[int], dilation: Sequence[int], method: Method
) -> Array:
    """Slide `weights`, of one to three dimensions, over the first axes of `padded`, a stride and a dilation an axis.

    A channel axis after them stays as it is. Computes and answers in the dtype of `padded`, float32 or float64.
    """
    if max(dilation) == 1:
        return _strided(padded, weights, strides, method)
    extents = [(k - 1) * d + 1 for k, d in zip(weights.shape, dilation, strict=True)]
    shape = [(n - extent) // s + 1 for n, extent, s in zip(padded.shape, extents, strides, strict=False)]
    # Outputs so many apart see the same every d-th element of the input, and those between them see none of these.
    apart = [d // math.gcd(s, d) for s, d in zip(strides, dilation, strict=True)]
    phases = [min(a, n) for a, n in zip(apart, shape, strict=True)]
    if PHASE_COST * math.prod(phases) > math.prod(extents):
        return _strided(padded, _written_out(weights, dilation), strides, method)
    found: Array = np.empty((*shape, *padded.shape[weights.ndim :]), padded.dtype)
    steps = [s // math.gcd(s, d) for s, d in zip(strides, dilation, strict=True)]
    for phase in product(*map(range, phases)):
        outputs = found[tuple(slice(p, None, a) for p, a in zip(phase, apart, strict=True))]
        counts = [(n - 1) * step + k for n, step, k in zip(outputs.shape, steps, weights.shape, strict=False)]
        firsts = [p * s for p, s in zip(phase, strides, strict=True)]
        seen = [slice(f, f + (n - 1) * d + 1, d) for f, n, d in zip(firsts, counts, dilation, strict=True)]
        outputs[...] = _strided(np.ascontiguousarray(padded[tuple(seen)]), weights, steps, method)
    return found


def _strided(padded: Array, weights: Weights, strides: Sequence[int], method: Method) -> Array:
    """As `correlate` without a dilation. A stride s is s sums without: every s-th element meets every s-th weight."""
    if max(strides) == 1:
        return _dense(padded, weights, method)
    sizes = list(zip(padded.shape, weights.shape, strides, strict=False))
    shape = [(n - k) // s + 1 for n, k, s in sizes]
    total: Array = np.zeros((*shape, *padded.shape[weights.ndim :]), padded.dtype)
    phases = set(map(tuple, (np.argwhere(weights) % strides).tolist()))  # any other meets zeros only
    for phase in sorted(phases):
        here = tuple(slice(p, None, s) for p, s in zip(phase, strides, strict=True))
        part = weights[here]
        kept = tuple(slice(n + k - 1) for n, k in zip(shape, part.shape, strict=True))
        total += _dense(np.ascontiguousarray(padded[here][kept]), part, method)
    return total


def _written_out(weights: Weights, dilation: Sequence[int]) -> Weights:
    """`weights` with dilation - 1 zeros between its elements along each axis."""
    spread = np.zeros([(n - 1) * d + 1 for n, d in zip(weights.shape, dilation, strict=True)])
    spread[tuple(slice(None, None, d) for d in dilation)] = weights
    return spread


def _dense(padded: Array, weights: Weights, method: Method) -> Array:
    """As `correlate` with strides of 1. OpenCV knows planes only, so what is none is laid out as one."""
    if weights.ndim == 1:
        (line,) = _plane(padded[None], weights[None], method)
        return np.asarray(line)
    if weights.ndim == 2:
        return _plane(padded, weights, method)
    depth, height, width = padded.shape
    slabs, rows = depth - len(weights) + 1, height - weights.shape[1] + 1
    stacked = padded.reshape(depth * height, width)  # slab under slab; rows that span two of them are dropped
    wanted = np.arange(slabs)[:, None] * height + np.arange(rows)
    total: Array = np.zeros((slabs, rows, width - weights.shape[2] + 1))
    for i in np.flatnonzero(weights.any(axis=(1, 2))):
        total += _plane(stacked[i * height : (i + slabs) * height], weights[i], method)[wanted]
    return total


def _plane(padded: Array, weights: Weights, method: Method) -> Array:
    """Correlate (H, W) or (H, W, C) with (h, w) weights: (H - h + 1, W - w + 1[, C])."""
    height, width = padded.shape[0] - weights.shape[0] + 1, padded.shape[1] - weights.shape[1] + 1
    if method == "fft" or weights.size <= DIRECT_TAPS:
        return _filter(padded, weights)[:height, :width]
    rows = min(weights.shape[0], max(7, DIRECT_TAPS // weights.shape[1]))
    columns = DIRECT_TAPS // rows
    tops, lefts = np.arange(0, weights.shape[0], rows), np.arange(0, weights.shape[1], columns)
    held = np.logical_or.reduceat(np.logical_or.reduceat(weights != 0, tops, axis=0), lefts, axis=1)
    total: Array | None = None
    for top, left in np.argwhere(held) * (rows, columns):
        block = weights[top : top + rows, left : left + columns]
        part = padded[top : top + height + block.shape[0] - 1, left : left + width + block.shape[1] - 1]
        found = _filter(part, block)[:height, :width]
        total = found if total is None else np.add(total, found, out=total)
    return np.zeros((height, width, *padded.shape[2:]), padded.dtype) if total is None else total


def _filter(values: Array, weights: Weights) -> Array:
    """OpenCV's filter, each output where its window begins; those whose window leaves `values` are of no use."""
    found = cv2.filter2D(values, -1, weights, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    return np.asarray(found).reshape(values.shape)
