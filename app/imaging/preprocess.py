"""Any picture to the square that a network takes: which part of it is seen, and how it is reduced."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Fit = Literal["balanced", "crop", "stretch"]
Filter = Literal["bicubic", "bilinear", "box", "lanczos", "nearest"]

SQUASH: dict[Fit, float] = {"balanced": 0.25, "crop": 0.0, "stretch": 1.0}
"""The power of a picture's aspect by which it is squashed: 0 crops to the centred square, 1 squashes all of it."""

FILTERS: dict[Filter, Image.Resampling] = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}
REDUCING_GAP = (
    3.0  # Pillow's box reduction may do the coarse part down to three times the side; it calls that near exact
)
LUMA, LUMA_BITS = np.array([19_595, 38_470, 7_471], np.uint32), 16
"""ITU-R BT.601's weights of red, green and blue in fixed point, as Pillow's mode L has them; they add up to 1."""


Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""

MAX_VIEWS = 14
"""Of one picture: seven `parts`, each also mirrored."""

CLOSER = 0.8
"""Width and height of a closer view, as a share of what the first view sees."""


class Input(Protocol):
    """What a network takes: square pictures of `size` pixels with 1 (grey) or 3 (RGB) `channels`."""

    @property
    def size(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def fit(self) -> Fit: ...
    @property
    def filter(self) -> Filter: ...


def resize(pictures: NDArray[np.uint8], input: Input) -> NDArray[np.uint8]:
    """RGB pictures (N, H, W, 3) or (H, W, 3), H and W at least 1, as a network receives them.

    Returns (N, size, size, channels) uint8.
    """
    pictures = np.ascontiguousarray(pictures if pictures.ndim == 4 else pictures[None])
    count, height, width = pictures.shape[:3]
    side = input.size
    if (height, width) == (side, side):
        return in_channels(pictures, input)
    squares = np.empty((count, side, side, 3), np.uint8)
    for square, picture in zip(squares, pictures, strict=True):
        square[:] = np.asarray(reduced(Image.fromarray(picture), (width, height), input))
    return in_channels(squares, input)


def in_channels(pictures: NDArray[np.uint8], input: Input) -> NDArray[np.uint8]:
    """RGB pictures (..., 3) with the network's channels: the same, or their luma (..., 1)."""
    if input.channels == 3:
        return pictures
    weighted = pictures @ LUMA + (1 << (LUMA_BITS - 1))
    return np.asarray(weighted >> LUMA_BITS, np.uint8)[..., None]


def seen(width: float, height: float, fit: Fit) -> tuple[float, float, float, float]:
    """The part of a picture that becomes the network's square: left, top, right, bottom, as shares from 0 to 1.

    All of the shorter side and, of the longer, the middle that is longer by the aspect to the power of SQUASH. That of
    `balanced` is the one that `benchmarks.reduction` measured: it costs less of a wide picture than the centred square
    does, and distorts it less than squashing all of it.
    """
    side, kept = min(width, height), 1 - SQUASH[fit]
    across, down = (side / width) ** kept, (side / height) ** kept
    return (1 - across) / 2, (1 - down) / 2, (1 + across) / 2, (1 + down) / 2


def reduced(picture: Image.Image, extent: tuple[float, float], input: Input) -> Image.Image:
    """What `seen` says of `extent` (width, height), antialiased to size x size."""
    return _resized(picture, _seen(*extent, input.fit), input)


def closer(picture: Image.Image, extent: tuple[float, float], input: Input, count: int) -> list[Image.Image]:
    """The first `count` of a picture's `parts`, or all if they are fewer, each antialiased to size x size."""
    return [_resized(picture, box, input) for box in islice(parts(*extent, input), count)]


def _resized(picture: Image.Image, box: Box, input: Input) -> Image.Image:
    return picture.resize((input.size, input.size), FILTERS[input.filter], box, REDUCING_GAP)


def parts(width: float, height: float, input: Input) -> Iterator[Box]:
    """The parts of a picture of `width` x `height` pixels to look at, each at least size x size, the first one always.

    First what `seen` says; then the whole picture, unless that is the same; then five closer parts of `seen`: its
    middle and its corners.
    """
    side, seen = input.size, _seen(width, height, input.fit)
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


def views(picture: NDArray[np.uint8], input: Input, count: int) -> NDArray[np.uint8]:
    """Up to `count` views of an RGB picture (H, W, 3), as a network receives them: (N, size, size, channels).

    The first is what `resize` makes of it. A picture of size x size pixels has two, itself and its mirror image.
    """
    height, width = picture.shape[:2]
    found = closer(Image.fromarray(picture), (width, height), input, -(-count // 2))
    return in_channels(mirrored([np.asarray(view) for view in found], count), input)


def _seen(width: float, height: float, fit: Fit) -> Box:
    """The same as `seen`, in pixels."""
    left, top, right, bottom = seen(width, height, fit)
    return left * width, top * height, right * width, bottom * height
