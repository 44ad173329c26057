"""Folders of small pictures that a small network can tell apart: a coloured square on noise, somewhere."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220)}


def square(colour: tuple[int, int, int], seed: int, side: int = 24) -> NDArray[np.uint8]:
    """A picture (side, side, 3) of a square of `colour`, drawn by `seed`."""
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 120, (side, side, 3)).astype(np.uint8)
    top, left = rng.integers(0, side // 2, 2)
    picture[top : top + side // 2, left : left + side // 2] = colour
    return picture


def folder(place: Path, count: int = 10, labels: tuple[str, ...] = tuple(COLOURS)) -> Path:
    """`count` pictures in a folder for each label; returns `place`."""
    for number, label in enumerate(labels):
        (place / label).mkdir(parents=True)
        for picture in range(count):
            pixels = square(COLOURS[label], 1000 * number + picture)
            Image.fromarray(pixels).save(place / label / f"{picture}.png")
    return place
