"""PNG (ISO/IEC 15948): the chunks that decoding needs are checked and handed on, all others are passed over."""

import io
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from app.errors import InvalidInput
from app.imaging import orientation
from app.imaging.limits import MAX_CHUNKS, check_size
from app.imaging.source import Source, attempt

SIGNATURE = b"\x89PNG\r\n\x1a\n"
END = b"\0\0\0\0IEND\xae\x42\x60\x82"
"""The last chunk, which is empty, with its checksum."""

DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""Bits per sample that each colour type allows: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha."""

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of each pass of an interlaced picture: first column, first row, columns apart, rows apart."""

LAST_FILTER = 4
"""The filters of rows are 0 to 4."""
MAX_STORED = 65_535
"""Bytes of a block of deflate that is not compressed."""

MAX_XMP = 1_000_000
MAX_TEXTS = 8
"""Text chunks that are looked at: inflating each may take milliseconds."""
MAX_KEYWORD = 80
"""Bytes of a text chunk's keyword and the zero that ends it."""
XMP_KEYWORD = b"XML:com.adobe.xmp"
PROFILE_KEYWORD = re.compile(rb"Raw profile type (exif|APP1|xmp)", re.IGNORECASE)
XMP_BEGINNING = b"http://ns.adobe.com/xap/1.0/\0"
"""Of a packet that was copied from a JPEG."""

MORE_ROWS = 2**20
BAND = 500_000
"""Pixels whose transparency is looked at at a time."""


@dataclass(slots=True)
class _Png:
    """The chunks that are used."""

    header: bytes = b""
    palette: bytes = b""
    transparency: bytes = b""
    exif: bytes = b""
    raw_exif: bytes = b""
    texts: int = 0
    xmp: bytes = b""
    data: list[memoryview] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, int]:
        width, height = struct.unpack_from(">II", self.header)
        return width, height

    @property
    def bits(self) -> int:
        return self.header[8]

    @property
    def colour(self) -> int:
        return self.header[9]

    @property
    def interlaced(self) -> bool:
        return bool(self.header[12])


@lru_cache(maxsize=16)
def plain_beginning(side: int) -> bytes:
    """How a PNG of side x side pixels of 8-bit RGB begins: its signature and its header."""
    header = struct.pack(">4sII5B", b"IHDR", side, side, 8, 2, 0, 0, 0)
    return SIGNATURE + struct.pack(">I", 13) + header + zlib.crc32(header).to_bytes(4)


def plain(data: bytes, side: int) -> NDArray[np.uint8] | None:
    """The pixels (side, side, 3) of a PNG of that size in 8-bit RGB, in one chunk between its header and its end.

    OpenCV takes a third of Pillow's time for it. Returns None for any other picture and for a damaged one, which
    `read` deals with: OpenCV's libpng would write to stderr, a line of the log for each picture that a caller damages.
    """
    end = 41 + int.from_bytes(data[33:37])  # of the chunk that follows the header
    if not (data.startswith(plain_beginning(side)) and data[37:41] == b"IDAT" and data.startswith(END, end + 4)):
        return None
    if zlib.crc32(memoryview(data)[37:end]) != int.from_bytes(data[end : end + 4]):
        return None
    rows = _sound_rows(data[41:end], side)
    if not rows:
        return None
    pixels = cv2.imdecode(np.frombuffer(data[:33] + _stored(rows) + END, np.uint8), cv2.IMREAD_COLOR_RGB)
    return None if pixels is None else np.asarray(pixels)


def _sound_rows(data: bytes, side: int) -> bytes:
    """The inflated rows of a picture of side x side pixels of 8-bit RGB, each after its filter; empty if damaged."""
    row = 1 + 3 * side
    inflater = zlib.decompressobj()
    try:
        rows = inflater.decompress(data, row * side + 1)
    except zlib.error:
        return b""
    return rows if inflater.eof and len(rows) == row * side and max(rows[::row]) <= LAST_FILTER else b""


def _stored(rows: bytes) -> bytes:
    """Rows as an IDAT chunk of blocks that are not compressed (RFC 1951, section 3.2.4): to inflate twice is slow."""
    starts = range(0, len(rows), MAX_STORED)
    blocks = [b"IDAT\x78\x01"]
    for at in starts:
        part = rows[at : at + MAX_STORED]
        blocks += struct.pack("<BHH", at == starts[-1], len(part), len(part) ^ 0xFFFF), part
    chunk = b"".join([*blocks, zlib.adler32(rows).to_bytes(4)])
    return (len(chunk) - 4).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4)


