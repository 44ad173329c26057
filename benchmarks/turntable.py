"""Ten kinds of spotted bodies on a turntable, drawn: a stand-in for photographs of things from all sides.

Such sets are common (fruit, parts, products), and have a trap: each view is nearly the same as the next.
"""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE, RADIUS = 100, 44
"""Pixels of a view, and of half a body's width."""

VIEWS = 205

KINDS = (
    # hue of 180, saturation of 255, size of its spots in pixels (0: none), height as a share of its width
    (5, 200, 0, 0.9),
    (8, 220, 8, 1.0),
    (12, 180, 0, 0.8),
    (20, 190, 12, 0.95),
    (28, 160, 6, 0.9),
    (40, 170, 0, 1.0),
    (55, 150, 10, 0.8),
    (5, 120, 8, 0.95),
    (28, 210, 0, 0.9),
    (12, 90, 12, 1.0),
)

Values = NDArray[np.float32]


def write(place: Path) -> None:
    """VIEWS pictures of each kind, in a new folder `place` with a folder for each."""
    for number, (hue, saturation, spots, height) in enumerate(KINDS):
        rng = np.random.default_rng(number)
        skin = _skin(rng, hue, saturation, spots)
        folder = place / f"kind-{number}"
        folder.mkdir(parents=True)
        for turn in range(VIEWS):
            angle = 2 * np.pi * turn / VIEWS
            Image.fromarray(_view(skin, angle, 0.25 + 0.1 * np.sin(angle), height, rng)).save(
                folder / f"{turn}.jpg", quality=92
            )


def _skin(rng: np.random.Generator, hue: int, saturation: int, spots: int) -> NDArray[np.uint8]:
    """What is wrapped around a body, (128, 256, 3) RGB; its left and right edges meet."""
    skin = np.empty((128, 256, 3), np.float32)
    skin[..., 0] = (hue + 4 * _waves(rng, 32)) % 180
    skin[..., 1] = np.clip(saturation + 20 * _waves(rng, 32), 0, 255)
    skin[..., 2] = np.clip(190 + 18 * _waves(rng, 16), 0, 255)
    if spots:
        skin[..., 2] *= 1 - 0.55 * (_waves(rng, spots) > 1.1)
    return np.asarray(cv2.cvtColor(skin.astype(np.uint8), cv2.COLOR_HSV2RGB))


def _waves(rng: np.random.Generator, length: int) -> Values:
    """Smooth noise (128, 256) of about unit size, whose hills are about `length` pixels long."""
    coarse = rng.standard_normal((128 // length + 2, 256 // length + 2)).astype(np.float32)
    coarse[:, -1] = coarse[:, 0]
    return np.asarray(cv2.resize(coarse, (256, 128), interpolation=cv2.INTER_CUBIC))


def _view(
    skin: NDArray[np.uint8], angle: float, tilt: float, height: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """The body turned by `angle`, seen from above by `tilt`, both in radians: (SIDE, SIDE, 3) RGB on white."""
    y, x = (np.mgrid[:SIDE, :SIDE].astype(np.float32) - (SIDE - 1) / 2) / RADIUS
    y = y / height
    square = x * x + y * y
    z = np.sqrt(np.clip(1 - square, 0, 1))
    up, front = y * np.cos(tilt) - z * np.sin(tilt), y * np.sin(tilt) + z * np.cos(tilt)
    column = ((np.arctan2(x, front) + angle) / (2 * np.pi) % 1 * skin.shape[1]).astype(np.float32)
    row = ((np.arcsin(np.clip(up, -1, 1)) / np.pi + 0.5) * (skin.shape[0] - 1)).astype(np.float32)
    colours = cv2.remap(skin, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP).astype(np.float32)
    lit = 0.55 + 0.45 * np.clip(0.85 * z - 0.3 * x - 0.4 * y, 0, 1)
    seen = np.where((square < 1)[..., None], colours * lit[..., None], 255)
    return np.asarray(np.clip(seen + rng.normal(0, 1.5, seen.shape), 0, 255).astype(np.uint8))
