"""BMP, of Windows (versions 2 to 5 of its header) and OS/2: palettes, 16 to 32 bits by masks, runs."""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.errors import InvalidInput, TooLarge
from app.imaging.limits import MAX_RUN_LENGTH_PIXELS, check_size
from app.imaging.source import Source

Masks = tuple[int, int, int, int]
PLAIN, RUNS_OF_8, RUNS_OF_4, MASKS, ALPHA_MASKS = 0, 1, 2, 3, 6
COMPRESSIONS = {4: "JPEG", 5: "PNG", 11: "CMYK", 12: "CMYK runs of 8 bits", 13: "CMYK runs of 4 bits"}
BITS = {
    PLAIN: (1, 2, 4, 8, 16, 24, 32),
    RUNS_OF_8: (8,),
    RUNS_OF_4: (4,),
    MASKS: (16, 24, 32),
    ALPHA_MASKS: (16, 24, 32),
}
DEFAULT_MASKS: dict[int, Masks] = {
    16: (0x7C00, 0x3E0, 0x1F, 0),
    24: (0xFF0000, 0xFF00, 0xFF, 0),
    32: (0xFF0000, 0xFF00, 0xFF, 0),
}
BAND = 2**20
"""Pixels that are unpacked at a time."""


@dataclass(frozen=True, slots=True)
class _Header:
    width: int
    height: int
    top_down: bool
    bits: int
    compression: int
    masks: Masks
    palette: NDArray[np.uint8]  # (colours, 3) RGB
    start: int

    @property
    def stride(self) -> int:
        """Bytes of a row."""
        return (self.width * self.bits + 31) // 32 * 4


def size(data: bytes) -> tuple[int, int]:
    """Width and height, unchecked; 0 by 0 if no header is there."""
    if len(data) < 26:
        return 0, 0
    layout = "<HH" if data[14] == 12 else "<ii"
    width, height = struct.unpack_from(layout, data, 18)
    return max(0, width), abs(height)


def read(data: bytes, max_pixels: int) -> Source:
    """Decode `data`. Raises TooLarge, and InvalidInput if it is cut short or says what no BMP may say."""
    header = _header(data)
    check_size("BMP", header.width, header.height, max_pixels)
    if header.bits > 8:
        pixels: NDArray[np.uint8] = _masked(data, header)
    else:
        runs = header.compression in (RUNS_OF_8, RUNS_OF_4)
        indices = _run_length(data, header) if runs else _packed(data, header)
        highest = int(indices.max())
        if highest >= len(header.palette):
            raise InvalidInput(
                f"the BMP has a pixel of colour {highest}; expected less than {len(header.palette)}, as its palette has"
            )
        pixels = _coloured(indices, header.palette)
    pixels = pixels if header.top_down else pixels[::-1]
    return Source(pixels if pixels.ndim == 3 else Image.fromarray(pixels))


