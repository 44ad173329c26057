"""Bytes of a picture, from anyone, to an RGB array: as a network receives it, or in full.

`thumbnail` reads in the order of this file: which format, open, check the size, decode, make it plain, crop and reduce
to 32x32, turn it upright, RGB. `full` leaves the cropping and reducing out. Colour profiles are ignored: samples are
taken as sRGB, as CIFAR-10's are.

Everything is decided by the bytes, and every failure is one of this service's own errors. They carry no position: the
caller knows which of a request's pictures it was.
"""

import io
import logging
import re
import struct
import sys
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from app.errors import ConvoscopeError, InvalidInput, TooLarge, UnsupportedPicture

SIDE = 32
MAX_PIXELS = 64_000_000

FILTER = Image.Resampling.BICUBIC
SQUASH = 0.25  # of a picture's aspect, as a power: 0 crops to the centred square, 1 squashes all of it into one
REDUCING_GAP = 3.0  # Pillow's box reduction may do the coarse part down to three times SIDE; it calls that near exact
DRAFT_SIDE = 4 * SIDE  # libjpeg may scale down while it decodes, but never the shorter side below this

MAX_SCANS = 100  # a progressive JPEG has about ten; every scan costs a pass over all its pixels
MAX_CHUNKS = 100_000  # of a PNG; 64 MB in the usual pieces of 8 kB are 8,000
MAX_HEADER_READS = 20_000  # a few hundred are usual
MAX_RUN_LENGTH_PIXELS = 4_000_000  # of a BMP; Pillow decodes its runs in Python
RUN_LENGTH_ROWS = 256  # that one of its runs may skip, however few the header says there are
ORIENTATION = 0x0112
BITS_PER_SAMPLE = 0x0102
TILE_WIDTH, TILE_LENGTH = 0x0142, 0x0143
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class _Jpeg(JpegImageFile):
    """Pillow's reader without its EXIF reader, which may take gigabytes for a block whose tags share their data."""

    def getexif(self) -> Image.Exif:
        return Image.Exif()


class _Tiff(TiffImageFile):
    """As `_Jpeg`; but Pillow turns a TIFF upright while loading it, so it is told the orientation."""

    def getexif(self) -> Image.Exif:
        exif = Image.Exif()
        exif[ORIENTATION] = self.tag_v2.get(ORIENTATION, 1)
        return exif


# Readers are called by class and not through Image.open, which has a pixel limit of its own for the whole process and
# cannot tell "no picture" from "a broken one". A phone's multi-picture JPEG (MPO) is read as the JPEG it begins with.
READERS: dict[str, tuple[re.Pattern[bytes], type[ImageFile]]] = {
    "JPEG": (re.compile(rb"\xff\xd8\xff"), _Jpeg),
    "PNG": (re.compile(rb"\x89PNG\r\n\x1a\n"), PngImageFile),
    "WebP": (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), WebPImageFile),
    "GIF": (re.compile(rb"GIF8[79]a"), GifImageFile),
    "BMP": (re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL), BmpImageFile),
    "TIFF": (re.compile(rb"II[*+]\0|MM\0[*+]"), _Tiff),
}

PLAIN_PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII5B", 13, b"IHDR", SIDE, SIDE, 8, 2, 0, 0, 0)

# What Pillow has to say about a stranger's file goes into the error, not into the service's log. (libtiff's own lines
# still reach stderr: Pillow leaves its C error handler on and has no switch for it.)
PILLOW = re.compile(r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)


