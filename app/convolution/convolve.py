"""Convolution of arrays of one to three dimensions and of pictures; pure functions over arrays.

Convolution flips the mask along every axis, slides it over the input, multiplies and adds; correlation does not flip.
With the mask w, its centre c and the input x, along each axis

    convolution  y[i] = sum over k of w[k] x[i - (k - c)]        correlation  y[i] = sum over k of w[k] x[i + (k - c)]

with the centre as `geometry` has it.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from app.convolution import windows
from app.convolution.correlate import FFT_TAPS, Array, Method, Weights, correlate
from app.convolution.windows import Boundary, Operation, Padding, source
from app.errors import InvalidInput, TooLarge

Missing = Literal["propagate", "ignore", "zero"]
Activation = Literal["none", "relu", "sigmoid", "tanh"]

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "none": lambda values: values,
    "relu": lambda values: np.maximum(values, 0, out=values),
    "sigmoid": lambda values: 1 / (1 + np.exp(-values)),
    "tanh": np.tanh,
}

FFT_WORTH = 4_000_000
"""Multiply-adds from which on the Fourier transform is worth its setting up."""

FFT_RANGE = 1e-4
"""The transform's rounding errors are about 1e-14 of the largest input. Where some neighbourhood holds nothing larger
than this share of that, the direct method is used, whose errors are relative to what it sums."""

FFT_EXPONENT = 150
"""Powers of ten, up and down, within which the transform's own sums neither overflow nor vanish."""

MAX_ELEMENTS = 200_000_000
MAX_MULTIPLY_ADDS = 10_000_000_000

NEGLIGIBLE = 1e-12
"""A mask's sum below this share of its magnitudes' sum is rounding, that is, 0."""

BAND = 512 * 1024
"""Input elements worked on at a time: what stays in the cache."""


