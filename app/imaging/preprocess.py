"""Any picture to the square that a network takes: which part of it is seen, and how it is reduced."""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 32
FILTER = Image.Resampling.BICUBIC
SQUASH = 0.25  # of a picture's aspect, as a power: 0 crops to the centred square, 1 squashes all of it into one
REDUCING_GAP = (
    3.0  # Pillow's box reduction may do the coarse part down to three times the side; it calls that near exact
)


Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""

MAX_VIEWS = 14
"""Of one picture: seven `parts`, each also mirrored."""

CLOSER = 0.8
"""Width and height of a closer view, as a share of what the first view sees."""


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
    return picture.resize((side, side), FILTER, _seen(*extent), REDUCING_GAP)


def closer(picture: Image.Image, extent: tuple[float, float], side: int, count: int) -> list[Image.Image]:
    """The first `count` of a picture's `parts`, or all if they are fewer, each antialiased to side x side."""
    boxes = islice(parts(*extent, side), count)
    return [picture.resize((side, side), FILTER, box, REDUCING_GAP) for box in boxes]


def parts(width: float, height: float, side: int) -> Iterator[Box]:
    """The parts of a picture of `width` x `height` pixels to look at, each at least side x side, the first one always.

    First what `seen` says; then the whole picture, unless that is the same; then five closer parts of `seen`: its
    middle and its corners.
    """
    seen = _seen(width, height)
    yield seen
    left, top, right, bottom = seen
    across, down = CLOSER * (right - left), CLOSER * (bottom - top)
    if width != height and min(width, height) >= side:
        yield 0.0, 0.0, width, height
    if min(across, down) >= side:
        for x, y in ((0.5, 0.5), (0, 0), (1, 0), (0, 1), (1, 1)):
            start = left + x * (right - left - across), top + y * (bottom - top - down)
            yield *start, min(start[0] + across, width), min(start[1] + down, height)


def mirrored(squares: Sequence[NDArray[np.uint8]], count: int) -> NDArray[np.uint8]:
    """Each of the squares (side, side, 3) followed by its mirror image, and of these the first `count`: (N, ...)."""
    pairs = [view for square in squares for view in (square, square[:, ::-1])]
    return np.stack(pairs[:count])


def views(picture: NDArray[np.uint8], count: int, side: int = SIDE) -> NDArray[np.uint8]:
    """Up to `count` views of an RGB picture (H, W, 3), as a network receives them: (N, side, side, 3).

    The first is what `resize` makes of it. A picture of side x side pixels has two, itself and its mirror image.
    """
    height, width = picture.shape[:2]
    found = closer(Image.fromarray(picture), (width, height), side, -(-count // 2))
    return mirrored([np.asarray(view) for view in found], count)


def _seen(width: float, height: float) -> Box:
    """The same as `seen`, in pixels."""
    left, top, right, bottom = seen(width, height)
    return left * width, top * height, right * width, bottom * height
