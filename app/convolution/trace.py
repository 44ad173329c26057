"""How one output of a convolution comes about: its window, each product, and their sum."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.convolution.convolve import ACTIVATIONS, Convolution
from app.convolution.description import scale
from app.convolution.windows import source
from app.errors import InvalidInput


def trace(convolution: Convolution, at: Sequence[int]) -> list[dict[str, object]]:
    """How the output at index `at` comes about; one entry for each channel of a picture in colour.

    `window`, `mask` (as it is slid) and `products` are arrays of the mask's shape, NaN where a value is missing; `sum`
    adds up the products, `scale` is the factor that makes up for ignored values, and `output` is `sum` times `scale`
    after the activation. Raises InvalidInput if there is no such output.
    """
    shape = [axis.output for axis in convolution.axes]
    if len(at) != len(shape) or not all(0 <= i < n for i, n in zip(at, shape, strict=True)):
        raise InvalidInput.about(
            "trace/at", f"at is {list(at)}; expected the index of one of {shape} outputs, counted from 0"
        )
    windows, missing = _windows(convolution, at)
    return [{"at": list(at)} | _summed(convolution, windows[..., i], missing) for i in range(windows.shape[-1])]


def _windows(convolution: Convolution, at: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """What the mask covers, with a last axis of channels, and where a value of it is missing and matters."""
    description, axes = convolution.description, convolution.axes
    places = [
        i * axis.stride - axis.before + np.arange(axis.mask) * axis.dilation for i, axis in zip(at, axes, strict=True)
    ]
    taken = np.ix_(*(source(p, axis.size, description.boundary) for p, axis in zip(places, axes, strict=True)))
    inside = [(p >= 0) & (p < axis.size) for p, axis in zip(places, axes, strict=True)]
    outside = ~np.all(np.meshgrid(*inside, indexing="ij"), axis=0) & (description.boundary == "constant")
    windows = convolution.values[taken].reshape(*outside.shape, -1).astype(np.float64)
    missing = np.zeros_like(outside)
    if convolution.absent is not None:
        missing = ~outside & convolution.absent[taken]
        windows[missing] = 0.0 if description.missing == "zero" else np.nan
        missing &= description.missing != "zero"
    windows[outside] = description.fill_value
    return windows, missing


def _summed(convolution: Convolution, window: NDArray[np.float64], missing: NDArray[np.bool_]) -> dict[str, Any]:
    weights, factor = convolution.weights, 1.0
    with np.errstate(all="ignore"):
        products = window * weights
        total = products[~missing].sum()
        if (missing & (weights != 0)).any():
            if convolution.missing == "ignore":
                factor = float(scale(weights, weights[~missing].sum()))
            else:
                total = np.nan
        (output,) = ACTIVATIONS[convolution.description.activation](np.array([total * factor]))
    return {
        "window": window,
        "mask": weights,
        "products": products,
        "sum": total,
        "scale": factor,
        "output": output,
    }
