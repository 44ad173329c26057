"""JPEG (ITU-T T.81): the segments before the pixels are parsed here, libjpeg-turbo decodes the rest strictly.

Strictly means that what libjpeg only warns of, corrupt data, is an error: it goes on with whatever it finds, and a
network sees another picture. Segments that decoding does not need are left out, so that it has nothing to warn of.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from app.errors import InvalidInput
from app.imaging import orientation
from app.imaging.limits import MAX_HEADER_PARTS, MAX_SCANNED_PIXELS, MAX_SCANS, check_size
from app.imaging.source import Source, attempt

SCALES = (8, 4, 2)
"""libjpeg can decode at these fractions of the size for a fraction of the time."""

FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
TABLES = {0xC4, 0xCC, 0xDB, 0xDD}
"""Huffman tables, arithmetic conditioning, quantisation tables, restart interval."""

APP0, APP1, APP14, START_OF_SCAN, END = 0xE0, 0xE1, 0xEE, 0xDA, 0xD9
WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
EXIF, XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
JFIF = b"JFIF\0\1\1\0\0\1\0\1\0\0"
COLOURS = {1: "GRAY", 3: "RGB", 4: "CMYK"}


@dataclass(slots=True)
class _Jpeg:
    """What the segments before the first scan say."""

    frame: bytes = b""
    exif: bytes = b""
    xmp: bytes = b""
    kept: list[bytes] = field(default_factory=list)
    scans: memoryview = field(default_factory=lambda: memoryview(b""))

    @property
    def size(self) -> tuple[int, int]:
        height, width = struct.unpack_from(">HH", self.frame, 1)
        return width, height

    @property
    def components(self) -> int:
        return self.frame[5]


def read(data: bytes, max_pixels: int, coarse: int | None = None) -> Source:
    """Decode `data`; if `coarse` is given, at a fraction of its size that leaves each side at least so many pixels.

    Raises TooLarge, and InvalidInput if anything about the picture's data is wrong.
    """
    jpeg = _parse(data)
    _check_frame(jpeg)
    check_size("JPEG", *jpeg.size, max_pixels)
    width, height = jpeg.size
    scale = next((s for s in SCALES if coarse and min(width // coarse, height // coarse) >= s), 1)
    pixels = attempt("JPEG", _strictly, _needed(jpeg), jpeg, scale)
    turned = orientation.find(jpeg.exif, jpeg.xmp)
    return Source(_shown(pixels), turned, (width / scale, height / scale))


def check(data: bytes) -> None:
    """Raises InvalidInput if libjpeg has anything to say against the data of `data`, which may be part of a TIFF."""
    jpeg = _parse(data)
    _check_frame(jpeg)
    attempt("JPEG", _strictly, _needed(jpeg), jpeg, SCALES[0])


def _strictly(data: bytes, jpeg: _Jpeg, scale: int) -> NDArray[np.uint8]:
    width, height = (-(-side // scale) if scale > 1 else 0 for side in jpeg.size)
    pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
        data, COLOURS[jpeg.components], False, False, min_height=height, min_width=width, strict=True
    )
    return pixels


def _shown(pixels: NDArray[np.uint8]) -> Image.Image | NDArray[np.uint8]:
    channels = pixels.shape[2]
    if channels == 3:
        return pixels
    if channels == 1:
        return Image.fromarray(pixels[..., 0])
    return Image.fromarray(255 - pixels, "CMYK")  # written inverted, as Adobe does and everybody after it


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Each segment's marker and content, and where it ends, up to the first scan."""
    at = 2
    for _ in range(MAX_HEADER_PARTS):
        at = data.find(b"\xff", at)
        while at >= 0 and data[at + 1 : at + 2] == b"\xff":
            at += 1
        marker = data[at + 1] if 0 <= at < len(data) - 1 else END
        if marker == END:
            return
        at += 2
        if marker in WITHOUT_LENGTH or not marker:
            continue
        length = int.from_bytes(data[at : at + 2])
        if length < 2 or at + length > len(data):
            return
        yield marker, data[at + 2 : at + length], at + length
        if marker == START_OF_SCAN:
            return
        at += length
    raise InvalidInput(f"the JPEG's header has too many parts; expected at most {MAX_HEADER_PARTS}")


def _parse(data: bytes) -> _Jpeg:
    jpeg = _Jpeg()
    for marker, content, end in _segments(data):
        if marker in FRAMES:
            if jpeg.frame:
                raise InvalidInput("the JPEG has two frames; expected one (not hierarchical)")
            jpeg.frame = content
        if marker in FRAMES | TABLES:
            jpeg.kept.append(_segment(marker, content))
        elif marker == APP0 and content.startswith(b"JFIF\0") and len(content) >= len(JFIF):
            jpeg.kept.append(_segment(APP0, JFIF))
        elif marker == APP14 and content.startswith(b"Adobe") and len(content) >= 12:
            jpeg.kept.append(_segment(APP14, content[:12]))
        elif marker == APP1 and content.startswith(EXIF):
            jpeg.exif = jpeg.exif or content
        elif marker == APP1 and content.startswith(XMP):
            jpeg.xmp = jpeg.xmp or content
        elif marker == START_OF_SCAN:
            jpeg.scans = memoryview(data)[end - len(content) - 4 :]
    return jpeg


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 255, marker, len(content) + 2) + content


def _check_frame(jpeg: _Jpeg) -> None:
    if len(jpeg.frame) < 6 or not jpeg.scans:
        raise InvalidInput("the JPEG ends early: it has no pixels")
    bits = jpeg.frame[0]
    if bits != 8 or jpeg.components not in COLOURS:
        raise InvalidInput(
            f"the JPEG has {jpeg.components} components of {bits} bits; expected 1, 3 or 4 components of 8 bits"
        )


def _needed(jpeg: _Jpeg) -> bytes:
    """A JPEG of the segments that decoding needs. Raises InvalidInput if it has too many scans."""
    data = b"".join([b"\xff\xd8", *jpeg.kept, jpeg.scans])
    width, height = jpeg.size
    scans = data.count(b"\xff\xda\0")
    most = max(1, min(MAX_SCANS, MAX_SCANNED_PIXELS // max(1, width * height)))
    if scans > most:
        raise InvalidInput(f"the JPEG has {scans} scans; expected at most {most}")
    return data
