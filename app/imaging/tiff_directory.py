"""A TIFF's first directory (TIFF 6.0, section 2, and BigTIFF): the tags that matter, each read as its type says."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from app.errors import InvalidInput
from app.imaging.limits import MAX_HEADER_PARTS, MAX_STRIPS
from app.imaging.orientation import FORMATS

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_COUNTS = 273, 274, 277, 278, 279
PLANES, GROUP_4, PREDICTOR, COLOUR_MAP = 284, 293, 317, 320
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 322, 323, 324, 325
INK_SET, EXTRA_SAMPLES, SAMPLE_FORMAT, JPEG_TABLES = 332, 338, 339, 347
OLD_JPEG = range(512, 522)
SUBSAMPLING, POSITIONING, REFERENCE, COEFFICIENTS, XMP = 530, 531, 532, 529, 700

ONE_VALUE = {WIDTH, HEIGHT, COMPRESSION, PHOTOMETRIC, FILL_ORDER, ORIENTATION, SAMPLES, ROWS_PER_STRIP, PLANES}
LISTS = {STRIP_OFFSETS, STRIP_COUNTS, TILE_OFFSETS, TILE_COUNTS}
NUMBERS = (
    ONE_VALUE | LISTS | {BITS, PREDICTOR, COLOUR_MAP, TILE_WIDTH, TILE_HEIGHT, INK_SET, EXTRA_SAMPLES, SAMPLE_FORMAT}
)
MAX_VALUES = 3 * 65_536
"""Of any tag but the lists of strips: a colour map for 16 bits."""

BYTES = (2, 7)
"""ASCII and UNDEFINED."""

Values = Sequence[float]


@dataclass(frozen=True, slots=True)
class Directory:
    """The tags of NUMBERS that a TIFF has, the content of a few others, and its byte order as `struct` spells it."""

    order: str
    numbers: dict[int, tuple[int, ...]]
    entries: dict[int, tuple[int, int, int]]
    """Tag -> type, count and position of its values in the file."""

    def one(self, tag: int, default: int) -> int:
        """The first value of a tag."""
        return self.numbers.get(tag, (default,))[0]

    def content(self, data: bytes, tag: int, most: int) -> bytes:
        """At most `most` bytes of a tag's values."""
        kind, count, at = self.entries.get(tag, (1, 0, 0))
        return data[at : at + min(most, count * struct.calcsize("=" + FORMATS.get(kind, "B")))]


def read(data: bytes) -> Directory:
    """The first directory. Raises InvalidInput if it is cut off, or one of NUMBERS is not what it should be."""
    order = "<" if data[:1] == b"I" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    try:
        (start,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, start)
        if count > MAX_HEADER_PARTS:
            raise InvalidInput(f"the TIFF has {count} tags; expected at most {MAX_HEADER_PARTS}")
        entries = _entries(data, order, big, start, count)
    except struct.error:
        raise InvalidInput("the TIFF ends early: its directory is cut off") from None
    except OverflowError:
        raise InvalidInput("the TIFF's directory lies beyond its end") from None
    numbers = {tag: _numbers(data, order, tag, *entry) for tag, entry in entries.items() if tag in NUMBERS}
    return Directory(order, numbers, entries)


def _entries(data: bytes, order: str, big: bool, start: int, count: int) -> dict[int, tuple[int, int, int]]:
    entries: dict[int, tuple[int, int, int]] = {}
    head, inline, step, word = (order + "HHQ", 8, 20, order + "Q") if big else (order + "HHI", 4, 12, order + "I")
    at = start + (8 if big else 2)
    for _ in range(count):
        tag, kind, length = struct.unpack_from(head, data, at)
        place = at + step - inline
        if length * struct.calcsize("=" + FORMATS.get(kind, "B")) > inline:
            (place,) = struct.unpack_from(word, data, place)
        entries.setdefault(tag, (kind, length, place))
        at += step
    return entries


def _numbers(data: bytes, order: str, tag: int, kind: int, count: int, at: int) -> tuple[int, ...]:
    layout = FORMATS.get(kind)
    most = MAX_STRIPS if tag in LISTS else MAX_VALUES
    if layout is None or kind in (5, 10) or not count:
        raise InvalidInput(f"the TIFF's tag {tag} has type {kind} and {count} values; expected numbers")
    if count > most:
        what = "strips or tiles" if tag in LISTS else f"values in tag {tag}"
        raise InvalidInput(f"the TIFF has {count} {what}; expected at most {most}")
    count = 1 if tag in ONE_VALUE else count
    if at + struct.calcsize(f"={count}{layout}") > len(data):
        raise InvalidInput(f"the TIFF ends early: its tag {tag} is cut off")
    values = struct.unpack_from(f"{order}{count}{layout}", data, at)
    if not all(0 <= value < 2**63 for value in values):
        raise InvalidInput(f"the TIFF's tag {tag} has the value {min(values)}; expected none below 0")
    return tuple(map(int, values))
