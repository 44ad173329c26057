"""Random disturbances, such as cameras, lenses and weather make, so that a network learns to see past them.

After PRIME (Modas et al. 2022), which draws spectral, spatial and colour changes at random from wide families, and
PixMix (Hendrycks et al. 2022), which mixes fractals in. None of it is the code or the parameters of CIFAR-10-C's
corruptions, by which the finished networks are measured.

Each disturbance takes values (N, 32, 32, 3) float32 in [0, 1], a strength in [0, 1] for each picture, (N,), and a
random generator. It returns values of the same shape, which may lie outside [0, 1]. Strength 0 changes nothing.
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]
Disturbance = Callable[[Values, Values, np.random.Generator], Values]

NOISE = 0.12
"""The greatest standard deviation of noise, where white is 1."""

SPECKS = 0.08
"""The greatest share of values that become extreme."""


def disturb(
    images: NDArray[np.uint8], share: float, strength: float, noise: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Copies of pictures (N, 32, 32, 3), of which some are disturbed.

    A picture gets one of DISTURBANCES with the probability `share`, then noise with the probability `noise`. How strong
    they are is drawn evenly from 0 to `strength`.
    """
    values: Values = images.astype(np.float32) / np.float32(255)
    count = len(images)
    kinds = np.where(rng.random(count) < share, rng.integers(len(DISTURBANCES), size=count), -1)
    for kind, disturbance in enumerate(DISTURBANCES):
        _apply(disturbance, values, kinds == kind, strength, rng)
    _apply(noisy, values, rng.random(count) < noise, strength, rng)
    return np.asarray(np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8))


def _apply(
    disturbance: Disturbance, values: Values, chosen: NDArray[np.bool_], strength: float, rng: np.random.Generator
) -> None:
    """Disturb the `chosen` pictures in place."""
    if chosen.any():
        strengths = (strength * rng.random(chosen.sum())).astype(np.float32)
        values[chosen] = np.clip(disturbance(values[chosen], strengths, rng), 0, 1)


def noisy(values: Values, strength: Values, rng: np.random.Generator) -> Values:
    """Normal noise, the same everywhere or larger where it is bright; of some pictures scattered values only."""
    count = len(values)
    scale = _column(NOISE * strength)
    scale = np.where(_column(rng.random(count) < 0.3), scale * 1.5 * np.sqrt(values), scale)
    specks = _column(rng.random(count) < 0.25)
    scale = np.where(specks, 0.9, scale)
    hit = ~specks | (rng.random(values.shape) < _column(SPECKS * strength))
    return np.asarray(values + scale * hit * rng.standard_normal(values.shape, np.float32), np.float32)


def filtered(values: Values, strength: Values, rng: np.random.Generator) -> Values:
    """Convolved with a random kernel: a lopsided blur, or of every third picture 3x3 random weights around a peak."""
    kernels = [_signed(s, rng) if rng.random() < 1 / 3 else _blurring(s, rng) for s in strength]
    return np.stack([cv2.filter2D(image, -1, kernel) for image, kernel in zip(values, kernels, strict=True)])


def _signed(strength: float, rng: np.random.Generator) -> Values:
    kernel = strength * 0.35 * rng.standard_normal((3, 3), np.float32)
    kernel[1, 1] += 1 - kernel.sum()
    return kernel


def _blurring(strength: float, rng: np.random.Generator) -> Values:
    """Positive weights (9, 9) with the sum 1: an elongated bump in a random direction, roughened."""
    rows, columns = np.indices((9, 9)) - 4
    angle = rng.uniform(0, np.pi)
    along = rows * np.sin(angle) + columns * np.cos(angle)
    across = rows * np.cos(angle) - columns * np.sin(angle)
    length = 0.2 + 2.3 * strength
    width = 0.2 + (length - 0.2) * rng.random() * 0.7
    bump = np.exp(-0.5 * ((along / length) ** 2 + (across / width) ** 2) + 0.7 * strength * rng.normal(size=(9, 9)))
    return np.asarray(bump / bump.sum(), np.float32)


