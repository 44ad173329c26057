"""Pictures of nothing, far from anything that a network of CIFAR-10 knows; made here, from a seed.

No network, score or threshold was chosen on them.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.uint8]
Kind = Callable[[int, np.random.Generator], NDArray[np.floating]]
"""So many pictures (N, 32, 32, 3), about 0 with a deviation of about 1."""


def noise(count: int, rng: np.random.Generator) -> NDArray[np.floating]:
    """Every value drawn by itself, from a normal distribution."""
    return rng.standard_normal((count, 32, 32, 3))


def clouds(count: int, rng: np.random.Generator) -> NDArray[np.floating]:
    """Noise, blurred by 1 to 6 pixels."""
    widths = rng.uniform(1, 6, count)
    return _even(
        [cv2.GaussianBlur(image, (0, 0), width) for image, width in zip(noise(count, rng), widths, strict=True)]
    )


def stripes(count: int, rng: np.random.Generator) -> NDArray[np.floating]:
    """The product of two waves of 3 to 16 pixels in random directions, in a random colour."""
    turns, lengths, phases = (
        rng.uniform(0, np.pi, (2, count)),
        rng.uniform(3, 16, (2, count)),
        rng.uniform(0, 7, (2, count)),
    )
    rows, columns = np.indices((32, 32))
    along = np.sin(turns)[..., None, None] * rows + np.cos(turns)[..., None, None] * columns
    waves = np.sin(2 * np.pi * along / lengths[..., None, None] + phases[..., None, None]).prod(axis=0)
    return _even(waves[..., None] * rng.standard_normal((count, 1, 1, 3)))


def rectangles(count: int, rng: np.random.Generator) -> NDArray[np.floating]:
    """Twenty rectangles of any size and colour, one over the other."""
    images = np.zeros((count, 32, 32, 3))
    for image in images:
        for top, left, height, width in rng.integers((0, 0, 2, 2), (30, 30, 20, 20), (20, 4)):
            image[top : top + height, left : left + width] = rng.standard_normal(3)
    return images


def fractals(count: int, rng: np.random.Generator) -> NDArray[np.floating]:
    """Where a point is sent again and again by four random contractions, in a colour for each (Barnsley 1988)."""
    turns, scales, shifts = (
        rng.uniform(0, 7, (count, 4)),
        rng.uniform(0.4, 0.75, (count, 4)),
        rng.uniform(-1, 1, (count, 4)),
    )
    aims = rng.uniform(0, 7, (count, 4))
    colours = rng.standard_normal((count, 4, 3))
    points, images = np.zeros(count, complex), np.zeros((count, 32, 32, 3))
    each = np.arange(count)
    for _ in range(3000):
        chosen = rng.integers(4, size=count)
        points = points * scales[each, chosen] * np.exp(1j * turns[each, chosen])
        points += shifts[each, chosen] * np.exp(1j * aims[each, chosen])
        places = np.stack([points.real, points.imag]) * 6 + 16
        row, column = np.clip(places, 0, 31).astype(int)
        images[each, row, column] = colours[each, chosen]
    return images


KINDS: dict[str, Kind] = {
    "noise": noise,
    "clouds": clouds,
    "stripes": stripes,
    "rectangles": rectangles,
    "fractals": fractals,
}


def draw(kind: str, count: int, seed: int = 0) -> Pictures:
    """So many pictures (N, 32, 32, 3) of one of KINDS, around a random grey and of a random contrast."""
    rng = np.random.default_rng(seed)
    values = KINDS[kind](count, rng)
    grey, contrast = rng.uniform(60, 195, (count, 1, 1, 1)), rng.uniform(20, 80, (count, 1, 1, 1))
    return np.asarray(np.clip(grey + contrast * values, 0, 255).astype(np.uint8))


def _even(images: NDArray[np.floating] | list[NDArray[np.floating]]) -> NDArray[np.floating]:
    """Every picture with the mean 0 and the deviation 1."""
    values = np.asarray(images)
    values = values - values.mean(axis=(1, 2, 3), keepdims=True)
    return np.asarray(values / values.std(axis=(1, 2, 3), keepdims=True).clip(min=1e-9))
