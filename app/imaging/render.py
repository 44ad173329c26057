"""Arrays to pictures, and pictures to PNG; pure functions over arrays."""

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from app.deadline import Checkpoint, unbounded

Display = Literal["clamp", "absolute", "rescale"]
Tiles = Iterator[tuple[tuple[slice, ...], NDArray[Any]]]
"""Tiles of an array: the index of each, and its values."""

UP = 2
PNG_STRIP = 1024 * 1024  # bytes of rows filtered at a time
COMPRESSION = 1  # zlib's fastest; its default takes four times as long for files a tenth smaller


TILE = 64  # pixels of a map's longer side on a sheet, or a few less: every value is a square of whole pixels
GAP, CAPTION, MARGIN = 6, 13, 12
SHEET_WIDTH = 1200
PAPER, INK = (255, 255, 255), (40, 40, 48)
COLOURS = "440154 472c7a 3b518b 2c718e 21908d 27ad81 5cc863 aadc32 fde725"
"""Viridis (Smith and van der Walt) in nine steps, from dark for the minimum to bright for the maximum."""


def reduced(picture: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """The picture (H, W, 3) with at most `longest` pixels along its longer side."""
    height, width = picture.shape[:2]
    share = longest / max(height, width)
    if share >= 1:
        return picture
    size = (max(1, round(width * share)), max(1, round(height * share)))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


def png(picture: NDArray[np.uint8], checkpoint: Checkpoint = unbounded) -> bytes:
    """(H, W) grey, (H, W, 2) grey with alpha, (H, W, 3) RGB or (H, W, 4) RGBA uint8 as PNG (ISO/IEC 15948).

    Rows are filtered and compressed in strips, so no second copy of the picture is needed. `checkpoint` is called
    before each strip, and what it raises passes through. The filter is `Up`: the difference from the row above.
    """
    height, width = picture.shape[:2]
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[picture.shape[2] if picture.ndim == 3 else 1]
    rows = np.ascontiguousarray(picture).reshape(height, -1)
    stream, packed = zlib.compressobj(COMPRESSION), bytearray()
    for top in range(0, height, strip := max(1, PNG_STRIP // rows.shape[1])):
        checkpoint()
        some = rows[top : top + strip]
        filtered = np.empty((len(some), rows.shape[1] + 1), np.uint8)
        filtered[:, 0] = UP
        filtered[:, 1:] = some
        filtered[1:, 1:] -= some[:-1]
        if top:
            filtered[0, 1:] -= rows[top - 1]
        packed += stream.compress(filtered.data)
    packed += stream.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    return b"".join([b"\x89PNG\r\n\x1a\n", *_chunk(b"IHDR", header), *_chunk(b"IDAT", packed), *_chunk(b"IEND", b"")])


def _chunk(kind: bytes, data: bytes | bytearray) -> tuple[bytes, bytes, bytes | bytearray, bytes]:
    return struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def display(shape: tuple[int, ...], tiles: Callable[[], Tiles], mapping: Display) -> tuple[NDArray[np.uint8], int]:
    """Numbers as a uint8 picture, and the number of pixels whose values were outside 0 to 255.

    `shape` is (H, W) or (H, W, 3). Each call of `tiles` yields all the values again, tile by tile. `clamp` rounds
    values and limits them to 0 to 255; `absolute` does the same with their magnitudes; `rescale` maps the minimum to 0
    and the maximum to 255 (if all values are equal, to 0). A missing value (NaN) becomes a transparent pixel, and the
    picture then has an alpha channel; only arrays of shape (H, W) may have missing values.
    """
    low, high = _extremes(tiles()) if mapping == "rescale" else (0.0, 255.0)
    picture = np.empty(shape, np.uint8)
    alpha: NDArray[np.uint8] | None = None
    clipped = 0
    for box, values in tiles():
        missing = np.isnan(values) if values.dtype == np.float64 else None  # pictures are float32 and have none missing
        if missing is not None and missing.any():
            alpha = np.full(shape, 255, np.uint8) if alpha is None else alpha
            alpha[box][missing] = 0
            values = np.where(missing, low, values)
        if mapping == "absolute":
            values = np.abs(values)
        elif mapping == "rescale":
            span = high / 2 - low / 2  # in halves, because high - low may overflow
            values = (values / 2 - low / 2) / span * 255 if span > 0 else np.zeros_like(values)
        values = np.rint(values)
        if values.min() < 0 or values.max() > 255:
            outside = (values < 0) | (values > 255)
            clipped += int(np.count_nonzero(outside.any(axis=-1) if outside.ndim == 3 else outside))
            np.clip(values, 0, 255, out=values)
        picture[box] = values
    return (picture if alpha is None else np.stack([picture, alpha], axis=-1)), clipped


def _extremes(tiles: Tiles) -> tuple[float, float]:
    """The minimum and the maximum of the values; (0, 0) if all are missing."""
    found = [(float(np.nanmin(v)), float(np.nanmax(v))) for _, v in tiles if not np.isnan(v).all()]
    return (min(low for low, _ in found), max(high for _, high in found)) if found else (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Section:
    """Maps that belong together on a sheet: a title, and for each map its caption, its values (H, W) and its scale."""

    title: str
    captions: Sequence[str]
    maps: Sequence[NDArray[Any]]
    scales: Sequence[tuple[float, float]]


def colour(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Values (H, W) as RGB (H, W, 3): `low` and below get the darkest colour, `high` and above the brightest."""
    shares = (values - low) / (high - low) if high > low else np.zeros(values.shape)
    return _palette()[np.clip(shares * 255, 0, 255).astype(np.uint8)]


@cache
def _palette() -> NDArray[np.uint8]:
    """256 colours (256, 3), interpolated between COLOURS."""
    steps = np.array([list(bytes.fromhex(code)) for code in COLOURS.split()])
    places = np.linspace(0, len(steps) - 1, 256)
    channels = [np.interp(places, range(len(steps)), steps[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def sheet(heading: str, sections: Sequence[Section]) -> NDArray[np.uint8]:
    """A contact sheet (H, W, 3): a heading, a colour bar, and the maps of each section with their captions."""
    layouts = [_Layout.of(section) for section in sections]
    width = max([2 * MARGIN + min(SHEET_WIDTH, 720), *(2 * MARGIN + layout.width for layout in layouts)])
    top = MARGIN + 2 * CAPTION + GAP
    height = top + MARGIN + sum(layout.height for layout in layouts)
    picture = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN, MARGIN), heading, INK, _font(12))
    bar = np.broadcast_to(np.linspace(0, 1, 256), (8, 256))
    picture.paste(Image.fromarray(colour(bar, 0, 1)), (MARGIN + 52, MARGIN + CAPTION + 8))
    draw.text((MARGIN, MARGIN + CAPTION + 5), "minimum", INK, _font(10))
    draw.text((MARGIN + 52 + 256 + 6, MARGIN + CAPTION + 5), "maximum", INK, _font(10))
    for section, layout in zip(sections, layouts, strict=True):
        draw.text((MARGIN, top + GAP), section.title, INK, _font(12))
        for i, (caption, values, scale) in enumerate(zip(section.captions, section.maps, section.scales, strict=True)):
            x = MARGIN + i % layout.columns * (layout.cell + GAP)
            y = top + GAP + CAPTION + GAP + i // layout.columns * (layout.tile[1] + CAPTION + GAP)
            tile = Image.fromarray(colour(values, *scale))
            draw.text((x, y), caption, INK, _font(9))
            picture.paste(tile.resize(layout.tile, Image.Resampling.NEAREST), (x, y + CAPTION))
        top += layout.height
    return np.asarray(picture)


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a section's maps are laid out, in pixels: a tile (width, height), and a cell as wide as tile and caption."""

    tile: tuple[int, int]
    cell: int
    columns: int
    rows: int

    @classmethod
    def of(cls, section: Section) -> "_Layout":
        height, width = section.maps[0].shape
        zoom = max(1, TILE // max(height, width))
        caption = max(int(_font(9).getlength(text)) for text in section.captions)
        cell = max(width * zoom, caption)
        columns = min(len(section.maps), max(1, (SHEET_WIDTH + GAP) // (cell + GAP)))
        return cls((width * zoom, height * zoom), cell, columns, -(-len(section.maps) // columns))

    @property
    def width(self) -> int:
        return self.columns * (self.cell + GAP) - GAP

    @property
    def height(self) -> int:
        return GAP + CAPTION + GAP + self.rows * (self.tile[1] + CAPTION + GAP) + GAP


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def overlay(
    picture: NDArray[np.uint8], heat: NDArray[Any], box: tuple[int, int, int, int], opacity: float
) -> NDArray[np.uint8]:
    """A uint8 picture (H, W, 3) with a heat map (values 0 to 1) over its `box` (left, top, right, bottom), in pixels.

    The picture is darkened outside the box, because the map says nothing about that part.
    """
    left, top, right, bottom = box
    smooth = Image.fromarray(np.asarray(heat, np.float32)).resize(
        (right - left, bottom - top), Image.Resampling.BILINEAR
    )
    result = (picture * 0.35).astype(np.uint8)
    inside = picture[top:bottom, left:right] * (1 - opacity) + colour(np.asarray(smooth), 0, 1) * opacity
    result[top:bottom, left:right] = inside.round().astype(np.uint8)
    return result
