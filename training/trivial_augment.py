"""One random change for a picture, as strong as chance has it: TrivialAugment (Müller and Hutter 2021).

Of that paper's changes those are here that another moment, angle or camera could have made. Left out are solarising,
posterising and equalising, which give things other colours: the labels of somebody's own pictures may be told apart by
colour alone.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

Change = Callable[[Image.Image, float], Image.Image]
"""A picture, changed as strongly as a value in [-1, 1] says; 0 changes nothing."""

GREY = (125, 123, 114)
"""What comes into sight beyond an edge: CIFAR-10's mean colour."""


def _affine(picture: Image.Image, a: float, b: float, d: float, e: float) -> Image.Image:
    """Around its middle, the pixel at (x, y) comes from (a x + b y, d x + e y)."""
    middle = (picture.width - 1) / 2, (picture.height - 1) / 2
    c, f = middle[0] - a * middle[0] - b * middle[1], middle[1] - d * middle[0] - e * middle[1]
    numbers = (a, b, c, d, e, f)
    return picture.transform(picture.size, Image.Transform.AFFINE, numbers, Image.Resampling.BILINEAR, fillcolor=GREY)


def sheared_across(picture: Image.Image, value: float) -> Image.Image:
    return _affine(picture, 1, 0.4 * value, 0, 1)


def sheared_down(picture: Image.Image, value: float) -> Image.Image:
    return _affine(picture, 1, 0, 0.4 * value, 1)


def turned(picture: Image.Image, value: float) -> Image.Image:
    """By up to 30 degrees."""
    angle = np.pi / 6 * value
    return _affine(picture, np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle))


def scaled(picture: Image.Image, value: float) -> Image.Image:
    """To 1 / 1.4 or 1.4 times its size."""
    factor = 1.4**value
    return _affine(picture, factor, 0, 0, factor)


def _enhanced(kind: Callable[[Image.Image], Any], most: float) -> Change:
    """By a class of Pillow's ImageEnhance: a factor of 1 - most to 1 + most."""
    return lambda picture, value: kind(picture).enhance(1 + most * value)


CHANGES: tuple[Change, ...] = (
    sheared_across,
    sheared_down,
    turned,
    scaled,
    _enhanced(ImageEnhance.Brightness, 0.7),
    _enhanced(ImageEnhance.Contrast, 0.7),
    _enhanced(ImageEnhance.Color, 0.9),
    _enhanced(ImageEnhance.Sharpness, 0.9),
)


def vary(images: NDArray[np.uint8], share: float, rng: np.random.Generator) -> None:
    """Change each of the pictures (N, side, side, 3) with the probability `share` in [0, 1], in place."""
    for number in np.flatnonzero(rng.random(len(images)) < share):
        change = CHANGES[rng.integers(len(CHANGES))]
        images[number] = np.asarray(change(Image.fromarray(images[number]), rng.uniform(-1, 1)))
