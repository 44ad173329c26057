"""Pictures whose header says what decoders overlook: keys, rows, chunks, checksums, orientations, sizes."""

import io
import resource
import struct
import tracemalloc
import zlib
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app import imaging
from app.errors import InvalidInput, TooLarge
from app.imaging import full, orientation, read
from app.imaging import png as reader
from app.inference.metadata import Input
from tests.conftest import processor_seconds

Pixels = NDArray[np.uint8]


def encoded(picture: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def scene(side: int = 64) -> Image.Image:
    y, x = np.mgrid[0 : 1 : side * 1j, 0 : 1 : side * 1j]
    return Image.fromarray(np.stack([200 * x, 200 * y, 255 * (x * y)], axis=2).astype(np.uint8))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, bits: int, colour: int, rows: bytes, *extra: bytes, interlace: int = 0) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_grey_that_is_declared_transparent_is_white(bits: int) -> None:
    most = (1 << bits) - 1
    key, other = most // 3, most
    samples = "".join(format(v, f"0{bits}b") for v in (key, other) * 8)
    row = b"\0" + int(samples, 2).to_bytes(2 * bits)
    pixels = full(png(16, 4, bits, 0, row * 4, chunk(b"tRNS", struct.pack(">H", key))))
    assert (pixels[:, ::2] == 255).all()
    dark = full(png(16, 4, bits, 0, row * 4, chunk(b"tRNS", struct.pack(">H", other))))
    assert (dark[:, ::2] == (key * 255 // most)).all()


def test_all_16_bits_of_a_transparent_colour_count() -> None:
    same, near = struct.pack(">HHH", 0x1234, 0x5678, 0x9ABC), struct.pack(">HHH", 0x1234, 0x5679, 0x9ABC)
    pixels = full(png(4, 4, 16, 2, (b"\0" + (same + near) * 2) * 4, chunk(b"tRNS", same)))
    assert (pixels[:, ::2] == 255).all()
    assert (pixels[:, 1::2] == (0x12, 0x56, 0x9A)).all()
    grey = full(png(2, 1, 16, 0, b"\0\x12\x34\x12\x35", chunk(b"tRNS", b"\x12\x34")))
    assert grey[0, :, 0].tolist() == [255, 0x12]


@pytest.mark.parametrize(("colour", "key"), [(0, ">H"), (2, ">HHH")])
def test_a_transparent_colour_of_16_bits_is_looked_for_in_bands(
    colour: int, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole arrays of a picture as large as the limit allows took 1.4 GB."""
    monkeypatch.setattr(reader, "BAND", 50_000)
    channels = len(key) - 1
    data = png(2000, 2000, 16, colour, bytes(1 + 4000 * channels) * 2000, chunk(b"tRNS", bytes(2 * channels)))
    tracemalloc.start()
    try:
        picture = reader.read(data, 4_000_000).pixels
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6_000_000  # of one channel there are 8,000,000 bytes
    assert isinstance(picture, Image.Image)
    assert picture.getchannel("A").getextrema() == (0, 0)


@pytest.mark.parametrize("interlace", [0, 1])
def test_a_png_without_all_of_its_rows_is_rejected(interlace: int) -> None:
    row = b"\0" + bytes(range(1, 41)) * 3
    with pytest.raises(InvalidInput, match=r"the PNG (ends early|cannot be decoded)"):
        full(png(40, 40, 8, 2, row * 20, interlace=interlace))


def test_black_rows_are_rows() -> None:
    assert (full(png(8, 8, 8, 0, bytes(9 * 8))) == 0).all()


@pytest.mark.parametrize(
    "ancillary",
    [
        chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(3_000_000))),
        chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(3_000_000))),
        chunk(b"tEXt", b"a\0b")[:-1] + b"\0",
        chunk(b"eXIf", b"II*\0")[:-1] + b"\0",
        chunk(b"pHYs", b"\0"),
        chunk(b"gAMA", b""),
        chunk(b"acTL", b"\0"),
        chunk(b"fcTL", b"\0" * 5),
        chunk(b"sRGB", b""),
        chunk(b"cHRM", b"abc"),
        chunk(b"abCd", b"\0"),
    ],
)
def test_a_chunk_that_decoding_does_not_need_is_passed_over(ancillary: bytes) -> None:
    rows = b"".join(b"\0" + bytes([y]) * 40 * 3 for y in range(40))
    assert np.array_equal(full(png(40, 40, 8, 2, rows, ancillary)), full(png(40, 40, 8, 2, rows)))
    small = png(32, 32, 8, 2, (b"\0" + b"\7" * 96) * 32, ancillary)
    assert (imaging.thumbnail(small, Input()) == 7).all()


def test_a_png_that_contradicts_itself_is_rejected_by_name() -> None:
    for data, found in [
        (png(4, 4, 3, 0, bytes(100)), "colour type 0 with 3 bits"),
        (png(4, 4, 8, 3, bytes(100)), "palette has 0 bytes"),
        (
            png(4, 4, 8, 3, bytes(20)[:19] + b"\5", chunk(b"PLTE", bytes(6))),
            "a pixel of colour 5; expected less than 2",
        ),
        (png(4, 4, 8, 2, bytes(100), chunk(b"CgBI", b"")), "the critical chunk CgBI"),
    ]:
        with pytest.raises(InvalidInput, match=found):
            full(data)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 4}])
def test_a_jpeg_whose_decoder_warns_is_rejected(options: dict[str, Any]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    data = bytearray(encoded(Image.fromarray(noise), "JPEG", **options))
    assert full(bytes(data)).shape == (300, 300, 3)
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    for decode in (full, partial(imaging.thumbnail, input=Input())):
        with pytest.raises(InvalidInput, match=r"the JPEG (cannot be decoded|ends early)"):
            decode(bytes(data))


def test_a_jpeg_without_its_end_ends_early() -> None:
    with pytest.raises(InvalidInput, match="the JPEG ends early"):
        full(encoded(scene(), "JPEG")[:-2])


@pytest.mark.parametrize(
    "segment",
    [
        b"\xff\xe0\0\x10JFIF\0\7\7\0\0\1\0\1\0\0",
        b"\xff\xe2\0\x10ICC_PROFILE\0\1\1",
        b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\1",
        b"\xff\xed\0\x08Photos",
        b"\xff\xfe\0\x06junkjunk",
    ],
)
def test_a_segment_that_decoding_does_not_need_is_passed_over(segment: bytes) -> None:
    data = encoded(scene(), "JPEG")
    assert np.array_equal(full(data[:2] + segment + data[20:]), full(data))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "layout", "value"), [(1, "B", 6), (3, "H", 6), (4, "I", 6), (8, "h", 6), (9, "i", 6)])
def test_an_orientation_is_read_as_its_type_says(order: str, kind: int, layout: str, value: int) -> None:
    block = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IHHHI", 8, 1, 0x112, kind, 1)
    block += struct.pack(order + layout, value).ljust(4, b"\0") + bytes(4)
    picture = scene().crop((0, 0, 64, 40))
    data = encoded(picture, "PNG", exif=b"Exif\0\0" + block)
    assert np.array_equal(full(data), np.rot90(np.asarray(picture), -1))
    jpeg = encoded(picture, "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 8) + b"Exif\0\0" + block
    assert full(jpeg[:20] + segment + jpeg[20:]).shape == (64, 40, 3)


@pytest.mark.parametrize("packet", [b'<x tiff:Orientation="6"/>', b"<tiff:Orientation>6</tiff:Orientation>"])
def test_an_orientation_in_xmp_is_applied(packet: bytes) -> None:
    picture = scene().crop((0, 0, 64, 40))
    jpeg = encoded(picture, "JPEG", xmp=packet)
    webp = encoded(picture, "WEBP", xmp=packet, lossless=True)
    text = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(packet)
    rows = encoded(picture, "PNG")
    turned = np.rot90(np.asarray(picture), -1)
    assert full(jpeg).shape == (64, 40, 3)
    assert np.array_equal(full(webp), turned)
    assert np.array_equal(full(rows[:33] + chunk(b"iTXt", text) + rows[33:]), turned)
    assert np.array_equal(full(encoded(picture, "TIFF", tiffinfo={700: packet})), turned)


def test_avif_is_read_and_turned_as_its_container_says() -> None:
    picture = scene().crop((0, 0, 64, 40))
    exif = Image.Exif()
    exif[0x112] = 6
    pixels = full(encoded(picture, "AVIF", quality=95, exif=exif))
    assert pixels.shape == (64, 40, 3)
    assert np.abs(pixels - np.rot90(np.asarray(picture), -1).astype(float)).mean() < 4
    with pytest.raises(TooLarge, match="the AVIF has 64 x 40 pixels"):
        full(encoded(picture, "AVIF"), max_pixels=100)


def test_a_gif_without_all_of_its_rows_is_rejected() -> None:
    header = b"GIF89a" + struct.pack("<HHBBB", 4, 4, 0x80, 0, 0) + bytes(3) + b"\xff" * 3
    image = b"," + struct.pack("<HHHHB", 0, 0, 4, 4, 0)
    codes = [4] + [0] * 2 + [5]  # clear, two pixels, end; three bits each, the first in the lowest
    packed = sum(code << 3 * i for i, code in enumerate(codes)).to_bytes(2, "little")
    with pytest.raises(InvalidInput, match="the GIF ends early"):
        full(header + image + b"\2\2" + packed + b"\0;")
    flat = Image.new("P", (16, 16), 0)
    assert (full(encoded(flat, "GIF")) == 0).all()


def test_a_webp_whose_extended_header_is_empty_is_read() -> None:
    data = encoded(scene(), "WEBP", lossless=True)
    assert np.array_equal(full(data + b"VP8X\0\0\0\0"), full(data))


def bmp(bits: int, pixels: bytes, *, compression: int = 0, masks: tuple[int, ...] = (), colours: bytes = b"") -> bytes:
    """A BMP of 4 x 2 pixels, from the top down."""
    header = struct.pack("<IiiHHIIiiII", 40, 4, -2, 1, bits, compression, 0, 0, 0, len(colours) // 4, 0)
    header += struct.pack(f"<{len(masks)}I", *masks)
    start = 14 + len(header) + len(colours)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, start) + header + colours + pixels


def test_a_bmp_is_read_by_its_bits_masks_and_palette() -> None:
    greys = b"".join(bytes([17 * i] * 3 + [0]) for i in range(16))
    assert full(bmp(4, b"\x01\x2f\0\0\xf0\x12\0\0", colours=greys))[..., 0].tolist() == [
        [0, 17, 34, 255],
        [255, 0, 17, 34],
    ]
    ten = (0x3FF00000, 0xFFC00, 0x3FF)
    pixel = struct.pack("<I", 1023 << 20 | 512 << 10)
    assert full(bmp(32, pixel * 8, compression=3, masks=ten))[0, 0].tolist() == [255, 128, 0]
    runs = (
        b"\0\3\x01\x20" + b"\1\x10" + b"\0\0" + b"\4\x01" + b"\0\1"
    )  # absolute of an odd count, then runs of four bits
    found = full(bmp(4, runs, compression=2, colours=greys))[..., 0]
    assert found.tolist() == [[0, 17, 34, 17], [0, 17, 0, 17]]
    with pytest.raises(InvalidInput, match="a pixel of colour 9; expected less than 2"):
        full(bmp(8, b"\x09" * 8, colours=bytes(8)))
    with pytest.raises(InvalidInput, match="the BMP has 24 bits per pixel and PNG; expected"):
        full(bmp(24, bytes(24), compression=5))


def test_extreme_shapes_take_neither_memory_nor_time() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    webp = b"RIFF\x1a\0\0\0WEBPVP8L\x0e\0\0\0\x2f" + struct.pack("<I", 16_382 | 16_382 << 14) + bytes(9)
    with processor_seconds(1):
        for data in (webp, png(1, 60_000_000, 8, 0, bytes(100)), png(60_000_000, 1, 8, 0, bytes(100))):
            with pytest.raises(TooLarge):
                full(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_what_samples_were_is_told() -> None:
    assert read(png(1, 1, 16, 0, b"\0\x12\x34")).reduced_from == "16-bit samples"
    assert read(png(1, 1, 8, 0, b"\0\x12")).reduced_from == ""


def in_hex(name: bytes, profile: bytes) -> bytes:
    """A profile as ImageMagick writes it into a text chunk."""
    digits = profile.hex().encode()
    return b"\n%s\n%8d\n" % (name, len(profile)) + b"\n".join(digits[i : i + 72] for i in range(0, len(digits), 72))


EXIF_6 = b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"
XMP_6 = b'<rdf:Description tiff:Orientation="6"/>'
ROW = b"\0" + bytes([255, 0, 0, 0, 0, 255])


@pytest.mark.parametrize(
    "text",
    [
        chunk(b"tEXt", b"Raw profile type exif\0" + in_hex(b"exif", EXIF_6)),
        chunk(b"zTXt", b"Raw profile type APP1\0\0" + zlib.compress(in_hex(b"APP1", EXIF_6))),
        chunk(b"iTXt", b"Raw profile type exif\0\0\0\0\0" + in_hex(b"exif", EXIF_6)),
        chunk(b"zTXt", b"Raw profile type xmp\0\0" + zlib.compress(in_hex(b"xmp", XMP_6))),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP_6)),
    ],
    ids=["tEXt", "zTXt", "iTXt", "XMP in hex", "XMP"],
)
def test_a_png_is_turned_as_its_texts_say(text: bytes) -> None:
    assert full(png(2, 1, 8, 2, ROW, text)).tolist() == [[[255, 0, 0]], [[0, 0, 255]]]
    broken = chunk(text[4:8], text[8:-4].replace(b"profile", b"Profile")[:30])
    assert full(png(2, 1, 8, 2, ROW, broken)).shape == (1, 2, 3)
    beyond = 8 * chunk(b"tEXt", b"Raw profile type exif\0junk")
    assert full(png(2, 1, 8, 2, ROW, beyond, text)).shape == (1, 2, 3), "only a few texts are looked at"


@pytest.mark.parametrize(
    "packet",
    [
        b"<tiff:Orientation>6</tiff:Orientation>",
        b'<tiff:Orientation rdf:datatype="integer"> 6 </tiff:Orientation>',
        b'<x xmlns:t="http://ns.adobe.com/tiff/1.0/" t:Orientation=\'6\' tiff:Orientation="3"/>',
    ],
)
def test_an_xmp_packet_may_spell_the_orientation_in_any_way_of_xml(packet: bytes) -> None:
    assert orientation.find(b"", packet) == 6


def test_what_is_no_exif_block_does_not_turn_a_picture() -> None:
    assert orientation.find(EXIF_6) == 6
    assert orientation.find(EXIF_6.replace(b"MM", b"XX")) == 1


def test_only_the_first_transparent_colour_before_the_pixels_counts() -> None:
    red, blue = (chunk(b"tRNS", struct.pack(">HHH", *colour)) for colour in ((255, 0, 0), (0, 0, 255)))
    data = png(2, 1, 8, 2, ROW, red, blue)
    assert full(data).tolist() == [[[255, 255, 255], [0, 0, 255]]]
    assert full(png(2, 1, 8, 2, ROW)[:-12] + red + data[-12:]).tolist() == [[[255, 0, 0], [0, 0, 255]]]
