"""The samples of a TIFF whose compression is one of bytes: every depth, sample format, plane, byte and bit order."""

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.errors import InvalidInput
from app.imaging import tiff_directory as tags
from app.imaging.limits import MAX_STRIPS
from app.imaging.source import attempt
from app.imaging.tiff_layout import FLOAT, PLAIN, SIGNED, Layout

REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
GROUP = 4_000_000
"""Bytes of samples that libtiff decompresses at a time, during which nothing else in Python runs, or numpy unpacks."""

BAND = 2**20
"""Samples of odd depths that are unpacked at a time."""

Samples = NDArray[Any]
"""Of any type; what it is, the layout says."""


def decode(data: bytes, directory: tags.Directory, layout: Layout) -> Samples:
    """(H, W, samples): uint8 if the samples are levels, of palettes their indices, else as they are stored.

    Raises InvalidInput if data is missing or corrupt.
    """
    picture = np.empty((layout.height, layout.width, layout.samples), _dtype_out(layout))
    tiles = _tiles(data, directory, layout)
    for (top, left, plane), stored in tiles:
        stored = stored[: layout.height - top, : layout.width - left]
        rows, columns = slice(top, top + stored.shape[0]), slice(left, left + stored.shape[1])
        if plane is None:
            picture[rows, columns] = stored
        else:
            picture[rows, columns, plane] = stored[..., 0]
    return picture


def _dtype_out(layout: Layout) -> np.dtype[np.generic]:
    if layout.photometric == 3:
        return np.dtype(np.uint8 if layout.bits <= 8 else np.uint16)
    if layout.photometric in (8, 9) or not layout.numeric:
        return np.dtype(np.uint8)
    return np.dtype(f"{'f' if layout.format == FLOAT else 'i' if layout.format == SIGNED else 'u'}{layout.bits // 8}")


Place = tuple[int, int, int | None]