def thumbnail(data: bytes, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """The picture in `data` as the network receives it: (32, 32, 3) uint8 RGB, 0 to 255, upright.

    What `seen` says is reduced, a little squashed; a picture of 32x32 pixels is left as it is. Transparency is
    composited on white, 16 bits are scaled to 8, grey, palette, CMYK, YCbCr and LAB are converted. Of an animation,
    the first frame.

    Raises UnsupportedPicture if the bytes are none of the formats in READERS, TooLarge if the header says more than
    `max_pixels` (nothing has been decoded by then), and InvalidInput if the picture is cut short or corrupt.
    """
    if _plain_png(data) and max_pixels >= SIDE * SIDE:
        _check_sums(data)
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        if pixels is None:
            raise InvalidInput("the PNG cannot be decoded: it is cut short, or its data is not what its header says")
        return np.asarray(pixels)
    with _refusals(kind := _kind(data)):
        picture = _open(kind, data, max_pixels)
        extent = _load_coarsely(picture)
        return _rgb(_upright(_reduced(_plain(picture), extent), picture))


def _plain_png(data: bytes) -> bool:
    """Whether it is a PNG of 32x32 RGB pixels and nothing else: OpenCV takes a third of Pillow's time for it."""
    return data.startswith(PLAIN_PNG) and data[37:41] == b"IDAT" and b"eXIf" not in data


def _check_sums(png: bytes) -> None:
    """Raises InvalidInput where a chunk that decoding needs is not what its checksum says: Pillow does not look."""
    view, at = memoryview(png), 8
    for _ in range(MAX_CHUNKS):
        if at + 12 > len(png):
            return
        end = at + 8 + int.from_bytes(view[at : at + 4])
        kind, found = png[at + 4 : at + 8], view[end : end + 4]
        if kind.isupper() and len(found) == 4 and zlib.crc32(view[at + 4 : end]) != int.from_bytes(found):
            raise InvalidInput(f"the PNG is corrupt: the checksum of its chunk {kind.decode('latin-1')} is wrong")
        at = end + 4
    raise InvalidInput(f"the PNG has more than {MAX_CHUNKS} chunks; expected at most so many")


def full(data: bytes, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """The picture in `data` in all its pixels: (H, W, 3) uint8 RGB, 0 to 255, upright; else as `thumbnail`."""
    with _refusals(kind := _kind(data)):
        picture = _open(kind, data, max_pixels)
        picture.load()
        return _rgb(_upright(_plain(picture), picture))


def resize(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB pictures (N, H, W, 3) or (H, W, 3), H and W at least 1, as the network receives them: (N, 32, 32, 3)."""
    pictures = np.ascontiguousarray(pictures if pictures.ndim == 4 else pictures[None])
    count, height, width = pictures.shape[:3]
    if (height, width) == (SIDE, SIDE):
        return pictures
    squares = np.empty((count, SIDE, SIDE, 3), np.uint8)
    for square, picture in zip(squares, pictures, strict=True):
        square[:] = np.asarray(_reduced(Image.fromarray(picture), (width, height)))
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


def _kind(data: bytes) -> str:
    for kind, (beginning, _) in READERS.items():
        if beginning.match(data):
            return kind
    found = f"begins with {data[:16]!r}" if data else "is empty"
    raise UnsupportedPicture(f"the picture {found}; expected {', '.join(READERS)}")


@contextmanager
def _refusals(kind: str) -> Iterator[None]:
    """The one place where what Pillow raises and warns of becomes this service's.

    Pillow documents no set of errors: corrupt files have raised OSError, SyntaxError, ValueError, struct.error,
    EOFError, IndexError, KeyError, TypeError, OverflowError, zlib.error, MemoryError and more.
    """
    # A filter that stays, because warnings.catch_warnings would let decoding threads undo each other's.
    if [entry[3] for entry in warnings.filters[:1]] != [PILLOW]:
        warnings.filterwarnings("ignore", module=PILLOW.pattern)
    try:
        yield
    except ConvoscopeError:
        raise
    except Image.DecompressionBombError as error:  # Pillow's own limit, for a GIF's frame larger than its screen
        raise TooLarge(f"the {kind} is too large: {error}") from error
    except Exception as error:
        raise InvalidInput(f"the {kind} cannot be decoded: {str(error) or type(error).__name__:.150}") from error


class _Frugal(io.BytesIO):
    """A file that may be read only so much while it is opened.

    Pillow keeps a copy of what each tag of a TIFF claims, and all may claim the same megabyte: 2 GB for a file of 1 MB.
    It joins a JPEG's EXIF segments, and a GIF's comments, one to the next, which takes minutes for 100,000 of them.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.bytes_left = 2 * len(data) + 4096  # Pillow loads a TIFF's first directory twice
        self.reads_left = MAX_HEADER_READS

    def read(self, size: int | None = -1, /) -> bytes:
        chunk = super().read(size)
        self.bytes_left -= len(chunk)
        self.reads_left -= 1
        if self.bytes_left < 0:
            raise ValueError("its tags claim more data than it has")
        if self.reads_left < 0:
            raise ValueError("its header has too many parts")
        return chunk

    def opened(self) -> None:
        self.bytes_left = self.reads_left = sys.maxsize


def _open(kind: str, data: bytes, max_pixels: int) -> ImageFile:
    """Read the header, and refuse what would take too much memory or time before any pixel is decoded."""
    if kind == "PNG":
        _check_sums(data)
    file = _Frugal(data)
    picture = READERS[kind][1](file)
    file.opened()
    for what, width, height in [("the", *picture.size), ("a tile of the", *_tile(picture))]:
        if width * height > max_pixels:
            raise TooLarge(f"{what} {kind} has {width} x {height} pixels; expected at most {max_pixels} in all")
        if width < 1 or height < 1:
            raise InvalidInput(f"{what} {kind} has {width} x {height} pixels; expected at least one")
    if any(tile.codec_name == "bmp_rle" for tile in picture.tile):
        limit, height = min(max_pixels, MAX_RUN_LENGTH_PIXELS), max(picture.height, RUN_LENGTH_ROWS)
        if picture.width * height > limit:
            detail = f"the BMP is run-length coded, {picture.width} pixels wide and up to {height} high"
            raise TooLarge(f"{detail}; expected at most {limit} in all")
    if kind == "JPEG" and (scans := data.count(b"\xff\xda\0")) > MAX_SCANS:
        raise InvalidInput(f"the JPEG has {scans} scans; expected at most {MAX_SCANS}")
    return picture


def _tile(picture: ImageFile) -> tuple[int, int]:
    """Width and height of a TIFF's tiles, which may exceed the picture and are decoded whole; 1 by 1 if it has none."""
    tags = picture.tag_v2 if isinstance(picture, TiffImageFile) else {}
    return tags.get(TILE_WIDTH, 1), tags.get(TILE_LENGTH, 1)


def _load_coarsely(picture: ImageFile) -> tuple[float, float]:
    """Decode the picture, a JPEG only as finely as needed; gives its width and height on the decoded pixels.

    They are fractions where the decoder's eighths do not divide the picture: its last pixels are then partly padding.
    """
    draft = picture.draft(None, (DRAFT_SIDE, DRAFT_SIDE))
    picture.load()
    return draft[1][2:] if draft else picture.size


def _plain(picture: Image.Image) -> Image.Image:
    """The picture in a mode that can be averaged: no palette, no bits, no 16-bit samples, alpha premultiplied."""
    if picture.mode.startswith("I;16"):  # Pillow's own conversions clip at 255
        bits = picture.tag_v2[BITS_PER_SAMPLE][0] if isinstance(picture, TiffImageFile) else 16  # a TIFF may have 12
        return Image.fromarray((np.asarray(picture) >> (bits - 8)).astype(np.uint8))
    if picture.has_transparency_data:
        return (picture if picture.mode == "RGBA" else picture.convert("RGBA")).convert("RGBa")
    if picture.mode in ("1", "P"):
        return picture.convert("RGB")
    return picture


def _reduced(picture: Image.Image, extent: tuple[float, float]) -> Image.Image:
    """What `seen` says of `extent` (width, height), antialiased to 32x32."""
    width, height = extent
    left, top, right, bottom = seen(width, height)
    return picture.resize(
        (SIDE, SIDE), FILTER, (left * width, top * height, right * width, bottom * height), REDUCING_GAP
    )


def _upright(picture: Image.Image, source: ImageFile) -> Image.Image:
    """Turn a picture as the EXIF block of its source says; what is seen is centred, so before or after cropping."""
    exif = source.info.get("exif")
    turn = TURNS.get(_orientation(exif)) if isinstance(exif, bytes) else None
    return picture if turn is None else picture.transpose(turn)


def _orientation(exif: bytes) -> int:
    """The orientation in an EXIF block's first directory; 1, upright, where there is none or the block is broken."""
    block = exif.removeprefix(b"Exif\0\0")
    order = "<" if block.startswith(b"II") else ">"
    try:
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, start)
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, value = struct.unpack_from(f"{order}H6xH", block, at)
            if tag == ORIENTATION:
                return int(value)
    except struct.error:
        pass
    return 1


def _rgb(picture: Image.Image) -> NDArray[np.uint8]:
    match picture.mode:
        case "RGBa":
            samples = np.asarray(picture)
            alpha = samples[..., 3:]
            # On white. The filter's overshoot may leave more colour than alpha, which would wrap around.
            shown: NDArray[np.uint8] = np.minimum(samples[..., :3], alpha) + (255 - alpha)
            return shown
        case "I" | "F":
            return _stretched(np.asarray(picture, np.float64))
        case "LAB":
            lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(picture, lab, srgb, outputMode="RGB")
            return np.asarray(converted)
    return np.asarray(picture.convert("RGB"))


def _stretched(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Floats and 32-bit integers as grey, (H, W, 3). Neither has an agreed white.

    Values from 0 to 1 (give or take the overshoot of FILTER) are black to white; any others are stretched from the
    least to the greatest. What is not finite is black.
    """
    finite = np.isfinite(values)
    known = values[finite]
    within = known.size == 0 or (known.min() >= -0.25 and known.max() <= 1.25)
    low, high = (0.0, 1.0) if within else (known.min(), known.max())
    values = np.where(finite, values, low)
    grey = np.interp(values, (low, high), (0, 255)).round().astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)
