"""Writes TIFFs in every layout that the service reads, by TIFF 6.0 and Adobe's technical notes, for the tests."""

import io
import struct
import zlib
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

Order = Literal["<", ">"]

COMPRESSIONS = {
    "none": (1, None),
    "LZW": (5, "tiff_lzw"),
    "deflate": (8, "zlib"),
    "old deflate": (32946, "zlib"),
    "PackBits": (32773, "packbits"),
    "LZMA": (34925, "lzma"),
    "Zstandard": (50000, "zstd"),
}
"""TIFF's number, and what compresses: zlib, or libtiff by the name that Pillow has for it."""

WITHOUT_PREDICTOR = ("none", "PackBits")
"""Compressions for which readers pass the tag over."""


def written(
    samples: NDArray[Any],
    *,
    order: Order = "<",
    photometric: int = 1,
    planar: bool = False,
    compression: str = "none",
    predictor: int = 1,
    tile: tuple[int, int] | None = None,
    extra: tuple[int, ...] = (),
    colour_map: NDArray[np.uint16] | None = None,
    orientation: int = 1,
) -> bytes:
    """The file for samples (height, width, samples per pixel), in tiles (height, width) or in strips of ten rows."""
    height, width, count = samples.shape
    number, codec = COMPRESSIONS[compression]
    meaningless = compression in WITHOUT_PREDICTOR or (predictor == 3 and samples.dtype.kind != "f")
    applied = 1 if meaningless else predictor
    planes = [samples[..., [plane]] for plane in range(count)] if planar else [samples]
    rows = [_compressed(_encoded(part, order, applied), codec) for plane in planes for part in _parts(plane, tile)]
    offsets = [8 + sum(len(part) for part in rows[:index]) for index in range(len(rows))]
    counts = [len(part) for part in rows]
    kind = {"u": 1, "i": 2, "f": 3}[samples.dtype.kind]
    shorts, longs = "H", "I"
    tags: dict[int, tuple[str, list[int]]] = {
        256: (longs, [width]),
        257: (longs, [height]),
        258: (shorts, [8 * samples.dtype.itemsize] * count),
        259: (shorts, [number]),
        262: (shorts, [photometric]),
        274: (shorts, [orientation]),
        277: (shorts, [count]),
        284: (shorts, [2 if planar else 1]),
        317: (shorts, [predictor]),
        339: (shorts, [kind] * count),
    }
    if tile:
        tags |= {322: (longs, [tile[1]]), 323: (longs, [tile[0]]), 324: (longs, offsets), 325: (longs, counts)}
    else:
        tags |= {273: (longs, offsets), 278: (longs, [10]), 279: (longs, counts)}
    if extra:
        tags[338] = shorts, list(extra)
    if colour_map is not None:
        tags[320] = shorts, colour_map.ravel().tolist()
    body = b"".join(rows)
    body += bytes(len(body) % 2)
    start = 8 + len(body)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start)
    return head + body + _directory(tags, order, start)


def _parts(plane: NDArray[Any], tile: tuple[int, int] | None) -> list[NDArray[Any]]:
    """Tiles are padded, a last strip is short."""
    height, width, _ = plane.shape
    if not tile:
        return [plane[top : top + 10] for top in range(0, height, 10)]
    padded = np.pad(plane, ((0, -height % tile[0]), (0, -width % tile[1]), (0, 0)))
    tops, lefts = range(0, height, tile[0]), range(0, width, tile[1])
    return [padded[top : top + tile[0], left : left + tile[1]] for top in tops for left in lefts]


def _encoded(part: NDArray[Any], order: Order, predictor: int) -> NDArray[np.uint8]:
    """The bytes (rows, stride) of a strip or tile."""
    rows, width, count = part.shape
    size = part.dtype.itemsize
    if predictor == 3:  # Technical Note 3: the highest bytes of a row first, then differences between bytes
        shuffled = part.astype(f">f{size}").view(np.uint8).reshape(rows, width * count, size).transpose(0, 2, 1)
        return _differences(shuffled.reshape(rows, size * width, count)).reshape(rows, -1)
    if predictor == 2:
        part = _differences(part.view(f"u{size}"))
    stored = np.ascontiguousarray(part.astype(part.dtype.newbyteorder(order)))
    return stored.view(np.uint8).reshape(rows, -1)


def _differences(values: NDArray[Any]) -> NDArray[Any]:
    """Of samples from those to their left, modulo the range of their type; the first of a row stay."""
    return np.concatenate([values[:, :1], values[:, 1:] - values[:, :-1]], axis=1)


def _compressed(rows: NDArray[np.uint8], codec: str | None) -> bytes:
    if codec is None:
        return rows.tobytes()
    if codec == "zlib":
        return zlib.compress(rows.tobytes(), 1)
    file = io.BytesIO()  # a grey picture of one strip
    Image.fromarray(rows).save(file, "TIFF", compression=codec, tiffinfo={278: len(rows)})
    file.seek(0)
    with tifffile.TiffFile(file) as found:
        page = found.pages.first
        (offset,), (length,) = page.dataoffsets, page.databytecounts
        return file.getvalue()[offset : offset + length]


def _directory(tags: dict[int, tuple[str, list[int]]], order: Order, start: int) -> bytes:
    entries, rest, after = b"", b"", start + 2 + 12 * len(tags) + 4
    for tag, (kind, values) in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}{kind}", *values)
        place = packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack(f"{order}I", after + len(rest))
        rest += packed if len(packed) > 4 else b""
        entries += struct.pack(f"{order}HHI", tag, 3 if kind == "H" else 4, len(values)) + place
    return struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + rest
