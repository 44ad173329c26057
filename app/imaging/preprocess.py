"""Any picture to the square that a network takes: which part of it is seen, and how it is reduced."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 32
FILTER = Image.Resampling.BICUBIC
SQUASH = 0.25  # of a picture's aspect, as a power: 0 crops to the centred square, 1 squashes all of it into one
REDUCING_GAP = (
    3.0  # Pillow's box reduction may do the coarse part down to three times the side; it calls that near exact
)


def resize(pictures: NDArray[np.uint8], side: int = SIDE) -> NDArray[np.uint8]:
    """RGB pictures (N, H, W, 3) or (H, W, 3), H and W at least 1, as a network receives them: (N, side, side, 3)."""
    pictures = np.ascontiguousarray(pictures if pictures.ndim == 4 else pictures[None])
    count, height, width = pictures.shape[:3]
    if (height, width) == (side, side):
        return pictures
    squares = np.empty((count, side, side, 3), np.uint8)
    for square, picture in zip(squares, pictures, strict=True):
        square[:] = np.asarray(reduced(Image.fromarray(picture), (width, height), side))
    return squares


def seen(width: float, height: float) -> tuple[float, float, float, float]:
    """The part of a picture that becomes the network's square: left, top, right, bottom, as shares from 0 to 1.

    The policy that `benchmarks.reduction` measured: all of the shorter side and, of the longer, the middle that is
    longer by the aspect to the power of SQUASH. It costs less of a wide picture than the centred square does, and
    distorts it less than squashing all of it.
    """
    side = min(width, height)
    across, down = (side / width) ** (1 - SQUASH), (side / height) ** (1 - SQUASH)
    return (1 - across) / 2, (1 - down) / 2, (1 + across) / 2, (1 + down) / 2


def reduced(picture: Image.Image, extent: tuple[float, float], side: int) -> Image.Image:
    """What `seen` says of `extent` (width, height), antialiased to side x side."""
    width, height = extent
    left, top, right, bottom = seen(width, height)
    box = (left * width, top * height, right * width, bottom * height)
    return picture.resize((side, side), FILTER, box, REDUCING_GAP)