def _header(data: bytes) -> _Header:
    length = data[14]
    if len(data) < 14 + length:
        raise InvalidInput("the BMP ends early: it has no pixels")
    width, height = size(data)
    if length == 12:
        (bits,), compression, colours = struct.unpack_from("<H", data, 24), PLAIN, 0
    else:
        bits, compression = struct.unpack_from("<HI", data, 28)
        (colours,) = struct.unpack_from("<I", data, 46)
    if bits not in BITS.get(compression, ()) or (length == 64 and compression > RUNS_OF_4):
        named = COMPRESSIONS.get(compression, f"compression {compression}")
        found = "no compression" if compression == PLAIN else named
        raise InvalidInput(
            f"the BMP has {bits} bits per pixel and {found}; expected 1 to 32 bits, uncompressed, by masks or in runs"
        )
    masks, at = _masks(data, length, bits, compression)
    entry = 3 if length == 12 else 4
    colours = min(colours or 1 << bits, 1 << bits) if bits <= 8 else 0
    (start,) = struct.unpack_from("<I", data, 10)
    palette = np.frombuffer(data[at : at + entry * colours], np.uint8)
    palette = palette[: len(palette) // entry * entry].reshape(-1, entry)[:, 2::-1]
    top_down = length != 12 and struct.unpack_from("<i", data, 22)[0] < 0
    return _Header(width, height, top_down, bits, compression, masks, palette, start or at + entry * colours)


def _masks(data: bytes, length: int, bits: int, compression: int) -> tuple[Masks, int]:
    """The masks of red, green, blue and alpha, and where the palette starts."""
    after = 14 + length
    if compression not in (MASKS, ALPHA_MASKS):
        return DEFAULT_MASKS.get(bits, (0, 0, 0, 0)), after
    count = 3 if length == 52 or (length == 40 and compression == MASKS) else 4
    if len(data) < 54 + 4 * count:
        raise InvalidInput("the BMP ends early: it has no pixels")
    red, green, blue, alpha = (*struct.unpack_from(f"<{count}I", data, 54), 0)[:4]
    after = after if length > 40 else after + 4 * count
    if not red | green | blue | alpha and bits == 32:
        return (0xFF0000, 0xFF00, 0xFF, 0xFF000000), after  # what some writers mean by masks of nothing
    for mask in (red, green, blue):
        low = mask & -mask
        if not mask or (mask // low) & (mask // low + 1) or mask >> bits:
            raise InvalidInput(
                f"the BMP's masks are {red:#x}, {green:#x}, {blue:#x}; expected adjacent bits of a pixel"
            )
    return (red, green, blue, alpha), after


def _rows(data: bytes, header: _Header) -> NDArray[np.uint8]:
    """The bytes of all rows (height, stride). Raises InvalidInput if there are too few."""
    needed = header.stride * (header.height - 1) + (header.width * header.bits + 7) // 8
    found = memoryview(data)[header.start : header.start + header.stride * header.height]
    if len(found) < needed:
        raise InvalidInput(f"the BMP ends early: it has {len(found)} bytes of pixels; expected {needed}")
    missing = header.stride * header.height - len(found)
    return np.frombuffer(bytes(found) + bytes(missing) if missing else found, np.uint8).reshape(-1, header.stride)


def _packed(data: bytes, header: _Header) -> NDArray[np.uint8]:
    """Indices (height, width) of 1, 2, 4 or 8 bits, the leftmost pixel in the highest."""
    rows = _rows(data, header)
    if header.bits == 8:
        return rows[:, : header.width]
    shifts = np.arange(8 - header.bits, -1, -header.bits).astype(np.uint8)
    indices = rows[..., None] >> shifts & np.uint8((1 << header.bits) - 1)
    return np.asarray(indices.reshape(len(rows), -1)[:, : header.width])


def _coloured(indices: NDArray[np.uint8], palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB (height, width, 3), or (height, width) if every colour is grey: such pictures are averaged in grey."""
    if (palette == palette[:, :1]).all():
        return np.asarray(np.ascontiguousarray(palette[:, 0])[indices])
    return np.asarray(palette[indices])


def _masked(data: bytes, header: _Header) -> NDArray[np.uint8]:
    """RGB or RGBA (height, width, 3 or 4): of each mask's bits the value from 0 to 255."""
    rows, step = _rows(data, header), header.bits // 8
    masks = header.masks if header.masks[3] else header.masks[:3]
    pixels = np.empty((header.height, header.width, len(masks)), np.uint8)
    at_once = max(1, BAND // header.width)
    for top in range(0, header.height, at_once):
        band = rows[top : top + at_once, : step * header.width].reshape(-1, header.width, step)
        values = np.zeros(band.shape[:2], np.uint32)
        for byte in range(step):
            values |= band[..., byte].astype(np.uint32) << np.uint32(8 * byte)
        for channel, mask in enumerate(masks):
            pixels[top : top + at_once, :, channel] = _scaled(values, mask)
    return pixels


def _scaled(values: NDArray[np.uint32], mask: int) -> NDArray[np.uint32]:
    low = mask & -mask
    most = mask // low
    samples = (values & np.uint32(mask)) // np.uint32(low)
    return samples * np.uint32(255) // np.uint32(most) if most <= 255 else samples >> np.uint32(most.bit_length() - 8)


def _run_length(data: bytes, header: _Header) -> NDArray[np.uint8]:
    """Indices (height, width) of runs; what they skip is of colour 0."""
    count = header.width * header.height
    if count > MAX_RUN_LENGTH_PIXELS:
        size = f"{header.width} x {header.height} pixels in runs"
        raise TooLarge(f"the BMP has {size}; expected at most {MAX_RUN_LENGTH_PIXELS} in all")
    pixels = bytearray(count)
    reached = _draw_runs(data, header, pixels)
    if reached < count:
        rows = reached // header.width
        raise InvalidInput(f"the BMP ends early: it has {rows} rows in runs; expected {header.height}")
    return np.frombuffer(pixels, np.uint8).reshape(header.height, header.width)


def _draw_runs(data: bytes, header: _Header, pixels: bytearray) -> int:
    """Draw the runs into `pixels`; returns how many pixels, from the first, they passed."""
    width, at, x, y = header.width, header.start, 0, 0
    for _ in range(3 * len(pixels) + 1000):
        if at + 2 > len(data) or y >= header.height:
            break
        count, value = data[at], data[at + 1]
        at += 2
        if count or value > 2:
            run, at = _run(data, at, count, value, header.compression == RUNS_OF_4)
            run = run[: max(0, width - x)]
            pixels[y * width + x : y * width + x + len(run)] = run
            x += len(run)
        elif value == 0:
            x, y = 0, y + 1
        elif value == 1:
            return len(pixels) if y == header.height - 1 else y * width + x
        else:
            across, down = data[at : at + 2].ljust(2, b"\0")
            x, y, at = x + across, y + down, at + 2
    return y * width + x


def _run(data: bytes, at: int, count: int, value: int, four: bool) -> tuple[bytes, int]:
    """The pixels of a run, `count` times `value` or `value` different ones, and where the next one starts."""
    if count:
        return (bytes([value >> 4, value & 15]) * 128 if four else bytes([value]) * 255)[:count], at
    length = (value + 1) // 2 if four else value
    content = data[at : at + length]
    pixels = bytes(n for byte in content for n in (byte >> 4, byte & 15))[:value] if four else content
    return pixels, at + length + length % 2
