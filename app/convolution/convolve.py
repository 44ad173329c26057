"""Convolution of arrays of one to three dimensions and of pictures.

Convolution flips the mask along every axis, slides it over the input, multiplies and adds; correlation does not flip.
With the mask w, its centre c and the input x, along each axis

    convolution  y[i] = sum over k of w[k] x[i - (k - c)]        correlation  y[i] = sum over k of w[k] x[i + (k - c)]

with the centre as `windows` has it.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.convolution import plan as planning
from app.convolution import windows
from app.convolution.correlate import correlate
from app.convolution.description import Description, Missing, Weights, scale, sums
from app.convolution.gather import Array, Padded, positions, spread
from app.convolution.plan import MAX_ELEMENTS, MAX_MULTIPLY_ADDS, Box, Phases, Plan
from app.convolution.windows import Axis
from app.deadline import Checkpoint, unbounded
from app.errors import InvalidInput

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "none": lambda values: values,
    "relu": lambda values: np.maximum(values, 0, out=values),
    "sigmoid": lambda values: 1 / (1 + np.exp(-values)),
    "tanh": np.tanh,
}

SLIDES: dict[Missing, int] = {"zero": 1, "propagate": 2, "ignore": 3}
"""How often a mask slides over an input with missing values: over the values, over what is missing, over the rest."""

FFT_RANGE = 1e-4
"""The transform's rounding errors are about 1e-14 of the largest input. If some neighbourhood holds nothing larger
than this share of it, the direct method is used, whose errors are relative to what it sums."""

FFT_EXPONENT = 150
"""Powers of ten, up and down, within which the transform's own sums neither overflow nor vanish."""

CHUNK = 1_000_000
"""Elements looked at in one step."""


