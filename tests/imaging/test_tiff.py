"""TIFFs in tiles, with alpha, of odd depths, damaged, or not read at all; all else is in test_tiff_matrix."""

import contextlib
import io
import itertools
import struct
import tracemalloc
import zlib
from typing import Any, Literal

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from app.errors import InvalidInput, TooLarge
from app.imaging import full, read, tiff, tiff_samples
from tests.imaging import tiff_writer

HEIGHT, WIDTH = 37, 43
ORDERS: list[Literal["<", ">"]] = ["<", ">"]
TILED = list(itertools.product(["u1", "u2"], ORDERS, ["contig", "separate"]))


def written(array: NDArray[Any], order: Literal["<", ">"] = "<", **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, byteorder=order, metadata=None, **options)
    return file.getvalue()


def ramp(dtype: str, *shape: int) -> NDArray[Any]:
    """Values over the whole range of a type of integers; 0 to 1 of floats."""
    values = np.random.default_rng(0).integers(0, 256, shape)
    values.flat[0], values.flat[1] = 0, 255
    if dtype[0] == "f":
        return (values / 255).astype(dtype)
    scaled = [int(v) * ((1 << 8 * int(dtype[1]) - 1) // 128) for v in values.flat]
    shift = 1 << 8 * int(dtype[1]) - 1 if dtype[0] == "i" else 0
    return np.array([v - shift for v in scaled], dtype).reshape(shape)


def shown(array: NDArray[Any]) -> NDArray[np.float64]:
    """What 0 to 255 the values of `ramp` mean."""
    if array.dtype.kind == "f":
        return array.astype(np.float64) * 255
    if array.dtype.kind == "u" and array.dtype.itemsize <= 2:
        return np.asarray(array >> (8 * array.dtype.itemsize - 8), np.float64)
    wide = array.astype(np.float64)
    return np.asarray((wide - wide.min()) / (wide.max() - wide.min()) * 255)


@pytest.mark.parametrize(("dtype", "order", "planar"), TILED)
def test_tiles_are_put_where_they_belong(dtype: str, order: Literal["<", ">"], planar: str) -> None:
    array = ramp(dtype, HEIGHT, WIDTH, 3)
    stored = array if planar == "contig" else array.transpose(2, 0, 1)
    for options in ({}, {"compression": "zlib"}, {"compression": "zlib", "predictor": 2}):
        data = written(stored, order, photometric="rgb", planarconfig=planar, tile=(16, 32), **options)
        assert np.array_equal(full(data), shown(array))


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize(("extra", "premultiplied"), [("unassalpha", False), ("assocalpha", True)])
@pytest.mark.parametrize("colours", [1, 3])
def test_alpha_of_either_kind_is_composited_on_white(dtype: str, extra: str, premultiplied: bool, colours: int) -> None:
    array = np.full((HEIGHT, WIDTH, colours + 1), 100 * (1 if dtype == "u1" else 257), dtype)
    array[..., -1] = 128 * (1 if dtype == "u1" else 257)
    photometric = "rgb" if colours == 3 else "minisblack"
    data = written(array, photometric=photometric, extrasamples=[extra], planarconfig="contig")
    expected = (100 if premultiplied else 100 * 128 / 255) + 255 - 128
    assert np.abs(full(data) - expected).max() <= 1


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 10, 12, 14])
def test_odd_depths_are_read(bits: int) -> None:
    values = np.random.default_rng(1).integers(0, 1 << bits, (HEIGHT, WIDTH))
    rows = ["".join(format(int(v), f"0{bits}b") for v in row) for row in values]
    packed = b"".join(int(row.ljust(-(-len(row) // 8) * 8, "0"), 2).to_bytes(-(-len(row) // 8)) for row in rows)
    expected = values >> (bits - 8) if bits > 8 else values * 255 // ((1 << bits) - 1)
    assert np.array_equal(full(plain(packed, bits=bits))[..., 0], expected)
    reversed_bits = bytes(int(f"{byte:08b}"[::-1], 2) for byte in packed)
    assert np.array_equal(full(plain(reversed_bits, bits=bits, fill_order=2))[..., 0], expected)


def plain(pixels: bytes, *, bits: int = 8, compression: int = 1, photometric: int = 1, fill_order: int = 1) -> bytes:
    """A little-endian grey TIFF of one strip."""
    tags = {256: WIDTH, 257: HEIGHT, 258: bits, 259: compression, 262: photometric, 266: fill_order, 273: 8, 277: 1}
    tags |= {278: HEIGHT, 279: len(pixels)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + directory


def test_a_deflated_tiff_with_a_wrong_checksum_is_rejected() -> None:
    stored = zlib.compress(bytes(HEIGHT * WIDTH))
    assert (full(plain(stored, compression=8)) == 0).all()
    with pytest.raises(InvalidInput, match=r"the TIFF cannot be decoded: .* incorrect data check"):
        full(plain(stored[:-1] + b"\x55", compression=8))
    with pytest.raises(InvalidInput, match="the TIFF ends early: a strip or tile ends before its checksum"):
        full(plain(stored[:-2], compression=8))


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits"])
def test_what_libtiff_decompresses_is_the_same_as_uncompressed(compression: str) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "TIFF", compression=compression, tiffinfo={278: 7})
    assert np.array_equal(full(file.getvalue()), pixels)


def test_a_jpeg_inside_a_tiff_that_is_corrupt_is_rejected() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (200, 200, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "TIFF", compression="jpeg")
    data = bytearray(file.getvalue())
    assert full(bytes(data)).shape == (200, 200, 3)
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    with pytest.raises(InvalidInput, match="the JPEG"):
        full(bytes(data))


@pytest.mark.parametrize(("photometric", "samples"), [("separated", 4), ("cielab", 3), ("icclab", 3)])
def test_alpha_beside_inks_or_lab_is_rejected_rather_than_passed_over(photometric: str, samples: int) -> None:
    array = np.zeros((4, 4, samples + 1), np.uint8)
    options: dict[str, Any] = {"photometric": photometric, "planarconfig": "contig"}
    assert full(written(array, extrasamples=["unspecified"], **options)).shape == (4, 4, 3)
    with pytest.raises(InvalidInput, match="expected alpha beside grey, RGB or a palette"):
        full(written(array, extrasamples=["unassalpha"], **options))


@pytest.mark.parametrize("extra", [1, 0])
def test_large_premultiplied_or_lab_pictures_are_converted_in_bands(extra: int) -> None:
    """Whole copies of a picture as large as the limit allows took 800 MB to a gigabyte."""
    options: dict[str, Any] = (
        {"photometric": "rgb", "extrasamples": ["assocalpha"]} if extra else {"photometric": "cielab"}
    )
    data = written(np.zeros((1500, 2000, 3 + extra), np.uint8), compression="zlib", **options)
    tracemalloc.start()
    try:
        tiff.read(data, 4_000_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.8 * 1500 * 2000 * (3 + extra), "the samples, and pieces of them"


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"compression": 34712}, "compression JPEG 2000; expected compression none, LZW"),
        ({"compression": 50001}, "compression WebP; expected compression none, LZW"),
        ({"photometric": 32803}, "colour filter array, compression none; expected grey, RGB"),
        ({"bits": 40}, "1 samples of 40 bits .unsigned integer.*; expected unsigned integers of 1 to 16, 24"),
    ],
)
def test_what_is_not_read_is_named_with_what_is(options: dict[str, int], found: str) -> None:
    with pytest.raises(InvalidInput, match=found):
        full(plain(bytes(HEIGHT * WIDTH * 5), **options))


def test_strips_without_end_are_rejected_at_once() -> None:
    count = 4_000_000
    tags = {256: (4, 1, 1), 257: (4, 1, count), 258: (3, 1, 8), 262: (3, 1, 1), 273: (4, count, 8), 278: (3, 1, 1)}
    entries = b"".join(struct.pack("<HHII", tag, *entry) for tag, entry in tags.items())
    data = b"II*\0" + struct.pack("<I", 8 + 4 * count) + bytes(4 * count) + struct.pack("<H", 6) + entries + bytes(4)
    with pytest.raises((InvalidInput, TooLarge), match="expected at most"):
        full(data)


def test_tiles_and_samples_that_take_too_much_memory_are_rejected_from_the_header() -> None:
    tall = {256: 1_000_000, 257: 60, 258: 8, 259: 8, 262: 1, 277: 1, 322: 1_000_000, 323: 4000, 324: 8, 325: 100}
    many = {256: 8000, 257: 8000, 258: 64, 259: 8, 262: 2, 273: 8, 277: 3, 279: 100, 339: 3}
    for tags, found in [(tall, "a tile of the TIFF has 1000000 x 4000"), (many, "which take 1536000000 bytes")]:
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
        data = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(104)
        with pytest.raises(TooLarge, match=found):
            full(data)


@pytest.mark.parametrize("samples", [0, 10, 65_535, 2**32 - 1])
def test_samples_without_end_are_rejected_at_once(samples: int) -> None:
    data = plain(bytes(HEIGHT * WIDTH))
    entry = struct.pack("<HHII", 277, 4, 1, 1)
    with pytest.raises(InvalidInput, match=r"expected 1 to 9 samples of one kind"):
        full(data.replace(entry, struct.pack("<HHII", 277, 4, 1, samples)))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize(("photometric", "samples"), [(0, 1), (1, 1), (2, 3)])
def test_floats_of_any_bits_are_read_without_a_warning(dtype: str, photometric: int, samples: int) -> None:
    """Signalling NaN, infinity and subnormal numbers among them; pytest makes an error of each warning."""
    random = np.random.default_rng(4).integers(0, 256, (HEIGHT, WIDTH, samples * int(dtype[1])), np.uint8)
    random[::2, :, int(dtype[1]) - 1] = 0x7F  # the sign and the highest bits of the exponent
    for compression, predictor in [("none", 1), ("deflate", 3)]:
        array = random.view(f"<{dtype}")
        data = tiff_writer.written(array, photometric=photometric, compression=compression, predictor=predictor)
        assert full(data).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(("photometric", "samples", "expected"), [(0, 1, (255, 0)), (1, 1, (0, 255)), (2, 3, (0, 255))])
def test_the_widest_range_of_doubles_is_stretched(photometric: int, samples: int, expected: tuple[int, int]) -> None:
    array = np.full((2, 2, samples), -1.7e308)
    array[1] = 1.7e308
    found = full(tiff_writer.written(array, photometric=photometric))
    assert (found[0, 0, 0], found[1, 0, 0]) == expected


@pytest.mark.parametrize("compression", ["jpeg", "tiff_lzw", "packbits", "lzma", "zstd"])
def test_libtiff_writes_nothing_to_stderr_about_a_damaged_file(
    compression: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A caller could flood the log."""
    noise = np.random.default_rng(5).integers(0, 256, (200, 300), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "TIFF", compression=compression)
    for seed in range(10):
        data = bytearray(file.getvalue())
        chance = np.random.default_rng(seed)
        data[8 + seed * 50 : 108 + seed * 50] = chance.bytes(100)
        with contextlib.suppress(InvalidInput):
            full(bytes(data))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("compression", "name"), [("group3", "CCITT Group 3"), ("tiff_ccitt", "CCITT RLE")])
def test_an_older_fax_is_rejected_by_name(compression: str, name: str) -> None:
    """A damaged one would be read as other pixels: libtiff goes on after what it does not understand."""
    file = io.BytesIO()
    Image.new("1", (40, 50)).save(file, "TIFF", compression=compression)
    with pytest.raises(InvalidInput, match=f"compression {name}; expected compression none, LZW"):
        full(file.getvalue())


def test_a_fax_with_bad_code_words_or_without_its_end_is_rejected() -> None:
    """libtiff goes on after bad code words, and makes rows white that are missing."""
    bits = np.random.default_rng(6).integers(0, 2, (200, 300)).astype(bool)
    file = io.BytesIO()
    Image.fromarray(bits).save(file, "TIFF", compression="group4")
    data = bytearray(file.getvalue())
    assert np.array_equal(full(bytes(data))[..., 0], bits * 255)
    data[500:540] = b"\xff" * 40
    with pytest.raises(InvalidInput, match=r"the TIFF cannot be decoded: its CCITT .* data has \d+ errors?"):
        full(bytes(data))
    with Image.open(file) as picture:
        assert isinstance(picture, TiffImageFile)
        (count,) = picture.tag_v2[279]
    shorter = file.getvalue().replace(struct.pack("<I", count), struct.pack("<I", count // 2))
    with pytest.raises(
        InvalidInput, match="the TIFF ends early: a strip of its CCITT Group 4 data has no end-of-block"
    ):
        full(shorter)


@pytest.mark.parametrize(
    ("compression", "damage", "said"),
    [
        ("tiff_lzw", slice(200, 260), "its YCbCr data has 1 error"),
        ("tiff_adobe_deflate", slice(200, 260), "Error -3"),
        ("tiff_adobe_deflate", -1, "incorrect data check"),
    ],
)
def test_damaged_ycbcr_is_rejected(compression: str, damage: slice | int, said: str) -> None:
    noise = np.random.default_rng(6).integers(0, 256, (64, 64, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).convert("YCbCr").save(file, "TIFF", compression=compression)
    assert full(file.getvalue()).shape == (64, 64, 3)
    with Image.open(file) as picture:
        assert isinstance(picture, TiffImageFile)
        (start,), (count,) = picture.tag_v2[273], picture.tag_v2[279]
    strip = np.frombuffer(bytearray(file.getvalue()), np.uint8)
    strip[start : start + count][damage] ^= 255
    with pytest.raises(InvalidInput, match=f"the TIFF cannot be decoded: .*{said}"):
        full(strip.tobytes())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
@pytest.mark.parametrize("options", [{"tile": (32, 32)}, {"rowsperstrip": 50}, {"planarconfig": "separate"}])
def test_tiles_are_unpacked_a_few_rows_at_a_time(
    dtype: type[np.generic], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tile as large as the picture would be in memory several times."""
    shape = (3, 50, 40) if "planarconfig" in options else (50, 40, 3)
    samples = np.random.default_rng(8).integers(0, 256, shape).astype(dtype)
    file = io.BytesIO()
    tifffile.imwrite(file, samples, photometric="rgb", compression="deflate", **options)
    at_once = full(file.getvalue())
    monkeypatch.setattr(tiff_samples, "GROUP", 1000)
    monkeypatch.setattr(tiff, "BAND", 1000)
    assert np.array_equal(full(file.getvalue()), at_once)


def test_what_samples_were_is_told() -> None:
    assert read(written(ramp("u2", HEIGHT, WIDTH))).reduced_from == "16-bit samples"
    assert read(written(ramp("f4", HEIGHT, WIDTH))).reduced_from == "32-bit float samples"
    assert read(written(ramp("u1", HEIGHT, WIDTH))).reduced_from == ""