def _tiles(data: bytes, directory: tags.Directory, layout: Layout) -> Iterator[tuple[Place, Samples]]:
    """Top, left and plane of a few rows of each tile, and their samples (rows, columns, samples in the plane)."""
    places, heights = _places(layout)
    samples = 1 if layout.planar else layout.samples
    stride = (layout.tile_width * samples * layout.bits + 7) // 8
    chunks = _chunks(data, directory, layout, [height * stride for height in heights])
    step = max(1, GROUP // stride)  # because a tile may be as large as the picture, and is copied on the way
    for place, height, chunk in zip(places, heights, _expanded(chunks, heights, stride, layout), strict=True):
        top, left, plane = place
        rows = np.frombuffer(chunk, np.uint8, height * stride).reshape(height, stride)
        for first in range(0, min(height, layout.height - top), step):
            some = rows[first : first + step]
            yield (top + first, left, plane), _levels(_samples(some, directory.order, layout, samples), layout)


def _places(layout: Layout) -> tuple[list[Place], list[int]]:
    """Where each tile lies, and how many rows it stores: a last strip is short, a last tile is padded."""
    planes: Sequence[int | None] = range(layout.samples) if layout.planar else (None,)
    tops, lefts = range(0, layout.height, layout.tile_height), range(0, layout.width, layout.tile_width)
    count = len(planes) * len(tops) * len(lefts)
    if count > MAX_STRIPS:
        raise InvalidInput(f"the TIFF has {count} strips or tiles; expected at most {MAX_STRIPS}")

    places: list[Place] = [(top, left, plane) for plane in planes for top in tops for left in lefts]
    whole = layout.tile_height
    return places, [whole if layout.tiled else min(whole, layout.height - top) for top, _, _ in places]


def _chunks(data: bytes, directory: tags.Directory, layout: Layout, sizes: Sequence[int]) -> list[memoryview]:
    """The stored bytes of each tile. Raises InvalidInput if some are missing, or claimed again and again."""
    which = (tags.TILE_OFFSETS, tags.TILE_COUNTS) if layout.tiled else (tags.STRIP_OFFSETS, tags.STRIP_COUNTS)
    offsets, counts = (directory.numbers.get(tag, ()) for tag in which)
    if layout.compression == 1:
        counts = tuple(sizes)  # some writers leave them out, or write nonsense that no decoder looks at
    elif not counts and len(sizes) == 1 and offsets:
        counts = (len(data) - offsets[0],)
    if len(offsets) < len(sizes) or len(counts) < len(sizes):
        found = min(len(offsets), len(counts))
        raise InvalidInput(f"the TIFF ends early: it has {found} strips or tiles; expected {len(sizes)}")
    if layout.compression != 1 and sum(counts[: len(sizes)]) > 2 * len(data):
        raise InvalidInput("the TIFF's strips or tiles claim more data than it has")
    view = memoryview(data)
    for offset, count in zip(offsets, counts, strict=False):
        if offset + count > len(data) and len(sizes):
            raise InvalidInput(f"the TIFF ends early: it has {len(data)} bytes; expected {offset + count}")
    chunks = [view[offset : offset + count] for offset, count in zip(offsets[: len(sizes)], counts, strict=False)]
    return [memoryview(bytes(chunk).translate(REVERSED)) for chunk in chunks] if layout.reversed_bits else chunks


def _expanded(
    chunks: list[memoryview], heights: Sequence[int], stride: int, layout: Layout
) -> Iterator[bytes | memoryview]:
    """The bytes of samples in each tile, `heights` times `stride` of them."""
    name = PLAIN[layout.compression]
    if name == "none":
        yield from chunks
    elif name == "deflate":
        for chunk, height in zip(chunks, heights, strict=True):
            yield memoryview(_inflated(chunk, height * stride))
    else:
        at_once = max(1, GROUP // (stride * layout.tile_height))
        start = 0
        while start < len(chunks):
            end = start + 1
            while end < len(chunks) and end - start < at_once and heights[end - 1] == layout.tile_height:
                end += 1
            pixels = attempt("TIFF", _by_libtiff, chunks[start:end], heights[start:end], stride, layout)
            rows = iter(np.split(pixels, np.cumsum(heights[start:end])[:-1]))
            yield from (np.ascontiguousarray(part).data.cast("B") for part in rows)
            start = end


def _inflated(chunk: memoryview, size: int) -> bytes:
    """zlib's stream to its end, so that its checksum is looked at. Raises InvalidInput unless it holds `size` bytes."""
    inflater = zlib.decompressobj()
    rows = attempt("TIFF", inflater.decompress, chunk, size)
    if len(rows) < size:
        raise InvalidInput(f"the TIFF ends early: a strip or tile has {len(rows)} bytes; expected {size}")
    _check_end(inflater, size)
    return rows


def check_deflated(chunk: memoryview, size: int) -> None:
    """Raises InvalidInput if the checksum of zlib's stream is wrong or missing; `size` is the most that it may hold."""
    inflater = zlib.decompressobj()
    attempt("TIFF", inflater.decompress, chunk, size)
    _check_end(inflater, size)


def _check_end(inflater: "zlib._Decompress", most: int) -> None:
    """Inflate what is left, to the checksum, but no more than `most` bytes."""
    surplus, rest = 0, inflater.unconsumed_tail
    while not inflater.eof and surplus <= most:
        more = attempt("TIFF", inflater.decompress, rest, 65_536)
        surplus, rest = surplus + len(more), inflater.unconsumed_tail
        if not more and not rest and not inflater.eof:
            raise InvalidInput("the TIFF ends early: a strip or tile ends before its checksum")


def _by_libtiff(chunks: Sequence[memoryview], heights: Sequence[int], stride: int, layout: Layout) -> NDArray[np.uint8]:
    """The bytes (rows, stride) of tiles, decompressed as the strips of a grey picture that is `stride` wide."""
    offsets, counts, at = [], [], 8
    for chunk in chunks:
        offsets.append(at)
        counts.append(len(chunk))
        at += len(chunk)
    numbers = {
        tags.WIDTH: [stride],
        tags.HEIGHT: [sum(heights)],
        tags.BITS: [8],
        tags.COMPRESSION: [layout.compression],
        tags.PHOTOMETRIC: [1],
        tags.STRIP_OFFSETS: offsets,
        tags.SAMPLES: [1],
        tags.ROWS_PER_STRIP: [heights[0]],
        tags.STRIP_COUNTS: counts,
    }
    file = b"".join([b"II*\0", struct.pack("<I", at), *chunks, directory_bytes(numbers, at)])
    with Image.open(io.BytesIO(file), formats=["TIFF"]) as picture:
        return np.asarray(picture)


def directory_bytes(numbers: dict[int, list[int]], at: int, order: str = "<") -> bytes:
    """A directory of LONG values that lies at byte `at` of a file, followed by the values that do not fit into it."""
    entries, rest = b"", b""
    after = at + 2 + 12 * len(numbers) + 4
    for tag, values in sorted(numbers.items()):
        packed = struct.pack(f"{order}{len(values)}I", *values)
        place = packed if len(values) == 1 else struct.pack(f"{order}I", after + len(rest))
        rest += packed if len(values) > 1 else b""
        entries += struct.pack(f"{order}HHI", tag, 4, len(values)) + place
    return struct.pack(f"{order}H", len(numbers)) + entries + bytes(4) + rest


def _samples(rows: NDArray[np.uint8], order: str, layout: Layout, samples: int) -> Samples:
    """Bytes (rows, stride) as numbers (rows, columns, samples) of the layout's type."""
    width, bits = layout.tile_width, layout.bits
    if layout.predicted and layout.predictor == 3:
        return _floats(rows, layout, samples)
    if bits in (8, 16, 32, 64):
        kind = {FLOAT: "f", SIGNED: "i"}.get(layout.format, "u")
        values: Samples = rows.view(f"{order}{kind}{bits // 8}").reshape(len(rows), width, samples)
        if layout.predicted:
            whole = values.view(f"{order}u{bits // 8}")
            native = np.dtype(f"u{bits // 8}")
            values = np.cumsum(whole, axis=1, dtype=native).view(f"={kind}{bits // 8}")
        return values
    if bits == 24:
        low, middle, high = (0, 1, 2) if order == "<" else (2, 1, 0)
        parts = rows.reshape(len(rows), width, samples, 3).astype(np.uint32)
        return parts[..., low] | parts[..., middle] << 8 | parts[..., high] << 16
    return _odd(rows, width * samples, bits).reshape(len(rows), width, samples)


def _floats(rows: NDArray[np.uint8], layout: Layout, samples: int) -> Samples:
    """Adobe's floating-point predictor (Technical Note 3): differences of bytes, the highest bytes of a row first."""
    size, width = layout.bits // 8, layout.tile_width
    whole = np.cumsum(rows.reshape(len(rows), size * width, samples), axis=1, dtype=np.uint8)
    planes = whole.reshape(len(rows), size, width * samples).transpose(0, 2, 1)
    return np.ascontiguousarray(planes).view(f">f{size}").reshape(len(rows), width, samples)


def _odd(rows: NDArray[np.uint8], count: int, bits: int) -> NDArray[np.uint16]:
    """`count` samples of 1 to 15 bits from each row of bytes, the first in the highest bits."""
    values = np.empty((len(rows), count), np.uint16)
    groups = -(-count // 8)  # of eight samples, which begin and end with a byte
    at_once = max(1, BAND // count)
    for top in range(0, len(rows), at_once):
        some = rows[top : top + at_once]
        padded = np.zeros((len(some), groups * bits), np.uint8)
        padded[:, : some.shape[1]] = some
        unpacked = _unpacked(padded.reshape(len(some), groups, bits), bits)
        values[top : top + at_once] = unpacked.reshape(len(some), -1)[:, :count]
    return values


def _unpacked(groups: NDArray[np.uint8], bits: int) -> NDArray[np.uint16]:
    """The eight samples in each group of `bits` bytes (…, bits) -> (…, 8)."""
    samples = np.empty((*groups.shape[:-1], 8), np.uint16)
    for i in range(8):
        first, end = i * bits // 8, -(-(i + 1) * bits // 8)  # the bytes that hold the sample
        whole = groups[..., first].astype(np.uint32)
        for byte in range(first + 1, end):
            whole = whole << np.uint32(8) | groups[..., byte]
        samples[..., i] = whole >> np.uint32(8 * end - (i + 1) * bits) & np.uint32((1 << bits) - 1)
    return samples


def _levels(values: Samples, layout: Layout) -> Samples:
    """0 to 255, unless the samples are indices or numbers."""
    bits = layout.bits
    if layout.photometric in (8, 9):
        whole = values.view(values.dtype.str.replace("i", "u"))
        return whole if bits == 8 else (whole >> 8).astype(np.uint8)
    if layout.photometric == 3 or layout.numeric or bits == 8:
        return values
    if bits > 8:
        return np.asarray(values >> (bits - 8)).astype(np.uint8)
    return np.asarray(values.astype(np.uint16) * 255 // ((1 << bits) - 1)).astype(np.uint8)