class Convolution:
    """One convolution, checked and planned; `rows` computes it, whole or a band at a time.

    `method` is `direct` or `fft`, whichever costs less; the result is the same within 1e-9 of the largest input times
    the sum of the mask's magnitudes, in float64. `weights` is the mask as it is slid: flipped by a convolution, and
    normalised.
    """

    def __init__(
        self,
        values: Array,
        mask: Weights,
        *,
        operation: Operation = "convolution",
        padding: Padding = "same",
        boundary: Boundary = "constant",
        fill_value: float = 0.0,
        stride: int | Sequence[int] = 1,
        dilation: int | Sequence[int] = 1,
        normalize: bool = False,
        absent: NDArray[np.bool_] | None = None,
        missing: Missing = "propagate",
        activation: Activation = "none",
        max_elements: int = MAX_ELEMENTS,
        max_multiply_adds: int = MAX_MULTIPLY_ADDS,
    ) -> None:
        """`values` is float64 with as many axes as `mask`, or a picture (H, W[, C]), uint8 or float32, 0 to 255.

        Where `absent` is true a value is missing, and what `values` holds there does not count: an output whose window
        has one under a weight other than 0 is missing (`propagate`), the present weights are scaled up to the sum of
        them all (`ignore`), or it counts as 0 (`zero`).

        Pictures are computed in float32, arrays in float64. Raises InvalidInput and, before any work, TooLarge where
        it would take more than the given elements, padding included, or multiply-adds.
        """
        self.axes = windows.plan(values.shape[: mask.ndim], mask.shape, operation, padding, stride, dilation)
        self.boundary = boundary
        self.fill_value = fill_value
        self.activation = activation
        self.dtype = np.dtype(np.float64 if values.dtype == np.float64 else np.float32)
        self.weights = mask[(slice(None, None, -1),) * mask.ndim] if operation == "convolution" else mask
        with np.errstate(over="ignore"):
            total, size = float(self.weights.sum()), float(np.abs(self.weights).sum())
        if not math.isfinite(size):
            detail = "the mask's magnitudes add up to more than float64 can hold; expected smaller numbers"
            raise InvalidInput.about("mask", detail)
        negligible = abs(total) <= NEGLIGIBLE * size
        if normalize:
            if negligible:
                raise InvalidInput.about(
                    "normalize", f"the mask's sum is {total:.3g}; expected other than 0 to divide by it"
                )
            self.weights = self.weights / total
            size /= abs(total)
        most = max(255.0, abs(fill_value)) * max(1.0, size)
        self._bounded = self.dtype == np.float32 and most < float(np.finfo(np.float32).max) / 2
        self.missing = missing if absent is not None and absent.any() else None
        if self.missing == "ignore" and negligible:
            raise InvalidInput.about(
                "missing", f"the mask's sum is {total:.3g}; expected other than 0 to scale the weights to it"
            )
        self._absent: Array = np.zeros(0, np.bool_) if absent is None else absent
        self._values = values if self.missing is None else np.where(self._absent, 0.0, values)
        self._channels = values.shape[mask.ndim :]
        self.shape = (*(axis.output for axis in self.axes), *self._channels)
        self.method = self._checked_method(max_elements, max_multiply_adds)

    def _checked_method(self, max_elements: int, max_multiply_adds: int) -> Method:
        needed = max(math.prod(axis.padded for axis in self.axes) * math.prod(self._channels), math.prod(self.shape))
        if needed > max_elements:
            detail = f"the padded input or the output has {needed} elements; expected at most {max_elements}"
            raise TooLarge.about("padding", detail)
        taps = int(np.count_nonzero(self.weights))
        outputs, planes = math.prod(self.shape), self.weights.shape[0] if self.weights.ndim == 3 else 1
        cheaper = taps > FFT_TAPS * planes and outputs * taps > FFT_WORTH
        method: Method = "fft" if cheaper and self._of_one_magnitude() else "direct"
        work = outputs * (FFT_TAPS * planes if method == "fft" else taps)
        if work > max_multiply_adds:
            detail = (
                f"{outputs} outputs under a mask of {taps} elements need {work} multiply-adds; "
                f"expected at most {max_multiply_adds}"
            )
            raise TooLarge.about("mask", detail)
        return method

    def _of_one_magnitude(self) -> bool:
        """Whether every neighbourhood of a quarter of the mask holds a value that counts against the largest."""
        if self.dtype == np.float32:  # pictures, 0 to 255, where the transform's error is below a ten-thousandth
            return abs(self.fill_value) <= 255
        magnitude = np.abs(self._values)
        peaks = [max(magnitude.max(), abs(self.fill_value)), np.abs(self.weights).sum()]
        if not all(10.0**-FFT_EXPONENT < peak < 10.0**FFT_EXPONENT for peak in peaks):
            return False
        for i, axis in enumerate(self.axes):
            block = -(-axis.extent // 4)
            magnitude = np.maximum.reduceat(magnitude, np.arange(0, max(1, axis.size - block + 1), block), axis=i)
        return bool(magnitude.min() >= FFT_RANGE * peaks[0])

    @property
    def band(self) -> int:
        """How many output rows to compute at a time: few enough for the cache, many against what bands share."""
        row = math.prod(axis.padded for axis in self.axes[1:]) * math.prod(self._channels)
        first = self.axes[0]
        return max(BAND // row, 4 * first.extent) // first.stride + 1

    def bands(self) -> Iterator[tuple[slice, Array]]:
        """The output from top to bottom, some rows at a time: (which rows, their values)."""
        for start in range(0, self.shape[0], self.band):
            rows = slice(start, min(start + self.band, self.shape[0]))
            yield rows, self.rows(rows)

    def rows(self, rows: slice = slice(None)) -> Array:
        """Output rows (along the first axis); NaN where an output is missing.

        Raises InvalidInput where an output overflows.
        """
        start, stop, _ = rows.indices(self.shape[0])
        with np.errstate(all="ignore"):  # an overflow is seen in the result
            values = self._slide(self._band(self._values, self.fill_value, start, stop), self.weights)
            if not self._bounded and not np.isfinite(values.sum()):  # a sum is finite only if its terms are
                self._refuse_overflow(~np.isfinite(values), start)
            if self.missing in ("propagate", "ignore"):
                absent = self._band(self._absent, 0.0, start, stop)
                holes = self._slide(absent, (self.weights != 0).astype(np.float64)) > 0.5
                present = self._slide(1 - absent, self.weights)[holes] if self.missing == "ignore" else np.nan
                values[holes] *= self._scale(present)
                if self.missing == "ignore":  # what is present may have been scaled up too far
                    self._refuse_overflow(np.isinf(values), start)
            return ACTIVATIONS[self.activation](values)

    def _slide(self, padded: Array, weights: Weights) -> Array:
        strides, dilation = [axis.stride for axis in self.axes], [axis.dilation for axis in self.axes]
        return correlate(padded, weights, strides, dilation, self.method)

    def _scale(self, present: Any) -> NDArray[np.float64]:
        """What makes weights that sum to `present` sum to what the whole mask does; NaN where they sum to 0."""
        usable = np.abs(present) > NEGLIGIBLE * np.abs(self.weights).sum()
        return np.where(usable, self.weights.sum() / present, np.nan)

    def _refuse_overflow(self, overflown: NDArray[np.bool_], start: int) -> None:
        """Raises InvalidInput naming the first output, of those from row `start` on, that is `overflown`.

        The field to blame is that of the greatest number.
        """
        if overflown.any():
            fields: dict[str, Any] = {"input": self._values, "mask": self.weights, "fill_value": self.fill_value}
            field = max(fields, key=lambda name: np.nanmax(np.abs(fields[name])))
            first = np.argwhere(overflown)[0] + ([start] + [0] * (overflown.ndim - 1))
            detail = f"output {first.tolist()} exceeds what {self.dtype} can hold; expected smaller numbers"
            raise InvalidInput.about(field, detail)

    def trace(self, at: Sequence[int]) -> list[dict[str, object]]:
        """How the output at index `at` comes about; one for each channel of a picture in colour.

        `window`, `mask` (as it is slid) and `products` are arrays of the mask's shape, NaN where a value is missing;
        `sum` adds up the products, `scale` is what ignored values make it be multiplied by, and `output` is the product
        of both after the activation. Raises InvalidInput for an index that is none.
        """
        if len(at) != len(self.axes) or not all(0 <= i < axis.output for i, axis in zip(at, self.axes, strict=True)):
            shape = [axis.output for axis in self.axes]
            raise InvalidInput.about(
                "trace/at", f"at is {list(at)}; expected the index of one of {shape} outputs, from 0"
            )
        steps = [
            i * axis.stride - axis.before + np.arange(axis.mask) * axis.dilation
            for i, axis in zip(at, self.axes, strict=True)
        ]
        taken = np.ix_(*(source(s, axis.size, self.boundary) for s, axis in zip(steps, self.axes, strict=True)))
        inside = [(s >= 0) & (s < axis.size) for s, axis in zip(steps, self.axes, strict=True)]
        outside = ~np.all(np.meshgrid(*inside, indexing="ij"), axis=0) & (self.boundary == "constant")
        missing = ~outside & self._absent[taken] if self.missing in ("propagate", "ignore") else np.zeros_like(outside)
        windows = self._values[taken].reshape(*outside.shape, -1).astype(np.float64)
        windows[outside] = self.fill_value
        windows[missing] = np.nan
        return [{"at": list(at)} | self._summed(windows[..., i], missing) for i in range(windows.shape[-1])]

    def _summed(self, window: NDArray[np.float64], missing: NDArray[np.bool_]) -> dict[str, object]:
        with np.errstate(all="ignore"):
            products = window * self.weights
            matters = missing & (self.weights != 0)
            scale = 1.0
            total = products[~missing].sum()
            if matters.any() and self.missing == "ignore":
                scale = float(self._scale(self.weights[~missing].sum()))
            elif matters.any():
                total = np.nan
            (output,) = ACTIVATIONS[self.activation](np.array([total * scale]))
        return {
            "window": window,
            "mask": self.weights,
            "products": products,
            "sum": total,
            "scale": scale,
            "output": output,
        }

    def _band(self, values: Array, fill: float, start: int, stop: int) -> Array:
        """The padded input that output rows `start` to `stop` see."""
        first, others = self.axes[0], self.axes[1:]
        top = start * first.stride - first.before
        bottom = top + (stop - start - 1) * first.stride + first.extent
        padded = np.empty((bottom - top, *(axis.padded for axis in others), *self._channels), self.dtype)
        centre = tuple(slice(axis.before, axis.before + axis.size) for axis in others)
        inside = slice(max(top, 0), max(min(bottom, first.size), 0))  # empty, where all of it is padding
        padded[(slice(inside.start - top, max(inside.stop - top, 0)), *centre)] = values[inside]
        for beyond in (np.arange(top, min(bottom, 0)), np.arange(max(top, first.size), bottom)):
            if beyond.size:
                here = (slice(beyond[0] - top, beyond[-1] + 1 - top), *centre)
                constant = self.boundary == "constant"
                padded[here] = fill if constant else values[source(beyond, first.size, self.boundary)]
        for i, axis in enumerate(others, start=1):
            for beyond in (np.arange(-axis.before, 0), np.arange(axis.size, axis.size + axis.after)):
                if beyond.size:
                    edge = (slice(None),) * i + (slice(axis.before + beyond[0], axis.before + beyond[-1] + 1),)
                    known = axis.before + source(beyond, axis.size, self.boundary)
                    padded[edge] = fill if self.boundary == "constant" else padded.take(known, axis=i)
        return padded
