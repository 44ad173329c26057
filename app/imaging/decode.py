"""Bytes of a picture, from anyone, to an RGB array: as a network receives it, or in full.

Which format, how large, decode, make it averageable, crop and reduce, turn it upright, RGB: `thumbnail` and `views`
read in this order, `full` leaves cropping and reducing out. Every failure is one of this service's own errors. They
carry no position: the caller knows which of a request's pictures it was.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.imaging import avif, bmp, colour, formats, gif, jpeg, orientation, png, tiff, webp
from app.imaging.limits import MAX_PIXELS
from app.imaging.preprocess import Input, closer, in_channels, mirrored, reduced
from app.imaging.source import Source

READERS: dict[str, Callable[[bytes, int], Source]] = {
    "JPEG": jpeg.read,
    "PNG": png.read,
    "WebP": webp.read,
    "GIF": gif.read,
    "BMP": bmp.read,
    "TIFF": tiff.read,
    "AVIF": avif.read,
}
DRAFT = 4
"""libjpeg may scale down while it decodes, but never the shorter side below so many times what is wanted."""


@dataclass(frozen=True, slots=True)
class Picture:
    """All pixels of a picture, (H, W, 3) uint8 RGB; and what its samples were, if not 8 bits: "16-bit samples"."""

    pixels: NDArray[np.uint8]
    reduced_from: str = ""


def thumbnail(data: bytes, input: Input, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """The picture in `data` as a network receives it: (size, size, channels) uint8, RGB or grey, 0 to 255, upright.

    What `preprocess.seen` says is reduced, a little squashed; a picture of size x size pixels is left as it is.
    Transparency is composited on white, 16 bits are scaled to 8, grey, palette, CMYK, YCbCr and LAB are converted. Of
    an animation, the first frame.

    Raises UnsupportedPicture if the bytes are none of the formats that are read, TooLarge if the header says more than
    `max_pixels` or another of `limits` (nothing has been decoded by then), and InvalidInput if the picture is cut
    short, corrupt, or in a layout that is not read. MemoryError means that the service has too little memory.
    """
    side = input.size
    if max_pixels >= side * side:
        pixels = png.plain(data, side)
        if pixels is not None:
            return in_channels(pixels, input)
    source = _source(data, max_pixels, DRAFT * side)
    picture = _image(source.pixels)
    picture = reduced(colour.averageable(picture), source.extent or picture.size, input)
    return in_channels(colour.rgb(orientation.upright(picture, source.orientation)), input)


def views(data: bytes, input: Input, count: int, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Up to `count` views of the picture in `data`, as a network receives them: (N, size, size, channels) uint8.

    Their order is that of `preprocess.parts`, each followed by its mirror image, so that the first is the `thumbnail`.
    Raises as `thumbnail`.
    """
    source = _source(data, max_pixels, DRAFT * input.size)
    picture = colour.averageable(_image(source.pixels))
    found = closer(picture, source.extent or picture.size, input, -(-count // 2))
    squares = [colour.rgb(orientation.upright(view, source.orientation)) for view in found]
    return in_channels(mirrored(squares, count), input)


def full(data: bytes, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """The picture in `data` in all its pixels: (H, W, 3) uint8 RGB, 0 to 255, upright. Raises as `thumbnail`."""
    return read(data, max_pixels=max_pixels).pixels


def read(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """The same, with what the samples were. Raises as `thumbnail`."""
    source = _source(data, max_pixels)
    if isinstance(source.pixels, np.ndarray) and source.pixels.shape[2] == 3:
        pixels = source.pixels
    else:
        pixels = colour.full_rgb(_image(source.pixels))
    return Picture(np.ascontiguousarray(orientation.upright_array(pixels, source.orientation)), source.reduced)


def _source(data: bytes, max_pixels: int, coarse: int | None = None) -> Source:
    kind = formats.kind(data)
    return jpeg.read(data, max_pixels, coarse) if kind == "JPEG" else READERS[kind](data, max_pixels)


def _image(pixels: Image.Image | NDArray[np.uint8]) -> Image.Image:
    return pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.ascontiguousarray(pixels))