@dataclass(frozen=True, eq=False)
class Convolution:
    """One convolution, checked and planned; `tiles` and `rows` compute it.

    `weights` is the mask as it is slid: flipped by a convolution, and normalised. The result is the same whichever way
    the plan takes, within 1e-9 of the largest input times the sum of the mask's magnitudes, in float64.
    """

    description: Description
    values: Array
    weights: Weights
    axes: tuple[Axis, ...]
    plan: Plan
    dtype: np.dtype[Any]
    """The arithmetic: float64 for arrays, float32 for pictures."""

    absent: NDArray[np.bool_] | None = None

    @property
    def method(self) -> planning.Method:
        """`direct` or `fft`."""
        return self.plan.method

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the output."""
        return (*(axis.output for axis in self.axes), *self.values.shape[len(self.axes) :])

    @property
    def missing(self) -> Missing | None:
        """What to do about missing values; None if there are none."""
        return None if self.absent is None else self.description.missing

    def rows(self, checkpoint: Checkpoint = unbounded) -> Array:
        """The whole output; NaN where an output is missing. Raises as `tiles`."""
        output = np.empty(self.shape, self.dtype)
        for box, values in self.tiles(checkpoint):
            output[box] = values
        return output

    def tiles(self, checkpoint: Checkpoint = unbounded) -> Iterator[tuple[Box, Array]]:
        """The output tile by tile, in the order of its elements: (where, its values).

        Raises InvalidInput if an output overflows, and what `checkpoint` raises, which is called for each tile.
        """
        padded = Padded(self.values, self.description.boundary, self.description.fill_value, self.dtype, self.absent)
        cannot_overflow = self._cannot_overflow()
        for box in self.plan.boxes(self.axes):
            checkpoint()
            yield box, self._tile(padded, box, cannot_overflow, checkpoint)

    def _tile(self, padded: Padded, box: Box, cannot_overflow: bool, checkpoint: Checkpoint) -> Array:
        with np.errstate(all="ignore"):  # an overflow is seen in the result
            values = self._slide(padded, self.weights, box, checkpoint)
            if not cannot_overflow and not np.isfinite(values.sum()):  # a sum is finite only if its terms are
                self._reject_overflow(~np.isfinite(values), box)
            if self.missing in ("propagate", "ignore"):
                self._apply_missing(values, padded, box, checkpoint)
            return ACTIVATIONS[self.description.activation](values)

    def _slide(self, padded: Padded, weights: Weights, box: Box, checkpoint: Checkpoint) -> Array:
        if self.plan.way == "windows":
            return _gathered(padded, weights, self.axes, box, checkpoint)
        if self.plan.way == "spread":
            axes = [planning.undilated(axis) for axis in self.axes]
            return _dense(padded, _spread_out(weights, self.axes), axes, box, False, checkpoint)
        return _dense(padded, weights, self.axes, box, self.plan.way == "fft", checkpoint)

    def _apply_missing(self, values: Array, padded: Padded, box: Box, checkpoint: Checkpoint) -> None:
        """Make outputs NaN, or scale them up, where their windows have a missing value."""
        holes = self._slide(padded.missing, (self.weights != 0).astype(np.float64), box, checkpoint) > 0.5
        if self.missing == "propagate":
            values[holes] = np.nan
        elif holes.any():
            present = self._slide(padded.present, self.weights, box, checkpoint)[holes]
            values[holes] *= scale(self.weights, present)
            self._reject_overflow(np.isinf(values), box)  # what is there may have been scaled up too far

    def _cannot_overflow(self) -> bool:
        """Whether no output of a picture can be too large for float32; arrays are looked at tile by tile."""
        most = max(255.0, abs(self.description.fill_value)) * max(1.0, sums(self.weights)[1])
        return bool(self.dtype == np.float32 and most < float(np.finfo(np.float32).max) / 2)

    def _reject_overflow(self, overflown: NDArray[np.bool_], box: Box) -> None:
        """Raises InvalidInput naming the first output that is `overflown`; blames the field with the largest number."""
        if not overflown.any():
            return
        largest = {
            "input": _largest(self.values, self.absent),
            "mask": float(np.abs(self.weights).max()),
            "fill_value": abs(self.description.fill_value),
        }
        first = np.argwhere(overflown)[0].tolist()
        first = [i + part.start for i, part in zip(first, box, strict=False)] + first[len(box) :]
        detail = f"output {first} exceeds what {self.dtype} can hold; expected smaller numbers"
        raise InvalidInput.about(max(largest, key=lambda name: largest[name]), detail)


def planned(
    values: Array,
    mask: Weights,
    description: Description | None = None,
    *,
    absent: NDArray[np.bool_] | None = None,
    arithmetic: np.dtype[Any] | None = None,
    max_elements: int = MAX_ELEMENTS,
    max_multiply_adds: int = MAX_MULTIPLY_ADDS,
) -> Convolution:
    """Check a convolution and choose how to compute it; nothing is computed yet.

    `values` has as many axes as `mask`, or is a picture (H, W[, C]), uint8 or float32, 0 to 255. Where `absent` is true
    a value is missing, and what `values` holds there does not count. `arithmetic` is float64 for arrays of any dtype,
    whose tiles are converted, and float32 for pictures; by default it is float64 if `values` is.
    Raises InvalidInput, and TooLarge if the padded input or the output would have more than `max_elements` elements or
    the work would cost more than `max_multiply_adds`.
    """
    description = description or Description()
    axes = windows.lay_out(
        values.shape[: mask.ndim],
        mask.shape,
        description.operation,
        description.padding,
        description.stride,
        description.dilation,
    )
    weights = description.slid(mask)
    dtype = arithmetic or np.dtype(np.float64 if values.dtype == np.float64 else np.float32)
    absent = absent if absent is not None and absent.any() else None
    if absent is not None:
        description.check_missing(weights)
    channels, taps = math.prod(values.shape[mask.ndim :]), int(np.count_nonzero(weights))
    planning.check_elements(axes, channels, max_elements)
    fft = planning.fft_pays(axes, channels, taps) and _of_one_magnitude(
        values, absent, weights, axes, description.fill_value, picture=dtype == np.float32
    )
    slides = 1 if absent is None else SLIDES[description.missing]
    plan = planning.choose(axes, channels, taps, fft=fft, most=max_multiply_adds, slides=slides)
    return Convolution(description, values, weights, axes, plan, dtype, absent)


def _spread_out(weights: Weights, axes: Sequence[Axis]) -> Weights:
    """The dilated mask: `weights` with dilation - 1 zeros between its elements along each axis."""
    spread_out = np.zeros([axis.effective for axis in axes])
    spread_out[tuple(slice(None, None, axis.dilation) for axis in axes)] = weights
    return spread_out


def _dense(
    padded: Padded, weights: Weights, axes: Sequence[Axis], box: Box, fft: bool, checkpoint: Checkpoint
) -> Array:
    """A tile of outputs, phase by phase."""
    phases = [Phases.of(axis) for axis in axes]
    counts = [part.stop - part.start for part in box]
    each = [min(phase.outputs, count) for phase, count in zip(phases, counts, strict=True)]
    if math.prod(each) == 1:
        return _phase(padded, weights, axes, [part.start for part in box], counts, fft, checkpoint)
    found = np.empty((*counts, *padded.values.shape[len(axes) :]), padded.dtype)
    for phase in product(*map(range, each)):
        outputs = found[tuple(slice(p, None, apart.outputs) for p, apart in zip(phase, phases, strict=True))]
        first = [part.start + p for part, p in zip(box, phase, strict=True)]
        outputs[...] = _phase(padded, weights, axes, first, outputs.shape[: len(axes)], fft, checkpoint)
    return found


def _phase(
    padded: Padded,
    weights: Weights,
    axes: Sequence[Axis],
    first: Sequence[int],
    counts: Sequence[int],
    fft: bool,
    checkpoint: Checkpoint,
) -> Array:
    """One phase of outputs, `counts` of them from `first` on: the sum over the phases of the mask."""
    phases = [Phases.of(axis) for axis in axes]
    starts = [i * axis.stride - axis.before for i, axis in zip(first, axes, strict=True)]
    total: Array | None = None
    for phase in product(*(range(min(p.taps, axis.mask)) for p, axis in zip(phases, axes, strict=True))):
        part = weights[tuple(slice(r, None, p.taps) for r, p in zip(phase, phases, strict=True))]
        if not part.any():
            continue
        seen = [
            spread(start + r * axis.dilation, n + k - 1, p.step)
            for start, r, axis, n, k, p in zip(starts, phase, axes, counts, part.shape, phases, strict=True)
        ]
        found = correlate(padded.tile(seen), part, fft, checkpoint)
        total = found if total is None else np.add(total, found, out=total)
    if total is None:
        return np.zeros((*counts, *padded.values.shape[len(axes) :]), padded.dtype)
    return total


def _gathered(padded: Padded, weights: Weights, axes: Sequence[Axis], box: Box, checkpoint: Checkpoint) -> Array:
    """A tile of outputs, from their windows, mask elements other than 0 only."""
    taps, values = np.argwhere(weights), weights[weights != 0].astype(padded.dtype)
    total = np.zeros(([part.stop - part.start for part in box] + list(padded.values.shape[len(axes) :])), padded.dtype)
    for start in range(0, len(taps), planning.WINDOWS):
        checkpoint()
        some = slice(start, start + planning.WINDOWS)
        places = [positions(axis, part, taps[some, i]) for i, (axis, part) in enumerate(zip(axes, box, strict=True))]
        found = padded.windows(places)
        total += np.tensordot(found, values[some], ([len(axes)], [0]))
    return total


def _of_one_magnitude(
    values: Array,
    absent: NDArray[np.bool_] | None,
    weights: Weights,
    axes: Sequence[Axis],
    fill_value: float,
    *,
    picture: bool,
) -> bool:
    """Whether every neighbourhood of a quarter of the mask holds a value that counts against the largest."""
    if picture:  # 0 to 255, where the transform's error is below a ten-thousandth
        return abs(fill_value) <= 255
    peaks = [max(_largest(values, absent), abs(fill_value)), float(np.abs(weights).sum())]
    if not all(10.0**-FFT_EXPONENT < peak < 10.0**FFT_EXPONENT for peak in peaks):
        return False
    return _least_peak(values, absent, axes) >= FFT_RANGE * peaks[0]


def _least_peak(values: Array, absent: NDArray[np.bool_] | None, axes: Sequence[Axis]) -> float:
    """The least of the greatest magnitudes of neighbourhoods of a quarter of the mask."""
    blocks = [-(-axis.effective // 4) for axis in axes]
    starts = [np.arange(0, max(1, axis.size - block + 1), block) for axis, block in zip(axes, blocks, strict=True)]
    many = max(1, CHUNK // (blocks[0] * math.prod(values.shape[1:])))
    least = math.inf
    for i in range(0, len(starts[0]), many):
        top = starts[0][i]
        bottom = starts[0][i + many] if i + many < len(starts[0]) else len(values)
        peaks = np.maximum.reduceat(_magnitudes(values, absent, slice(top, bottom)), starts[0][i : i + many] - top)
        for axis, where in enumerate(starts[1:], 1):
            peaks = np.maximum.reduceat(peaks, where, axis=axis)
        least = min(least, float(peaks.min()))
    return least


def _largest(values: Array, absent: NDArray[np.bool_] | None) -> float:
    """The greatest magnitude of an input."""
    many = max(1, CHUNK // math.prod(values.shape[1:]))
    return max(float(_magnitudes(values, absent, slice(i, i + many)).max()) for i in range(0, len(values), many))


def _magnitudes(values: Array, absent: NDArray[np.bool_] | None, rows: slice) -> Array:
    magnitudes = np.abs(values[rows], dtype=np.float64)  # which int8 has no room for: abs(-128)
    return magnitudes if absent is None else np.where(absent[rows], 0, magnitudes)
