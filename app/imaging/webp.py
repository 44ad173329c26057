"""WebP (RFC 9649): of a still picture the chunks that decoding needs; of an animation the first frame."""

import struct
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidInput
from app.imaging import orientation
from app.imaging.limits import MAX_HEADER_PARTS, check_size
from app.imaging.source import Source, attempt

ANIMATED, ALPHA = 0x02, 0x10
MAX_BLOCK = 1_000_000


@dataclass(slots=True)
class _Frame:
    """A picture on a canvas: where it lies, its size, and its chunks."""

    left: int
    top: int
    width: int
    height: int
    data: bytes


def size(data: bytes) -> tuple[int, int]:
    """The canvas's width and height, unchecked; 0 by 0 if no header is there."""
    content = data[20:]
    match data[12:16]:
        case b"VP8X" if len(content) >= 10:
            return 1 + int.from_bytes(content[4:7], "little"), 1 + int.from_bytes(content[7:10], "little")
        case kind:
            return _coded_size(kind, content)


def _coded_size(kind: bytes, content: bytes) -> tuple[int, int]:
    if kind == b"VP8 " and len(content) >= 10:
        width, height = struct.unpack_from("<HH", content, 6)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L" and len(content) >= 5:
        (packed,) = struct.unpack_from("<I", content, 1)
        return 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    return 0, 0


def read(data: bytes, max_pixels: int) -> Source:
    """Decode `data`. Raises TooLarge, and InvalidInput if the picture's data is cut short or corrupt."""
    width, height = size(data)
    if not width:
        raise InvalidInput("the WebP ends early: it has no pixels")
    check_size("WebP", width, height, max_pixels)
    chunks = _chunks(data, 12)
    turned = orientation.find(chunks.get(b"EXIF", b"")[:MAX_BLOCK], chunks.get(b"XMP ", b"")[:MAX_BLOCK])
    if not chunks.get(b"VP8X", b"").ljust(1, b"\0")[0] & ANIMATED:
        return Source(_decoded(_coded(chunks), width, height), turned)
    frame = _first_frame(chunks)
    check_size("WebP", frame.width, frame.height, max_pixels, "a frame of the")
    if frame.left + frame.width > width or frame.top + frame.height > height:
        raise InvalidInput("the WebP's first frame reaches beyond the picture; expected it to lie inside")
    pixels = _decoded(_coded(_chunks(frame.data, 0)), frame.width, frame.height)
    if (frame.width, frame.height) == (width, height):
        return Source(pixels, turned)
    canvas = np.zeros((height, width, 4), np.uint8)
    part = canvas[frame.top : frame.top + frame.height, frame.left : frame.left + frame.width]
    part[..., 3] = 255
    part[..., : pixels.shape[2]] = pixels
    return Source(canvas, turned)


def _chunks(data: bytes, at: int) -> dict[bytes, bytes]:
    """The first chunk of each kind, the last one perhaps cut off."""
    chunks: dict[bytes, bytes] = {}
    for _ in range(MAX_HEADER_PARTS):
        if at + 8 > len(data):
            return chunks
        kind, length = struct.unpack_from("<4sI", data, at)
        if kind not in chunks:
            chunks[kind] = data[at + 8 : at + 8 + length]
        if at + 8 + length > len(data) and kind in (b"VP8 ", b"VP8L", b"ALPH", b"ANMF"):
            raise InvalidInput("the WebP ends early: it does not hold all of its pixels")
        at += 8 + length + length % 2
    return chunks


def _coded(chunks: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """The chunks that hold a picture's samples: one, and one of alpha before it where there is one."""
    for kind in (b"VP8L", b"VP8 "):
        if kind in chunks:
            alpha = [(b"ALPH", chunks[b"ALPH"])] if kind == b"VP8 " and b"ALPH" in chunks else []
            return [*alpha, (kind, chunks[kind])]
    raise InvalidInput("the WebP ends early: it has no pixels")


def _first_frame(chunks: dict[bytes, bytes]) -> _Frame:
    content = chunks.get(b"ANMF", b"")
    if len(content) < 16:
        raise InvalidInput("the WebP ends early: it has no frame")
    left, top, width, height = (int.from_bytes(content[at : at + 3], "little") for at in (0, 3, 6, 9))
    return _Frame(2 * left, 2 * top, 1 + width, 1 + height, content[16:])


def _decoded(coded: list[tuple[bytes, bytes]], width: int, height: int) -> NDArray[np.uint8]:
    """(height, width, 3 or 4). Raises InvalidInput if the coded picture has another size than its header says."""
    found = _coded_size(*coded[-1])
    if found != (width, height):
        raise InvalidInput(f"the WebP's header says {width} x {height} pixels, its data {found[0]} x {found[1]}")
    if len(coded) > 1:
        extended = struct.pack("<B3x", ALPHA) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        coded = [(b"VP8X", extended), *coded]
    body = b"".join(
        struct.pack("<4sI", kind, len(content)) + content + bytes(len(content) % 2) for kind, content in coded
    )
    file = struct.pack("<4sI4s", b"RIFF", len(body) + 4, b"WEBP") + body
    pixels = attempt("WebP", cv2.imdecode, np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 3:
        raise InvalidInput("the WebP cannot be decoded: its data is cut short or corrupt")
    cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB, dst=pixels)
    return np.asarray(pixels)