def read(data: bytes, max_pixels: int) -> Source:
    """Decode `data`. Raises TooLarge, and InvalidInput if a chunk that is needed is damaged, missing or wrong."""
    png = _parse(data)
    _check_header(png)
    check_size("PNG", *png.size, max_pixels)
    _check_parts(png)
    picture = attempt("PNG", _decoded, png, None)
    _check_rows(png, picture)
    if png.colour == 3:
        _check_indices(png, picture)
    reduced = "16-bit samples" if png.bits == 16 else ""
    return Source(_keyed(png, picture), orientation.find(png.exif or png.raw_exif, png.xmp), reduced=reduced)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int, bool]]:
    """Each chunk's kind, the range of its content, and whether its checksum is right; a last one that is cut off too.

    Raises InvalidInput if there are too many, or one that decoding needs has a wrong checksum.
    """
    view, at = memoryview(data), 8
    for _ in range(MAX_CHUNKS):
        if at + 12 > len(data):
            return
        start, end = at + 8, at + 8 + int.from_bytes(view[at : at + 4])
        kind, found = data[at + 4 : start], view[end : end + 4]
        sound = len(found) == 4 and zlib.crc32(view[at + 4 : end]) == int.from_bytes(found)
        needed = not kind[0] & 32 or kind == b"tRNS"
        if needed and len(found) == 4 and not sound:
            raise InvalidInput(f"the PNG is corrupt: the checksum of its chunk {_name(kind)} is wrong")
        yield kind, start, min(end, len(data)), sound
        at = end + 4
        if kind == b"IEND":
            return
    raise InvalidInput(f"the PNG has more than {MAX_CHUNKS} chunks; expected at most that many")


def _name(kind: bytes) -> str:
    return kind.decode("ascii") if kind.isalpha() else kind.hex(" ")


def _parse(data: bytes) -> _Png:
    png, view = _Png(), memoryview(data)
    for kind, start, end, sound in _chunks(data):
        match kind:
            case b"IHDR":
                png.header = png.header or data[start:end]
            case b"PLTE":
                png.palette = png.palette or data[start:end]
            case b"IDAT":
                png.data.append(view[start:end])
            case b"tRNS" if not png.data:  # after the pixels it counts for nothing
                png.transparency = png.transparency or data[start:end]
            case b"eXIf" if sound:
                png.exif = data[start:end]
            case b"tEXt" | b"zTXt" | b"iTXt" if sound:
                _read_text(png, kind, memoryview(data)[start:end])
            case _ if not kind[0] & 32 and kind != b"IEND":
                found = f"the critical chunk {_name(kind)}"
                raise InvalidInput(f"the PNG has {found}, which is not standard; expected IHDR, PLTE, IDAT, IEND")
    return png


def _read_text(png: _Png, kind: bytes, content: memoryview) -> None:
    """Keep a text chunk that says how the picture was held: an XMP packet, or a profile as ImageMagick writes it."""
    keyword = bytes(content[:MAX_KEYWORD]).partition(b"\0")[0]
    known = keyword == XMP_KEYWORD or PROFILE_KEYWORD.fullmatch(keyword)
    if not known or png.texts == MAX_TEXTS:
        return
    png.texts += 1
    text = _text(kind, bytes(content[len(keyword) + 1 : len(keyword) + 1 + MAX_XMP]))
    if keyword != XMP_KEYWORD:
        text = _profile(text)
    if text.startswith(b"Exif\0\0"):
        png.raw_exif = png.raw_exif or text
    else:
        png.xmp = png.xmp or text.removeprefix(XMP_BEGINNING)


def _text(kind: bytes, rest: bytes) -> bytes:
    """The text of a chunk, after its keyword, or as much of it as anyone needs; empty if it is broken."""
    compressed = kind == b"zTXt" or (kind == b"iTXt" and rest[:1] == b"\1")
    if kind == b"iTXt":
        rest = rest[2:].split(b"\0", 2)[-1]
    elif compressed:
        rest = rest[1:]
    try:
        return zlib.decompressobj().decompress(rest, MAX_XMP) if compressed else rest
    except zlib.error:
        return b""


def _profile(text: bytes) -> bytes:
    """What ImageMagick's text stands for: a line with the profile's name, one with its length, and lines of hex."""
    try:
        return bytes.fromhex(text.split(b"\n", 3)[3].decode("ascii"))
    except (IndexError, ValueError):
        return b""


def _check_header(png: _Png) -> None:
    if len(png.header) != 13:
        raise InvalidInput(f"the PNG's header has {len(png.header)} bytes; expected 13")
    compression, filtering, interlace = png.header[10:]
    if png.bits not in DEPTHS.get(png.colour, ()):
        raise InvalidInput(
            f"the PNG has colour type {png.colour} with {png.bits} bits per sample; "
            f"expected one of the {sum(map(len, DEPTHS.values()))} pairs that the specification allows"
        )
    if compression or filtering or interlace > 1:
        raise InvalidInput(
            f"the PNG has compression {compression}, filter {filtering} and interlace {interlace}; "
            "expected 0, 0, and 0 or 1"
        )


