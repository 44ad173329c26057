"""GIF (89a): the first frame. What comes before it is parsed here, so that comments without end cost nothing."""

import io
import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.GifImagePlugin import GifImageFile

from app.errors import InvalidInput
from app.imaging.limits import MAX_HEADER_PARTS, check_size
from app.imaging.source import Source, attempt

EXTENSION, IMAGE, CONTROL = 0x21, 0x2C, 0xF9
INTERLACED = 0x40
BAND = 2**20
"""Pixels of the frame that are put on the canvas at a time."""


class _Gif(GifImageFile):
    """Pillow's reader, with a canvas that is filled with `fill` before the frame is drawn on it."""

    fill: int | None = None

    def load_prepare(self) -> None:
        super().load_prepare()
        if self.fill is not None:
            self.im.paste(self.fill, (0, 0, *self.im.size))


def size(data: bytes) -> tuple[int, int]:
    """The canvas's width and height, unchecked; 0 by 0 if no header is there."""
    return struct.unpack_from("<HH", data, 6) if len(data) > 12 else (0, 0)


def read(data: bytes, max_pixels: int) -> Source:
    """Decode the first frame of `data`. Raises TooLarge, and InvalidInput if the frame is cut short or corrupt."""
    first = _first_frame(data)
    left, top, width, height, flags = struct.unpack_from("<HHHHB", first, len(_header(first)) + _control(first) + 1)
    canvas = max(size(data)[0], left + width), max(size(data)[1], top + height)
    check_size("GIF", *canvas, max_pixels)
    check_size("GIF", width, height, max_pixels, "the first frame of the")
    picture = attempt("GIF", _decoded, first, None)
    frame = (left, top, left + width, top + height)
    _check_indices(picture, frame)
    last = height - 1 if not flags & INTERLACED or height == 1 else (height - 2) | 1
    if _is_uniform(picture, (left, top + last, left + width, top + last + 1)):
        _check_rows(first, frame)
    return Source(picture if (width, height) == picture.size else _on_canvas(picture, frame))


def _check_indices(picture: Image.Image, frame: tuple[int, int, int, int]) -> None:
    """Raises InvalidInput for a pixel that has no colour in the palette: Pillow makes up one."""
    if picture.mode != "P":
        return  # without a palette, indices are levels of grey
    histogram = picture.crop(frame).histogram()
    histogram[picture.info.get("transparency", 0)] = 0
    highest = max((i for i, count in enumerate(histogram) if count), default=0)
    colours = len(picture.getpalette() or ()) // 3
    if highest >= colours:
        raise InvalidInput(f"the GIF has a pixel of colour {highest}; expected less than {colours}, as its palette has")


def _on_canvas(picture: Image.Image, frame: tuple[int, int, int, int]) -> Image.Image:
    """The frame on a transparent canvas, as browsers show it: Pillow fills the canvas with its palette's colour 0."""
    canvas = Image.new("RGBA", picture.size)
    left, top, right, bottom = frame
    rows = max(1, BAND // (right - left))
    for y in range(top, bottom, rows):  # because whole copies would take half a gigabyte
        canvas.paste(picture.crop((left, y, right, min(bottom, y + rows))).convert("RGBA"), (left, y))
    return canvas


def _header(data: bytes) -> bytes:
    """The header, with the global colour table if there is one."""
    flags = data[10] if len(data) > 10 else 0
    return data[: 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)]


def _control(first: bytes) -> int:
    """Bytes of the graphic control extension in what `_first_frame` returned."""
    return 0 if first[len(_header(first))] == IMAGE else 8


def _first_frame(data: bytes) -> bytes:
    """The GIF without what comes before the first frame, but for the extension that controls it."""
    header, control = _header(data), b""
    at = len(header)
    for _ in range(MAX_HEADER_PARTS):
        match data[at] if at < len(data) else None:
            case 0x2C if at + 10 < len(data):
                return header + control + data[at:]
            case 0x21 if at + 2 < len(data):
                if data[at + 1] == CONTROL and data[at + 2] == 4 and at + 8 <= len(data):
                    control = data[at : at + 7] + b"\0"
                at += 2
                parts = 0
                while at < len(data) and data[at] and parts < MAX_HEADER_PARTS:
                    at, parts = at + 1 + data[at], parts + 1
                if parts == MAX_HEADER_PARTS:
                    break
                at += 1
            case 0:  # padding, which some writers leave
                at += 1
            case _:
                raise InvalidInput("the GIF ends early: it has no frame")
    raise InvalidInput(f"the GIF's header has too many parts; expected at most {MAX_HEADER_PARTS}")


def _decoded(data: bytes, fill: int | None) -> Image.Image:
    picture = _Gif(io.BytesIO(data))
    picture.fill = fill
    picture.load()
    return picture


def _is_uniform(picture: Image.Image, box: tuple[int, int, int, int]) -> bool:
    pixels = np.asarray(picture.crop(box))
    return bool((pixels == pixels.flat[0]).all())


def _check_rows(data: bytes, frame: tuple[int, int, int, int]) -> None:
    """Raises InvalidInput if rows of the frame are missing: what shows through then is what was there before."""
    once, again = (_indices(data, fill, frame) for fill in (0, 1))
    missing = int((once != again).any(axis=1).sum())
    if missing:
        raise InvalidInput(f"the GIF ends early: {missing} of its {len(once)} rows are missing")


def _indices(data: bytes, fill: int, frame: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    return np.asarray(attempt("GIF", _decoded, data, fill).crop(frame))
