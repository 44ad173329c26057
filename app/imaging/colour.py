"""Any mode of picture to RGB: what can be averaged before the reduction, and 8-bit RGB on white after it.

Colour profiles are ignored: samples are taken as sRGB, as CIFAR-10's are.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

BAND = 4_000_000
"""Pixels that are converted at a time."""


def averageable(picture: Image.Image) -> Image.Image:
    """The picture in a mode that can be averaged: no palette, no bits, no 16-bit samples, alpha premultiplied."""
    if picture.mode.startswith("I;16"):  # Pillow's own conversions clip at 255
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode == "LA":
        return picture.convert("La")
    if picture.has_transparency_data:
        return (picture if picture.mode == "RGBA" else picture.convert("RGBA")).convert("RGBa")
    if picture.mode in ("1", "P"):
        return picture.convert("RGB")
    return picture


def rgb(picture: Image.Image) -> NDArray[np.uint8]:
    """A picture that is `averageable` as (H, W, 3) uint8, on white."""
    match picture.mode:
        case "RGBa":
            return _on_white(picture)
        case "La":
            return np.repeat(_on_white(picture), 3, axis=2)
        case "I" | "F":
            return stretched(np.asarray(picture))
        case "LAB":
            converted = ImageCms.applyTransform(picture, _lab_to_rgb())
            return np.asarray(converted)
    return np.asarray(picture.convert("RGB"))


def full_rgb(picture: Image.Image) -> NDArray[np.uint8]:
    """Any picture as (H, W, 3) uint8, on white; in bands of rows, because every conversion makes a copy."""
    if picture.mode in ("I", "F") or picture.width * picture.height <= BAND:  # of which all values are needed at once
        return rgb(averageable(picture))
    pixels = np.empty((picture.height, picture.width, 3), np.uint8)
    rows = max(1, BAND // picture.width)
    for top in range(0, picture.height, rows):
        band = picture.crop((0, top, picture.width, min(picture.height, top + rows)))
        pixels[top : top + rows] = rgb(averageable(band))
    return pixels


def _on_white(picture: Image.Image) -> NDArray[np.uint8]:
    samples = np.asarray(picture)
    alpha = samples[..., -1:]
    # The filter's overshoot may leave more colour than alpha, which would wrap around.
    shown: NDArray[np.uint8] = np.minimum(samples[..., :-1], alpha) + (255 - alpha)
    return shown


@cache
def _lab_to_rgb() -> ImageCms.ImageCmsTransform:
    """Kept, because building it takes a hundred times as long as converting a small picture."""
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")


def stretched(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Floats and integers of many bits, (H, W) grey or (H, W, 3), as (H, W, 3). Neither has an agreed white.

    Values from 0 to 1 (give or take the overshoot of a filter) are black to white; any others are stretched from the
    least to the greatest. What is not finite is black.
    """
    finite = np.isfinite(values)
    known = values[finite]
    within = known.size == 0 or (known.min() >= -0.25 and known.max() <= 1.25)
    low, high = (0.0, 1.0) if within else (known.min(), known.max())
    del known
    levels = np.empty(values.shape, np.uint8)
    rows = max(1, BAND // values[0].size)
    for top in range(0, len(values), rows):
        band = slice(top, top + rows)
        shown = np.where(finite[band], values[band], low)
        levels[band] = np.interp(shown, (low, high), (0, 255)).round()
    return levels if levels.ndim == 3 else np.repeat(levels[..., None], 3, axis=2)