def _check_parts(png: _Png) -> None:
    if not png.data:
        raise InvalidInput("the PNG ends early: it has no data (IDAT)")
    if png.colour == 3 and (not png.palette or len(png.palette) % 3 or len(png.palette) > 3 << png.bits):
        raise InvalidInput(
            f"the PNG's palette has {len(png.palette)} bytes; expected 3 for each of 1 to {1 << png.bits} colours"
        )


def _decoded(png: _Png, raw_mode: str | None) -> Image.Image:
    """Pillow's picture of the chunks that matter; `raw_mode` overrides how it reads samples."""
    file = io.BytesIO()
    file.write(SIGNATURE)
    parts: list[tuple[bytes, bytes | memoryview]] = [(b"IHDR", png.header)]
    if png.colour == 3:
        parts.append((b"PLTE", png.palette))
        if 0 < len(png.transparency) <= len(png.palette) // 3:
            parts.append((b"tRNS", png.transparency))
    parts += [(b"IDAT", part) for part in png.data] + [(b"IEND", b"")]
    for kind, content in parts:
        file.write(struct.pack(">I4s", len(content), kind))
        file.write(content)
        file.write(zlib.crc32(content, zlib.crc32(kind)).to_bytes(4) if kind != b"IDAT" else bytes(4))
    file.seek(0)
    picture = PngImageFile(file)
    if raw_mode:
        picture.tile = [picture.tile[0]._replace(args=raw_mode)]
    picture.load()
    return picture


def _check_rows(png: _Png, picture: Image.Image) -> None:
    """Raises InvalidInput if data for rows is missing: Pillow leaves such rows black and does not say so."""
    width, height = picture.size
    if not png.interlaced and np.asarray(picture.crop((0, height - 1, width, height))).any():
        return  # the last row was written
    expected, found = _bytes_of_rows(png), 0
    inflater = zlib.decompressobj()
    for part in png.data:
        rest: bytes | memoryview = part
        while found < expected and (rows := attempt("PNG", inflater.decompress, rest, MORE_ROWS)):
            found, rest = found + len(rows), inflater.unconsumed_tail
    if found < expected:
        raise InvalidInput(f"the PNG ends early: it has {found} bytes of pixels; expected {expected}")


def _bytes_of_rows(png: _Png) -> int:
    """Bytes of all rows, each with its filter, as they were before compression."""
    (width, height), bits = png.size, png.bits * CHANNELS[png.colour]
    passes = ADAM7 if png.interlaced else ((0, 0, 1, 1),)
    sizes = [(-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in passes]
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0)


def _check_indices(png: _Png, picture: Image.Image) -> None:
    highest, colours = int(np.asarray(picture).max()), len(png.palette) // 3
    if highest >= colours:
        raise InvalidInput(f"the PNG has a pixel of colour {highest}; expected less than {colours}, as its palette has")


def _keyed(png: _Png, picture: Image.Image) -> Image.Image:
    """The picture with the samples that tRNS declares transparent made so; at 8 bits Pillow does it by `info`."""
    key = struct.unpack(f">{len(png.transparency) // 2}H", png.transparency[: len(png.transparency) // 2 * 2])
    key = tuple(sample & (1 << png.bits) - 1 for sample in key)
    if png.colour not in (0, 2) or len(key) != CHANNELS[png.colour]:
        return picture
    if png.bits == 16:
        return _keyed_16(png, picture, key)
    scaled = tuple(sample * 255 // ((1 << png.bits) - 1) for sample in key)
    picture.info["transparency"] = scaled if png.colour == 2 else scaled[0]
    return picture.convert("RGBA" if png.colour == 2 else "LA")


def _keyed_16(png: _Png, picture: Image.Image, key: tuple[int, ...]) -> Image.Image:
    """All 16 bits of a sample must match, of which an 8-bit picture keeps the high ones: the low ones are read too."""
    low = attempt("PNG", _decoded, png, "RGB;16L") if png.colour == 2 else None
    width, height = picture.size
    alpha = Image.new("L", picture.size)
    grey = Image.new("L", picture.size if low is None else (0, 0))
    rows = max(1, BAND // width)
    for top in range(0, height, rows):  # because whole arrays would take a gigabyte
        box = (0, top, width, min(height, top + rows))
        values = np.asarray(picture.crop(box)).astype(np.uint16)
        if low is None:
            grey.paste(Image.fromarray((values >> 8).astype(np.uint8)), box)
            same = values == key[0]
        else:
            same = (values << 8 | np.asarray(low.crop(box)) == np.array(key, np.uint16)).all(axis=2)
        alpha.paste(Image.fromarray(np.where(same, np.uint8(0), np.uint8(255))), box)
    if low is None:
        return Image.merge("LA", (grey, alpha))
    picture.putalpha(alpha)
    return picture
