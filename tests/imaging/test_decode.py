"""Pictures of every kind, whole, cut short, corrupt and hostile, to what the network receives."""

import io
import random
import struct
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFile, TiffImagePlugin

from app import imaging
from app.errors import InvalidInput, TooLarge, UnsupportedPicture
from app.imaging import full
from app.inference.metadata import Input
from tests.conftest import processor_seconds

Pixels = NDArray[np.uint8]
COLOUR = (200, 120, 40)
INPUT = Input()
SIDE = INPUT.size
thumbnail, resize, seen = (
    partial(imaging.thumbnail, input=INPUT),
    partial(imaging.resize, input=INPUT),
    partial(imaging.seen, fit=INPUT.fit),
)


def encoded(picture: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def noise(*shape: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def smooth(height: int, width: int) -> Pixels:
    """A colour gradient with a shape in it: something a photograph's codecs are good at."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    disc = 60.0 * ((x - 0.5) ** 2 + (y - 0.4) ** 2 < 0.07)
    return np.stack([180 * x + disc, 180 * y + disc, 180 * (1 - x) * (1 - y) + disc], axis=2).astype(np.uint8)


def flat(colour: tuple[int, int, int]) -> Pixels:
    return np.full((SIDE, SIDE, 3), colour, np.uint8)


def difference(a: Pixels, b: Pixels) -> int:
    assert a.shape == b.shape == (SIDE, SIDE, 3)
    assert a.dtype == b.dtype == np.uint8
    return int(np.abs(a.astype(int) - b).max())


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, bits: int, colour_type: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG from its parts; `rows` are already compressed."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def tiff(tags: dict[int, tuple[int, int, int]], rest: bytes = b"") -> bytes:
    """A little-endian TIFF of one directory: tag -> (type, count, value), then `rest`."""
    entries = b"".join(struct.pack("<HHII", tag, *entry) for tag, entry in sorted(tags.items()))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + rest


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


EXAMPLES = {
    "JPEG": encoded(Image.fromarray(smooth(60, 80)), "JPEG"),
    "progressive JPEG": encoded(Image.fromarray(smooth(60, 80)), "JPEG", progressive=True),
    "PNG": encoded(Image.fromarray(smooth(60, 80)), "PNG"),
    "palette PNG": encoded(Image.fromarray(smooth(60, 80)).quantize(16), "PNG", transparency=3),
    "WebP": encoded(Image.fromarray(smooth(60, 80)), "WEBP"),
    "lossless WebP": encoded(Image.fromarray(noise(20, 30, 4)), "WEBP", lossless=True),
    "GIF": encoded(Image.fromarray(smooth(60, 80)), "GIF"),
    "BMP": encoded(Image.fromarray(smooth(40, 50)), "BMP"),
    "TIFF": encoded(Image.fromarray(smooth(40, 50)), "TIFF"),
    "LZW TIFF": encoded(Image.fromarray(smooth(40, 50)), "TIFF", compression="tiff_lzw"),
    "deflate TIFF": encoded(Image.fromarray(smooth(40, 50)), "TIFF", compression="tiff_adobe_deflate"),
    "JPEG TIFF": encoded(Image.fromarray(smooth(40, 50)), "TIFF", compression="jpeg"),
    "fax TIFF": encoded(Image.fromarray(smooth(40, 50)).convert("1"), "TIFF", compression="group4"),
    "16-bit TIFF": encoded(Image.fromarray(noise(40, 50).astype(np.uint16) * 257), "TIFF"),
}


def assert_read_or_refused(data: bytes) -> None:
    try:
        pixels = thumbnail(data, max_pixels=1_000_000)
    except (UnsupportedPicture, TooLarge, InvalidInput) as refusal:
        pixels, detail = flat(COLOUR), refusal.detail
    else:
        detail = "the picture was read"
    assert pixels.shape == (SIDE, SIDE, 3)
    assert pixels.dtype == np.uint8
    assert 10 < len(detail) < 300


@pytest.mark.parametrize("format", ["PNG", "WEBP", "BMP", "TIFF"])
def test_a_picture_of_32x32_is_left_exactly_as_it_is(format: str) -> None:
    pixels = noise(SIDE, SIDE, 3)
    assert difference(thumbnail(encoded(Image.fromarray(pixels), format, lossless=True)), pixels) == 0


@pytest.mark.parametrize("side", [32, 60])
def test_a_png_that_was_damaged_on_its_way_is_refused(side: int) -> None:
    data = bytearray(encoded(Image.fromarray(smooth(side, side)), "PNG", compress_level=0))
    data[len(data) // 2] ^= 1  # a pixel's least bit, which every decoder would take
    for read in (thumbnail, full):
        with pytest.raises(InvalidInput, match="the PNG is corrupt: the checksum of its chunk IDAT is wrong"):
            read(bytes(data))
    with pytest.raises(InvalidInput, match="the PNG has more than 100000 chunks"):
        full(bytes(data[:33]) + 100_001 * chunk(b"tEXt", b""))


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (zlib.compress(16 * bytes(97)), "it has 1552 bytes of pixels; expected 3104"),
        (zlib.compress(32 * bytes(97))[:-1] + b"\xff", "broken data stream"),
        (zlib.compress(32 * (b"\x09" + bytes(96))), "unrecognized data stream contents"),
        (b"junk", "broken data stream"),
    ],
    ids=["rows missing", "wrong checksum", "unknown filter", "not zlib"],
)
def test_a_damaged_plain_png_is_refused_without_a_line_in_the_log(
    rows: bytes, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InvalidInput, match=reason):
        thumbnail(png(32, 32, 8, 2, rows))
    surplus = thumbnail(png(32, 32, 8, 2, zlib.compress(33 * bytes(97))))
    assert not surplus.any()
    assert capfd.readouterr().err == ""  # OpenCV's libpng writes there


def test_a_plain_png_is_read_as_any_other_is() -> None:
    pixels = noise(SIDE, SIDE, 3)
    plain = encoded(Image.fromarray(pixels), "PNG")
    turned = plain[:-12] + chunk(b"eXIf", exif(3).removeprefix(b"Exif\0\0")) + plain[-12:]  # told after the pixels
    assert np.array_equal(thumbnail(plain), pixels)
    assert np.array_equal(thumbnail(turned), pixels[::-1, ::-1])
    with pytest.raises(InvalidInput, match="the PNG is corrupt: "):
        thumbnail(plain[:60] + bytes([plain[60] ^ 1]) + plain[61:])
    with pytest.raises(TooLarge, match="32 x 32 pixels; expected at most 1000"):
        thumbnail(plain, max_pixels=1000)


@pytest.mark.parametrize("size", [32, 48, 63])
def test_a_small_jpeg_is_decoded_in_full(size: int) -> None:
    data = encoded(Image.fromarray(smooth(size, size)), "JPEG", quality=95)
    with Image.open(io.BytesIO(data)) as picture:
        assert difference(thumbnail(data), resize(np.asarray(picture))[0]) == 0


@pytest.mark.parametrize(("height", "width"), [(320, 640), (640, 320), (321, 500), (320, 320), (320, 5000)])
def test_what_is_seen_is_the_middle_and_nothing_else(height: int, width: int) -> None:
    left, top, right, bottom = seen(width, height)
    assert [left + right, top + bottom] == pytest.approx([1, 1])
    long, short = sorted([(right - left) * width, (bottom - top) * height], reverse=True)
    assert short == pytest.approx(min(height, width))
    assert long == pytest.approx(short * (max(height, width) / min(height, width)) ** 0.25)
    rows, columns = slice(round(top * height), round(bottom * height)), slice(round(left * width), round(right * width))
    pixels = noise(height, width, 3)
    middle = pixels[rows, columns] = smooth(*pixels[rows, columns].shape[:2])
    expected = np.asarray(Image.fromarray(middle).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    inner = slice(1, -1)  # fractions of a pixel of the rest are on the edges
    assert np.abs(thumbnail(encoded_png(pixels))[inner, inner].astype(int) - expected[inner, inner]).max() <= 6


def encoded_png(pixels: Pixels) -> bytes:
    return encoded(Image.fromarray(pixels), "PNG")


def test_reduction_averages_what_it_drops() -> None:
    pixels = smooth(640, 640)
    means = pixels.reshape(SIDE, 20, SIDE, 20, 3).mean(axis=(1, 3))
    error = np.abs(thumbnail(encoded_png(pixels)) - means)
    assert error.mean() < 1
    stripes = np.zeros((640, 640, 3), np.uint8)
    stripes[:, ::2] = 254
    assert difference(thumbnail(encoded_png(stripes)), flat((127, 127, 127))) <= 2


@pytest.mark.parametrize(
    ("mode", "format", "options", "tolerance"),
    [
        ("RGB", "JPEG", {}, 2),
        ("RGB", "JPEG", {"progressive": True}, 2),
        ("RGB", "PNG", {}, 0),
        ("RGB", "WEBP", {}, 4),
        ("RGB", "WEBP", {"lossless": True}, 0),
        ("RGB", "GIF", {}, 0),
        ("RGB", "BMP", {}, 0),
        ("RGB", "TIFF", {}, 0),
        ("RGB", "TIFF", {"compression": "tiff_lzw"}, 0),
        ("RGB", "TIFF", {"compression": "jpeg"}, 3),
        ("RGB", "TIFF", {"compression": "packbits", "big_tiff": True}, 0),
        ("RGBA", "PNG", {}, 0),
        ("RGBA", "WEBP", {"lossless": True}, 0),
        ("RGBA", "TIFF", {}, 0),
        ("RGBX", "TIFF", {}, 0),
        ("P", "PNG", {}, 0),
        ("P", "GIF", {}, 0),
        ("P", "BMP", {}, 0),
        ("P", "TIFF", {}, 0),
        ("CMYK", "JPEG", {}, 3),
        ("CMYK", "TIFF", {}, 2),
        ("YCbCr", "JPEG", {}, 3),
        ("YCbCr", "TIFF", {"compression": "tiff_lzw"}, 3),
        ("LAB", "TIFF", {}, 3),
    ],
)
def test_every_colour_mode_of_every_format_is_read(
    mode: str, format: str, options: dict[str, Any], tolerance: int
) -> None:
    if mode == "LAB":  # CIE L*a*b* of COLOUR, by the formulas of CIE 15 with a D50 white
        picture = Image.new("LAB", (100, 70), (148, 128 + 28, 128 + 54))
    else:
        picture = Image.new("RGB", (100, 70), COLOUR).convert(mode, palette=Image.Palette.ADAPTIVE)
    data = encoded(picture, format, **options)
    assert difference(thumbnail(data), flat(COLOUR)) <= tolerance


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_grey_and_bits_are_grey(mode: str, format: str) -> None:
    level = 255 if mode == "1" else 100
    data = encoded(Image.new("L", (50, 40), level).convert(mode), format)
    assert difference(thumbnail(data), flat((level, level, level))) == 0


def test_bits_and_palettes_are_averaged_not_sampled() -> None:
    checks = Image.fromarray(np.indices((640, 640)).sum(axis=0) % 2 == 0)
    for picture in (checks, checks.convert("P")):
        assert difference(thumbnail(encoded(picture, "PNG")), flat((127, 127, 127))) <= 2


def test_an_adobe_cmyk_jpeg_is_not_inverted() -> None:
    data = encoded(Image.new("CMYK", (64, 64), (0, 255, 255, 0)), "JPEG", quality=95)
    assert b"Adobe" in data
    assert difference(thumbnail(data), flat((255, 0, 0))) <= 4


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(format: str) -> None:
    values = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE) * 64
    seen = thumbnail(encoded(Image.fromarray(values), format))
    assert (seen == (values >> 8)[..., None]).all()


def test_16_bit_big_endian_and_12_bit_tiff_are_scaled() -> None:
    values = np.full((SIDE, SIDE), 40_000, ">u2").tobytes()
    entries = {256: SIDE, 257: SIDE, 258: 16, 259: 1, 262: 1, 273: 8 + 2 + 12 * 8 + 4, 277: 1, 279: len(values)}
    directory = b"".join(struct.pack(">HHIHH", tag, 3, 1, value, 0) for tag, value in entries.items())
    data = b"MM\0*\0\0\0\x08" + struct.pack(">H", 8) + directory + bytes(4) + values
    assert difference(thumbnail(data), flat((156, 156, 156))) == 0

    packed = bytes.fromhex("80 08 00") * (SIDE * SIDE // 2)  # two samples of 0x800
    tags = {tag: (3, 1, value) for tag, value in (entries | {258: 12, 279: len(packed)}).items()}
    assert difference(thumbnail(tiff(tags, packed)), flat((128, 128, 128))) == 0


@pytest.mark.parametrize(("colour_type", "samples"), [(2, 3), (4, 2), (6, 4), (0, 1)])
def test_16_bit_colour_png_is_scaled(colour_type: int, samples: int) -> None:
    colours = samples - (colour_type in (4, 6))
    pixel = (struct.pack(">H", 0x9C40) * colours + b"\xff\xff")[: 2 * samples]
    data = png(40, 40, 16, colour_type, zlib.compress((b"\0" + pixel * 40) * 40))
    assert difference(thumbnail(data), flat((0x9C, 0x9C, 0x9C))) == 0


def test_floats_from_0_to_1_are_black_to_white() -> None:
    values = np.full((64, 64), 0.25, np.float32)
    values[:, 32:] = 0.75
    seen = thumbnail(encoded(Image.fromarray(values), "TIFF"))
    assert set(seen[:, 0].flat) == {64}
    assert set(seen[:, -1].flat) == {191}


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_other_floats_and_32_bit_integers_are_stretched(dtype: type[np.generic]) -> None:
    values = np.full((SIDE, SIDE), -1000, dtype)
    values[:, 8:] = 1000
    values[:, 16:] = 3000
    seen = thumbnail(encoded(Image.fromarray(values), "TIFF"))
    assert [int(seen[0, x, 0]) for x in (0, 8, 31)] == [0, 128, 255]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, 7.0])
def test_extreme_floats_are_read_without_a_warning(value: float) -> None:
    values = np.full((64, 64), value, np.float32)
    assert thumbnail(encoded(Image.fromarray(values), "TIFF")).shape == (SIDE, SIDE, 3)
    values[:32] = -3e38
    assert thumbnail(encoded(Image.fromarray(values), "TIFF")).shape == (SIDE, SIDE, 3)


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("alpha", [0, 1, 128, 255])
def test_alpha_is_composited_on_white(format: str, alpha: int) -> None:
    data = encoded(Image.new("RGBA", (100, 50), (*COLOUR, alpha)), format, lossless=True, exact=True)
    expected = np.array(COLOUR) * (alpha / 255) + 255 - alpha
    assert np.abs(thumbnail(data) - expected).max() <= 1


def test_what_is_transparent_does_not_bleed_into_its_neighbours() -> None:
    pixels = np.zeros((320, 320, 4), np.uint8)
    pixels[::2] = 255  # white, opaque; the rows between are black, transparent
    assert difference(thumbnail(encoded_png(pixels)), flat((255, 255, 255))) <= 1


@pytest.mark.parametrize(
    ("colour_type", "bits", "pixel", "transparent"),
    [(0, 8, b"\x09", b"\0\x09"), (2, 8, b"\1\2\3", b"\0\1\0\2\0\3"), (0, 1, b"\0", b"\0\0"), (4, 8, b"\x09\0", b"")],
)
def test_a_transparent_colour_is_white(colour_type: int, bits: int, pixel: bytes, transparent: bytes) -> None:
    rows = zlib.compress((b"\0" + pixel * 32) * 32)
    seen = thumbnail(png(32, 32, bits, colour_type, rows, *([chunk(b"tRNS", transparent)] if transparent else [])))
    assert difference(seen, flat((255, 255, 255))) == 0


@pytest.mark.parametrize(("format", "transparency"), [("PNG", 0), ("PNG", b"\0"), ("GIF", 0)])
def test_a_palettes_transparent_entry_is_white(format: str, transparency: int | bytes) -> None:
    picture = Image.new("P", (64, 64), 0)
    picture.putpalette([0, 0, 0, *COLOUR])
    picture.paste(1, (0, 0, 32, 64))
    seen = thumbnail(encoded(picture, format, transparency=transparency))
    assert seen[16, 4].tolist() == list(COLOUR)
    assert seen[16, 28].tolist() == [255, 255, 255]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(("height", "width"), [(96, 96), (96, 161), (163, 96)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(format: str, height: int, width: int, orientation: int) -> None:
    upright = smooth(height, width)
    stored: dict[int, Callable[[Pixels], Pixels]] = {  # the inverse of what each orientation asks for
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: np.rot90(p, 1),
        7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
        8: lambda p: np.rot90(p, -1),
    }
    data = encoded(Image.fromarray(stored[orientation](upright)), format, exif=exif(orientation), quality=95)
    assert difference(thumbnail(data), thumbnail(encoded_png(upright))) <= 16


def test_a_compressed_tiff_is_turned_too() -> None:
    pixels = smooth(60, 90)
    data = encoded(Image.fromarray(np.rot90(pixels)), "TIFF", compression="tiff_lzw", tiffinfo={0x0112: 6})
    assert difference(thumbnail(data), thumbnail(encoded_png(pixels))) <= 1


@pytest.mark.parametrize(
    "block", [b"", b"I", b"II*\0", b"MM\0*\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff", b"x" * 40]
)
def test_a_broken_exif_block_does_not_spoil_the_picture(block: bytes) -> None:
    pixels = smooth(SIDE, SIDE)
    assert difference(thumbnail(encoded(Image.fromarray(pixels), "PNG", exif=b"Exif\0\0" + block)), pixels) == 0
    jpeg = encoded(Image.fromarray(pixels), "JPEG", quality=95)
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 8) + b"Exif\0\0" + block
    assert difference(thumbnail(jpeg[:2] + segment + jpeg[20:]), pixels) < 32


@pytest.mark.parametrize("value", [0, 9, 65_535])
def test_an_orientation_that_means_nothing_is_ignored(value: int) -> None:
    pixels = smooth(SIDE, SIDE)
    for format in ("PNG", "TIFF"):
        assert difference(thumbnail(encoded(Image.fromarray(pixels), format, exif=exif(value))), pixels) == 0


def gif(size: tuple[int, int], table: bytes, indices: bytes, at: tuple[int, int, int, int], key: int = -1) -> bytes:
    """One frame of 8-bit indices, cleared so often that every code has nine bits."""
    codes = "".join(format(code, "09b")[::-1] for index in indices for code in (256, index)) + format(257, "09b")[::-1]
    codes = codes.ljust(-(-len(codes) // 8) * 8, "0")
    data = bytes(int(codes[i : i + 8][::-1], 2) for i in range(0, len(codes), 8))
    control = struct.pack("<4BHBB", 0x21, 0xF9, 4, 1, 0, key, 0) if key >= 0 else b""
    head = b"GIF89a" + struct.pack("<HHBBB", *size, 0x80 | (len(table) // 3).bit_length() - 2, 0, 0) + table + control
    return head + struct.pack("<BHHHHBBB", 0x2C, *at, 0, 8, len(data)) + data + b"\0;"


COLOURS = bytes([200, 10, 10, 10, 200, 10, 10, 10, 200, 90, 90, 90])


@pytest.mark.parametrize("key", [-1, 2])
def test_what_a_gifs_first_frame_leaves_free_is_white(key: int) -> None:
    pixels = full(gif((4, 3), COLOURS, bytes([1, 1]), (1, 1, 2, 1), key))
    assert pixels.shape == (3, 4, 3)
    assert (pixels[1, 1:3] == (10, 200, 10)).all()
    pixels[1, 1:3] = 255
    assert (pixels == 255).all()
    assert (full(gif((4, 3), COLOURS, bytes([2, 2]), (1, 1, 2, 1), 2)) == 255).all()


def test_a_gif_has_a_colour_for_each_pixel() -> None:
    with pytest.raises(InvalidInput, match="the GIF has a pixel of colour 9; expected less than 4"):
        full(gif((2, 1), COLOURS, bytes([1, 9]), (0, 0, 2, 1)))
    assert full(gif((2, 1), COLOURS, bytes([1, 9]), (0, 0, 2, 1), key=9)).tolist() == [[[10, 200, 10], [255] * 3]]


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_an_animation_gives_its_first_frame(format: str) -> None:
    frames = [Image.new("RGB", (64, 48), colour) for colour in (COLOUR, (0, 0, 255))]
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], lossless=True)
    assert difference(thumbnail(data), flat(COLOUR)) <= 2


@pytest.mark.parametrize("size", [(1, 1), (1, 20_000), (20_000, 1), (2, 3), (31, 33), (129, 1000), (1025, 300)])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_odd_sizes_are_read(size: tuple[int, int], format: str) -> None:
    if format == "WEBP":  # which ends at 16,383 pixels
        size = min(size[0], 16_383), min(size[1], 16_383)
    assert difference(thumbnail(encoded(Image.new("RGB", size, COLOUR), format, lossless=True)), flat(COLOUR)) <= 2


def test_a_large_jpeg_is_read_coarsely_but_seen_the_same() -> None:
    pixels = np.asarray(Image.fromarray(smooth(300, 400)).resize((4001, 3003)))
    data = encoded(Image.fromarray(pixels), "JPEG", quality=90)
    with processor_seconds(5):
        seen = thumbnail(data)
    assert difference(seen, resize(pixels)[0]) <= 6


def test_arrays_go_the_same_way_as_pictures() -> None:
    pictures = np.stack([smooth(70, 90), noise(70, 90, 3)])
    expected = np.stack([thumbnail(encoded_png(picture)) for picture in pictures])
    assert (resize(pictures) == expected).all()
    assert (resize(np.asfortranarray(pictures)) == expected).all()
    assert (resize(pictures[0]) == expected[:1]).all()
    small = noise(5, SIDE, SIDE, 3)
    assert (resize(small) == small).all()
    assert resize(small[:0]).shape == resize(pictures[:0]).shape == (0, SIDE, SIDE, 3)
    assert resize(noise(1, 1, 20_000, 3)).shape == (1, SIDE, SIDE, 3)


BASE64_ADVICE = '; send the bytes that it stands for, or JSON: {"images": ["<base64>"]}'


@pytest.mark.parametrize(
    ("data", "found", "advice"),
    [
        (b"hello", 'begins with the text "hello"', ""),
        (b"BMW is a car", 'begins with the text "BMW is a car"', ""),
        (b"\x89PNG", "begins with the bytes 89 50 4e 47", ""),
        (b"%PDF-1.7\n", "is a PDF document", "; render the page as PNG first"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is an SVG drawing", "; render it as PNG first"),
        (b"<?xml version='1.0'?>\n<!-- x --><svg/>", "is an SVG drawing", "; render it as PNG first"),
        (b"<!DOCTYPE html><p>", "is a web page (HTML)", ""),
        (b'{"image": 1}', "is a JSON document", ""),
        (b"\0\0\1\0\1\0", "is a Windows icon (ICO)", ""),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "is a JPEG XL picture", ""),
        (b"8BPS\0\1", "is a Photoshop document (PSD)", ""),
        (b"\0\0\0\x20ftypisom", "is a video", ""),
        (b"PK\3\4", "is a ZIP archive", ""),
        (b"\x01\xda\x01\x01\0\3", "is an SGI picture", ""),
        (b"/* XPM */\n", "is an XPM drawing", ""),
        (b"#define frog_width 16\n", "is an XBM drawing", ""),
        (b"\0\0\0\0\x12\xaf", "is an FLI animation", ""),
        (b"\0\0\x0a" + bytes(9) + b"\xc7\0\xc7\0\x20\x08", "is a Truevision picture (TGA)", ""),
        (b"iVBORw0KGgoAAAANSUhEUg", "is Base64 text", BASE64_ADVICE),
        (b"data:image/jpeg;base64,/9j/4AAQSkZJRg", "is Base64 text", BASE64_ADVICE),
    ],
)
def test_what_is_not_read_is_named(data: bytes, found: str, advice: str) -> None:
    with pytest.raises(UnsupportedPicture) as caught:
        thumbnail(data)
    assert caught.value.detail == (f"the picture {found}; expected JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF{advice}")


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"hevc", b"mif1", b"msf1"])
def test_heic_is_named_with_what_to_do(brand: bytes) -> None:
    with pytest.raises(UnsupportedPicture, match=r"is a HEIC picture; .*; convert it to JPEG first"):
        thumbnail(b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic" + bytes(100))


def test_a_beginning_that_repeats_itself_is_recognised_quickly() -> None:
    with processor_seconds(0.5):
        for start in (b"<!--", b"<?xml", b"<!---->" * 1000, b" " * 100_000, b"{" * 100_000):
            with pytest.raises(UnsupportedPicture):
                thumbnail(start + b"<!---->" * 100_000)


def test_an_empty_picture_is_unsupported() -> None:
    with pytest.raises(UnsupportedPicture, match="is empty; expected JPEG, PNG"):
        thumbnail(b"")


def test_formats_that_pillow_reads_and_we_do_not_are_unsupported() -> None:
    for format in ("ICO", "PPM", "TGA", "PCX", "ICNS", "JPEG2000", "EPS", "PDF"):
        with pytest.raises(UnsupportedPicture):
            thumbnail(encoded(Image.new("RGB", (64, 64)), format))


def test_a_bomb_is_refused_from_its_header() -> None:
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(40_000 * 32)) for _ in range(100)) + packer.flush()
    bomb = png(40_000, 40_000, 8, 0, rows)
    tracemalloc.start()
    too_large = "the PNG has 40000 x 40000 pixels; expected at most 64000000"
    with processor_seconds(0.5), pytest.raises(TooLarge, match=too_large):
        thumbnail(bomb)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def patched(data: bytes, at: int, layout: str, *values: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(layout, changed, at, *values)
    return bytes(changed)


# Pillow 13 has limits of its own for a WebP's size, and for tags that share their data, and gets there first.
@pytest.mark.parametrize(
    ("data", "size"),
    [
        (patched(EXAMPLES["GIF"], 6, "<HH", 65_535, 65_535), "65535 x 65535"),
        (patched(EXAMPLES["BMP"], 18, "<ii", 50_000, 60_000), "50000 x 60000"),
        (patched(EXAMPLES["lossless WebP"], 21, "<I", 16_382 | 16_382 << 14), "16383 x 16383|268402689 pixels"),
        (
            tiff({256: (4, 1, 90_000), 257: (4, 1, 80_000), 258: (3, 1, 8), 262: (3, 1, 1), 273: (4, 1, 8)}),
            "90000 x 80000",
        ),
        (patched(EXAMPLES["JPEG"], EXAMPLES["JPEG"].index(b"\xff\xc0") + 5, ">HH", 65_000, 64_000), "64000 x 65000"),
    ],
)
def test_a_header_that_claims_a_huge_picture_is_refused(data: bytes, size: str) -> None:
    with pytest.raises(TooLarge, match=size):
        thumbnail(data)


def test_max_pixels_is_inclusive() -> None:
    data = encoded_png(smooth(10, 20))
    assert thumbnail(data, max_pixels=200).shape == (SIDE, SIDE, 3)
    with pytest.raises(TooLarge, match="the PNG has 20 x 10 pixels; expected at most 199 in all"):
        thumbnail(data, max_pixels=199)


def test_a_gif_frame_larger_than_its_screen_is_refused() -> None:
    data = EXAMPLES["GIF"]
    frame = data.index(b",\0\0\0\0\x50\0\x3c\0")
    with pytest.raises(TooLarge):
        thumbnail(patched(data, frame + 5, "<HH", 65_535, 65_535))


def test_a_tiff_tile_larger_than_the_picture_is_refused() -> None:
    rows = zlib.compress(bytes(10_000_000))
    sizes = {256: 100, 257: 100, 258: 8, 259: 8, 262: 1, 277: 1, 322: 20_000, 323: 20_000, 324: 134, 325: len(rows)}
    with pytest.raises(TooLarge, match="a tile of the TIFF has 20000 x 20000 pixels"):
        thumbnail(tiff({tag: (4, 1, value) for tag, value in sizes.items()}, rows))


def run_length_bmp(width: int, height: int, runs: bytes) -> bytes:
    """A BMP of 8 bits and two colours, black and red, whose rows go from the bottom up."""
    palette = bytes(4) + b"\0\0\xff\0"
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 2, 0)
    return b"BM" + struct.pack("<IHHI", 62 + len(runs), 0, 0, 62) + header + palette + runs


def test_a_run_length_coded_bmp_is_read_unless_it_could_exhaust_memory() -> None:
    red_below_black = bytes([32, 1, 0, 0] * 16 + [0, 2, 0, 16, 0, 1])
    pixels = thumbnail(run_length_bmp(32, 32, red_below_black))
    assert (pixels[16:] == (255, 0, 0)).all()
    assert (pixels[:16] == 0).all()
    skipping = b"\0\2\xff\xff" * 10
    with pytest.raises(TooLarge, match="5000 x 1000 pixels in runs; expected at most 4000000 in all"):
        thumbnail(run_length_bmp(5000, 1000, skipping))
    assert (thumbnail(run_length_bmp(32, 32, skipping)) == 0).all()


def overlapping_tags(size: int) -> bytes:
    """Tags that all claim the same `size` bytes; reading each into memory would take thousands of times as many."""
    return tiff({1000 + i: (7, size, 50) for i in range(2000)}, bytes(size))


def test_tags_that_share_their_data_cannot_exhaust_memory() -> None:
    tracemalloc.start()
    with pytest.raises(InvalidInput, match=r"the TIFF has 0 x 0 pixels"):
        thumbnail(overlapping_tags(200_000))
    block, jpeg = overlapping_tags(30_000), EXAMPLES["JPEG"]
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 8) + b"Exif\0\0" + block
    assert thumbnail(jpeg[:2] + segment + jpeg[20:]).shape == (SIDE, SIDE, 3)
    assert tracemalloc.get_traced_memory()[1] < 3_000_000
    tracemalloc.stop()


def test_a_header_of_endless_parts_is_refused() -> None:
    jpeg, gif = EXAMPLES["JPEG"], EXAMPLES["GIF"]
    frame = gif.index(b",\0\0\0\0")
    for data in (
        jpeg[:2] + b"\xff\xe1\0\x0cExif\0\0abcd" * 20_000 + jpeg[2:],
        gif[:frame] + b"!\xfe\x01a\0" * 20_000 + gif[frame:],
    ):
        with pytest.raises(InvalidInput, match="header has too many parts"):
            thumbnail(data)


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    data = EXAMPLES["progressive JPEG"]
    last = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(InvalidInput, match=r"the JPEG has \d+ scans; expected at most 100"):
        thumbnail(data[:-2] + 200 * last + data[-2:])


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_picture_cut_short_is_refused_or_read(name: str) -> None:
    data = EXAMPLES[name]
    for length in {*range(0, len(data), max(1, len(data) // 150)), *range(min(len(data), 60)), len(data) - 1}:
        assert_read_or_refused(data[:length])


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_picture_cut_in_half_is_refused_with_its_format_and_a_reason(name: str) -> None:
    data = EXAMPLES[name]
    with pytest.raises(InvalidInput, match=f"^the {name.split()[-1]} ends early: ..."):
        thumbnail(data[: len(data) // 2])


@pytest.mark.parametrize("name", EXAMPLES)
def test_corrupt_bytes_are_refused_or_read(name: str) -> None:
    chance = random.Random(name)
    for _ in range(600 if "TIFF" in name else 200):
        data = bytearray(EXAMPLES[name])
        header = min(len(data), 200 if chance.random() < 0.5 else len(data))
        for _ in range(chance.randint(1, 6)):
            # A TIFF's directory is at its end, where every other format has its pixels.
            at = chance.randrange(header) * chance.choice([1, -1])
            data[at] = chance.choice([0, 1, 127, 128, 255, chance.randrange(256)])
        assert_read_or_refused(bytes(data))


TAGS = st.sampled_from([*range(254, 300), 317, 320, 322, 323, 324, 325, 330, 338, 339, 347, 529, 530, 532, 700, 34_665])
ENTRIES = st.tuples(st.integers(0, 18), st.integers(0, 5) | st.integers(0, 2**32 - 1), st.integers(0, 300))


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(TAGS, ENTRIES | st.tuples(st.just(3), st.just(1), st.integers(0, 40)), max_size=12),
    st.sampled_from([1, 2, 3, 4, 5, 7, 8, 32_773, 34_712, 50_000]),
    st.binary(max_size=200),
)
def test_a_tiff_of_any_tags_is_refused_or_read(
    tags: dict[int, tuple[int, int, int]], compression: int, rest: bytes
) -> None:
    plausible = {256: (3, 1, 20), 257: (3, 1, 10), 258: (3, 1, 8), 259: (3, 1, compression), 262: (3, 1, 1)}
    assert_read_or_refused(tiff(plausible | {273: (4, 1, 8), 277: (3, 1, 1), 279: (4, 1, 200)} | tags, rest))


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(
        [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x40\0\0\0WEBP", b"GIF89a", b"II*\0", b"MM\0*", b"II+\0"]
    )
    | st.just(b"BM" + bytes(12) + b"\x28\0\0\0"),
    st.binary(max_size=100),
)
def test_any_bytes_after_a_known_beginning_are_refused_or_read(beginning: bytes, rest: bytes) -> None:
    assert_read_or_refused(beginning + rest)


@pytest.mark.parametrize(
    "error", [OSError, SyntaxError, ValueError, struct.error, EOFError, KeyError, RecursionError, zlib.error]
)
def test_whatever_pillow_raises_is_the_pictures_fault(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: ImageFile.ImageFile) -> None:
        raise error("x" * 5000)

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(InvalidInput, match=r"the GIF (cannot be decoded: '?xxx|ends early)") as caught:
        thumbnail(EXAMPLES["GIF"])
    assert len(caught.value.detail) < 200
    # An error that is kept would keep its frames, and with them the picture's bytes.
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_too_little_memory_is_not_the_pictures_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: ImageFile.ImageFile) -> None:
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(MemoryError):
        thumbnail(EXAMPLES["GIF"])


def test_pillows_warnings_are_neither_raised_nor_shown_in_any_thread(capfd: pytest.CaptureFixture[str]) -> None:
    data = tiff({256: (3, 1, 20), 257: (3, 1, 10), 270: (2, 9000, 8)})
    with pytest.warns(UserWarning, match="Corrupt EXIF data"):
        TiffImagePlugin.ImageFileDirectory_v2(data[:8]).load(io.BytesIO(b"\x01\0"))
    with warnings.catch_warnings(), ThreadPoolExecutor(4) as pool:
        warnings.simplefilter("error")
        list(pool.map(assert_read_or_refused, [data] * 200))
    assert capfd.readouterr() == ("", "")


def test_pillows_switches_for_the_whole_process_are_left_alone() -> None:
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    assert Image.MAX_IMAGE_PIXELS is not None
