"""How a picture was held: the orientation that EXIF or XMP gives, and turning pixels upright."""

import re
import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TAG = 0x0112
FORMATS = {1: "B", 3: "H", 4: "I", 5: "II", 6: "b", 8: "h", 9: "i", 10: "ii", 11: "f", 12: "d", 16: "Q", 17: "q"}
"""TIFF 6.0's types of numbers, and BigTIFF's, as `struct` spells them."""

XMP = rb"""\b%s:Orientation(?:\s*=\s*["']|(?:\s[^<>]{0,200})?>)\s*([1-8])\s*["'<]"""
XMP_PREFIX = re.compile(rb"""xmlns:([\w.-]{1,30})\s*=\s*["']http://ns\.adobe\.com/tiff/1\.0/["']""")
"""What a packet calls TIFF's namespace, usually `tiff`."""

ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
"""How a block of EXIF begins, and its byte order as `struct` spells it."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF 2.32, 4.6.5.1.5: what makes a picture with this orientation upright."""


def find(exif: bytes = b"", xmp: bytes = b"") -> int:
    """The orientation, 1 to 8: from the EXIF block if it has one, else from the XMP packet, else 1, upright."""
    found = _from_exif(exif)
    if found is None:
        prefix = XMP_PREFIX.search(xmp)
        match = re.search(XMP % re.escape(prefix[1] if prefix else b"tiff"), xmp)
        found = int(match[1]) if match else 1
    return found if 1 <= found <= 8 else 1


def _from_exif(exif: bytes) -> int | None:
    """The orientation in an EXIF block's first directory; None without one, or if the block is broken."""
    block = exif.removeprefix(b"Exif\0\0")
    order = ORDERS.get(block[:4])
    if not order:
        return None
    try:
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, start)
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, length = struct.unpack_from(f"{order}HHI", block, at)
            if tag == TAG:
                return _value(block, order, kind, length, at + 8)
    except struct.error:
        pass  # a broken block says nothing about the pixels
    return None


def _value(block: bytes, order: str, kind: int, count: int, at: int) -> int | None:
    """The first value of a directory's entry, read as its type says."""
    layout = FORMATS.get(kind)
    if layout is None or not count:
        return None
    layout = order + layout
    if struct.calcsize(layout) * count > 4:
        (at,) = struct.unpack_from(f"{order}I", block, at)
    value, *divisor = struct.unpack_from(layout, block, at)
    if divisor:
        value = value / divisor[0] if divisor[0] else 0
    return int(value) if value in range(1, 9) else 1


def upright(picture: Image.Image, orientation: int) -> Image.Image:
    """`picture` as it was seen, from pixels stored with `orientation`."""
    turn = TURNS.get(orientation)
    return picture if turn is None else picture.transpose(turn)


def upright_array(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The same for pixels (H, W, channels); a view."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    vertical = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    horizontal = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return pixels[vertical, horizontal]
