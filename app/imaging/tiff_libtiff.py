"""TIFFs that libtiff decodes, by way of Pillow: pictures coded as JPEG or Group 4 fax, and YCbCr.

Pillow gets a directory with the tags that decoding needs and nothing else: it keeps a copy of what every tag claims,
and all may claim the same megabyte.
"""

import io
import struct

from PIL import Image, ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from app.errors import InvalidInput
from app.imaging import jpeg, libtiff, tiff_samples
from app.imaging import tiff_directory as tags
from app.imaging.orientation import FORMATS
from app.imaging.source import attempt
from app.imaging.tiff_layout import CODED, GROUP_4, JPEG, PLAIN, Layout

KEPT = {
    tags.WIDTH,
    tags.HEIGHT,
    tags.BITS,
    tags.COMPRESSION,
    tags.PHOTOMETRIC,
    tags.FILL_ORDER,
    tags.STRIP_OFFSETS,
    tags.SAMPLES,
    tags.ROWS_PER_STRIP,
    tags.STRIP_COUNTS,
    tags.PLANES,
    tags.GROUP_4,
    tags.PREDICTOR,
    tags.TILE_WIDTH,
    tags.TILE_HEIGHT,
    tags.TILE_OFFSETS,
    tags.TILE_COUNTS,
    tags.SAMPLE_FORMAT,
    tags.JPEG_TABLES,
    *tags.OLD_JPEG,
    tags.SUBSAMPLING,
    tags.POSITIONING,
    tags.REFERENCE,
    tags.COEFFICIENTS,
}
END_OF_BLOCK = 0x001001
MAX_TAG = 1_000_000
"""Bytes of a tag's values, lists of strips included."""


class _Tiff(TiffImageFile):
    """Pillow's reader, which asks libtiff for uncompressed YCbCr too; its own way misreads it."""

    def _setup(self) -> None:
        super()._setup()
        if not self.use_load_libtiff:
            self.use_load_libtiff = True
            arguments = ("RGBX", self._compression, False, self.tag_v2._offset)
            self.tile = [ImageFile._Tile("libtiff", (0, 0, *self.size), 0, arguments)]


def decode(data: bytes, directory: tags.Directory, layout: Layout) -> Image.Image:
    """Decode the first picture. Raises InvalidInput if it is cut short or corrupt."""
    chunks = _chunks(data, directory)
    if layout.compression == JPEG:
        _check_jpegs(chunks, directory.content(data, tags.JPEG_TABLES, MAX_TAG))
    elif layout.compression == GROUP_4:
        _check_faxes(chunks, layout.reversed_bits)
    elif PLAIN.get(layout.compression) == "deflate":
        for chunk in chunks:
            tiff_samples.check_deflated(chunk, layout.tile_width * layout.tile_height * layout.samples)
    file = _rewritten(data, directory)
    before = libtiff.errors()
    picture = attempt("TIFF", _decoded, file)
    if found := libtiff.errors() - before:
        kind = CODED.get(layout.compression, "YCbCr")
        raise InvalidInput(f"the TIFF cannot be decoded: its {kind} data has {found} error{'s' * (found > 1)}")
    return picture


def _decoded(file: bytes) -> Image.Image:
    picture = _Tiff(io.BytesIO(file))
    picture.load()
    return picture


def _chunks(data: bytes, directory: tags.Directory) -> list[memoryview]:
    """The stored strips or tiles. Raises InvalidInput if one reaches beyond the file, or they do so together."""
    numbers, view = directory.numbers, memoryview(data)
    offsets = numbers.get(tags.TILE_OFFSETS) or numbers.get(tags.STRIP_OFFSETS) or ()
    counts = numbers.get(tags.TILE_COUNTS) or numbers.get(tags.STRIP_COUNTS) or ()
    ends = [offset + count for offset, count in zip(offsets, counts, strict=False)]
    if ends and max(ends) > len(data):
        raise InvalidInput(f"the TIFF ends early: it has {len(data)} bytes; expected {max(ends)}")
    if sum(counts) > 2 * len(data):
        raise InvalidInput("the TIFF's strips or tiles claim more data than it has")
    return [view[start:end] for start, end in zip(offsets, ends, strict=False)]


def _check_jpegs(chunks: list[memoryview], tables: bytes) -> None:
    """Raises InvalidInput if libjpeg would warn of corrupt data in a strip: libtiff passes over such warnings."""
    shared = tables.removesuffix(b"\xff\xd9")
    for chunk in chunks:
        jpeg.check(shared + bytes(chunk[2:]) if shared else bytes(chunk))


def _check_faxes(chunks: list[memoryview], reversed_bits: bool) -> None:
    """Raises InvalidInput for a strip without its end (EOFB of ITU-T T.6): libtiff would make missing rows white."""
    for chunk in chunks:
        tail = bytes(chunk[-5:])
        last = int.from_bytes(tail.translate(tiff_samples.REVERSED) if reversed_bits else tail)
        if not any(last >> padding & 0xFFFFFF == END_OF_BLOCK for padding in range(16)):
            raise InvalidInput("the TIFF ends early: a strip of its CCITT Group 4 data has no end-of-block code")


def _rewritten(data: bytes, directory: tags.Directory) -> bytes:
    """`data` with a directory of its own at the end, and a header that points to it; offsets stay as they were."""
    order, start = directory.order, len(data) + len(data) % 2
    kept = sorted(KEPT & directory.entries.keys())
    entries, rest = b"", b""
    after = start + 2 + 12 * len(kept) + 4
    for tag in kept:
        kind, count, values = _plain_entry(data, directory, tag)
        place = values.ljust(4, b"\0") if len(values) <= 4 else struct.pack(f"{order}I", after + len(rest))
        rest += values if len(values) > 4 else b""
        entries += struct.pack(f"{order}HHI", tag, kind, count) + place
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start)
    # BigTIFF's header is longer, but nothing of a picture lies in either.
    listed = struct.pack(f"{order}H", len(kept)) + entries + bytes(4) + rest
    parts: list[bytes | memoryview] = [head, memoryview(data)[8:], bytes(len(data) % 2), listed]
    return b"".join(parts)


def _plain_entry(data: bytes, directory: tags.Directory, tag: int) -> tuple[int, int, bytes]:
    """Type, count and values, of which 64-bit ones become 32-bit ones."""
    kind, count, _ = directory.entries[tag]
    if tag in directory.numbers:
        values = directory.numbers[tag]
        if max(values) >= 2**32:
            raise InvalidInput(f"the TIFF's tag {tag} has the value {max(values)}; expected less than 2^32")
        kind = 3 if max(values) < 65_536 and tag not in tags.LISTS else 4
        layout = FORMATS[kind]
        return kind, len(values), struct.pack(f"{directory.order}{len(values)}{layout}", *values)
    size = struct.calcsize("=" + FORMATS.get(kind, "B"))
    if count * size > MAX_TAG:
        raise InvalidInput(f"the TIFF's tag {tag} has {count * size} bytes; expected at most {MAX_TAG}")
    content = directory.content(data, tag, MAX_TAG)
    return kind, len(content) // size, content