def warped(values: Values, strength: Values, rng: np.random.Generator) -> Values:
    """Seen through a bent, turned and scaled pane: pixels move smoothly by up to some four pixels."""
    count = len(values)
    waves = np.sin(np.pi * np.outer(np.arange(1, 5), np.linspace(0, 1, 32))).astype(np.float32)
    falling = 1 / np.hypot(*np.indices((4, 4)) + 1)
    bends = rng.standard_normal((count, 2, 4, 4), np.float32) * falling * (strength * 1.2)[:, None, None, None]
    shifts = np.einsum("ndij,ih,jw->ndhw", bends, waves, waves, optimize=True)
    linear = np.eye(2) + rng.uniform(-0.2, 0.2, (count, 2, 2)) * strength[:, None, None]
    grid = np.indices((32, 32)) - 15.5
    places = (np.einsum("nde,ehw->ndhw", linear, grid) + 15.5 + shifts).astype(np.float32)
    moved = (
        cv2.remap(image, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        for image, (row, column) in zip(values, places, strict=True)
    )
    return np.stack(list(moved))


def toned(values: Values, strength: Values, rng: np.random.Generator) -> Values:
    """Other tone curves for each channel, then contrast around a grey, then less or more colour."""
    count = len(values)
    waves = rng.standard_normal((3, count, 1, 1, 3)) * 0.12 * _column(strength)
    found = values + sum(wave * np.sin((k + 1) * np.pi * values) for k, wave in enumerate(waves))
    contrast = np.exp(rng.uniform(-2.2, 0.6, count) * strength)
    middle = values.mean(axis=(1, 2, 3)) + rng.uniform(-0.4, 0.4, count) * strength
    found = _column(middle) + _column(contrast) * (found - _column(values.mean(axis=(1, 2, 3))))
    grey = found.mean(axis=3, keepdims=True)
    return np.asarray(grey + _column(np.exp(rng.uniform(-1.5, 0.7, count) * strength)) * (found - grey), np.float32)


def veiled(values: Values, strength: Values, rng: np.random.Generator) -> Values:
    """Behind a veil of random texture, from smooth to grained, in one near-grey colour."""
    count = len(values)
    texture = np.stack([_texture(rng) for _ in range(count)])[..., None]
    sharpness, threshold = np.exp(rng.uniform(-0.5, 2, count)), rng.uniform(-0.5, 1.5, count)
    cover = _column(0.9 * strength) / (1 + np.exp(-_column(sharpness) * (texture - _column(threshold))))
    colour = np.clip(rng.uniform(0, 1.4, (count, 1)) + rng.normal(0, 0.1, (count, 3)), 0, 1)[:, None, None]
    return np.asarray(values + cover * (colour - values), np.float32)


def _texture(rng: np.random.Generator) -> Values:
    """Noise (32, 32) of deviation 1, the sum of octaves; its grain is stretched in rows or columns."""
    falling, total = rng.uniform(0.35, 1.1), np.zeros((32, 32), np.float32)
    stretch = rng.permutation(np.array((1, rng.integers(1, 4))))
    for octave in range(5):
        grid = rng.standard_normal(np.maximum(2, (2 << octave) // stretch), np.float32)
        total += falling**octave * cv2.resize(grid, (32, 32), interpolation=cv2.INTER_CUBIC)
    return np.asarray(total / total.std())


def resampled(values: Values, strength: Values, rng: np.random.Generator) -> Values:
    """Shrunk to as little as 14 pixels and enlarged again, by areas, linearly or cubically."""
    ways = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)
    sizes = np.rint(32 - 18 * strength).astype(int)
    choices = rng.integers(3, size=(2, len(values)))
    found = [
        cv2.resize(cv2.resize(image, (size, size), interpolation=ways[down]), (32, 32), interpolation=ways[up])
        for image, size, down, up in zip(values, sizes, *choices, strict=True)
    ]
    return np.stack(found)


def _column(numbers: NDArray[Any]) -> NDArray[Any]:
    """One number for each picture, shaped to be multiplied with values."""
    return numbers[:, None, None, None]


DISTURBANCES: tuple[Disturbance, ...] = (filtered, warped, toned, veiled, resampled)
