"""Arrays to pictures in PNG; pure functions over arrays."""

import io
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Display = Literal["clamp", "absolute", "rescale"]
Bands = Iterator[tuple[slice, NDArray[Any]]]

COMPRESSION = 1  # zlib's fastest; its default takes four times as long for files a tenth smaller


def png(picture: NDArray[np.uint8]) -> bytes:
    """(H, W) grey, (H, W, 2) grey with alpha, (H, W, 3) RGB or (H, W, 4) RGBA uint8 as PNG."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", compress_level=COMPRESSION)
    return file.getvalue()


def display(shape: tuple[int, ...], bands: Callable[[], Bands], mapping: Display) -> tuple[NDArray[np.uint8], int]:
    """Any numbers as a uint8 picture, and how many of its pixels did not fit into 0 to 255.

    `shape` is (H, W) or (H, W, 3); `bands` gives the values from top to bottom, anew at each call. `clamp` rounds and
    cuts at 0 and 255, `absolute` does so with the magnitudes, `rescale` stretches the least to 0 and the greatest to
    255 (one value everywhere becomes 0). NaN, a missing value, turns into a transparent pixel, for which the picture
    gets a last channel of alpha; only arrays (H, W) have any.
    """
    low, high = _extremes(bands()) if mapping == "rescale" else (0.0, 255.0)
    picture = np.empty(shape, np.uint8)
    alpha: NDArray[np.uint8] | None = None
    clipped = 0
    for rows, values in bands():
        missing = np.isnan(values) if values.dtype == np.float64 else None  # a picture's values are float32, all there
        if missing is not None and missing.any():
            alpha = np.full(shape, 255, np.uint8) if alpha is None else alpha
            alpha[rows][missing] = 0
            values = np.where(missing, low, values)
        if mapping == "absolute":
            values = np.abs(values)
        elif mapping == "rescale":
            span = high / 2 - low / 2  # halves, because the whole range may overflow
            values = (values / 2 - low / 2) / span * 255 if span > 0 else np.zeros_like(values)
        values = np.rint(values)
        if values.min() < 0 or values.max() > 255:
            outside = (values < 0) | (values > 255)
            clipped += int(np.count_nonzero(outside.any(axis=-1) if outside.ndim == 3 else outside))
            np.clip(values, 0, 255, out=values)
        picture[rows] = values
    return (picture if alpha is None else np.stack([picture, alpha], axis=-1)), clipped


def _extremes(bands: Bands) -> tuple[float, float]:
    """The least and the greatest value; (0, 0) where all are missing."""
    found = [(float(np.nanmin(v)), float(np.nanmax(v))) for _, v in bands if not np.isnan(v).all()]
    return (min(low for low, _ in found), max(high for _, high in found)) if found else (0.0, 0.0)
