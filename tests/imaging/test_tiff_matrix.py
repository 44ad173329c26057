"""Every combination of what a TIFF may say of its samples: read right, or rejected by name, and none passed over."""

import io
import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from app.errors import InvalidInput
from app.imaging import full
from tests.imaging import tiff_writer
from tests.imaging.tiff_writer import COMPRESSIONS, WITHOUT_PREDICTOR, Order

HEIGHT, WIDTH = 21, 19
DTYPES = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]
LEVELS = ("u1", "u2")
"""Types whose largest value is white."""

KINDS = {"black is 0": (1, 1), "white is 0": (0, 1), "RGB": (2, 3), "palette": (3, 1), "CMYK": (5, 4)}
"""Photometric interpretation, and samples that are colours."""

ALPHAS = {"": (), "premultiplied": (1,), "alpha": (2,)}
ORDERS: list[Order] = ["<", ">"]
PREDICTORS = (1, 2, 3)
TILES = [None, (16, 16)]
MEANT = [
    (kind, alpha, planar)
    for kind, alpha, planar in itertools.product(KINDS, ALPHAS, (False, True))
    if not (alpha and kind in ("palette", "CMYK"))  # TIFF 6.0 does not define alpha with these
    and not (planar and KINDS[kind][1] + len(ALPHAS[alpha]) == 1)  # one sample is one plane
]
"""Kind, alpha, and whether each sample has a plane of its own."""

MAPS = {f"u{size}": np.random.default_rng(1).integers(0, 65_536, (3, 1 << 8 * size), np.uint16) for size in (1, 2)}
"""Colour maps."""

READ = ""
PALETTE, CMYK = "expected a palette of 1 to 16 bits", "expected CMYK of 8 to 16 bits"
NUMBERS_WITH_ALPHA = "expected alpha beside unsigned integers of up to 24 bits"
FLOATS_ONLY = r"expected predictor 1, 2 or 3 \(floats\), not 3"


def samples(dtype: str, count: int) -> NDArray[Any]:
    """Values over the whole range of a type of integers; 0 to 1 of floats."""
    shades = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, count))
    shades.flat[:2] = 0, 255
    if dtype[0] == "f":
        return (shades / 255).astype(dtype)
    bits = 8 * int(dtype[1])
    shift = 1 << bits - 1 if dtype[0] == "i" else 0
    return np.array([(int(shade) << bits - 8) - shift for shade in shades.flat], dtype).reshape(shades.shape)


def levels(array: NDArray[Any]) -> NDArray[np.float64]:
    """What 0 to 255 the values of `samples` mean."""
    if array.dtype.str[1:] in LEVELS:
        return np.asarray(array >> (8 * array.dtype.itemsize - 8), np.float64)
    wide = array.astype(np.float64)
    return np.asarray(wide * 255 if array.dtype.kind == "f" else (wide - wide.min()) / (wide.max() - wide.min()) * 255)


def shown(array: NDArray[Any], kind: str, alpha: str) -> NDArray[np.float64]:
    """The RGB (H, W, 3), 0 to 255, that the specification gives the samples."""
    if kind == "palette":
        return np.asarray((MAPS[array.dtype.str[1:]] >> 8).T[array[..., 0]], np.float64)
    count = KINDS[kind][1]
    colours = levels(array[..., :count])
    if kind == "white is 0":
        colours = 255 - colours
    if kind == "CMYK":
        colours = (255 - colours[..., :3]) * (255 - colours[..., 3:]) / 255
    if alpha:
        opaque = levels(array[..., count:])
        colours = (np.minimum(colours, opaque) if alpha == "premultiplied" else colours * opaque / 255) + 255 - opaque
    return np.broadcast_to(colours, (HEIGHT, WIDTH, 3))


def written(
    dtype: str, compression: str, kind: str, alpha: str, planar: bool, order: Order, predictor: int, tile: Any
) -> tuple[bytes, NDArray[Any]]:
    """A file, and its samples."""
    photometric, colours = KINDS[kind]
    array = samples(dtype, colours + len(ALPHAS[alpha]))
    data = tiff_writer.written(
        array,
        order=order,
        photometric=photometric,
        planar=planar,
        compression=compression,
        predictor=predictor,
        tile=tile,
        extra=ALPHAS[alpha],
        colour_map=MAPS.get(dtype, MAPS["u1"]) if kind == "palette" else None,
    )
    return data, array


def outcome(dtype: str, compression: str, kind: str, alpha: str, predictor: int) -> str:
    """READ, or what the error says of a combination that has no meaning, or none that is agreed."""
    if dtype not in LEVELS and kind == "palette":
        return PALETTE
    if dtype not in LEVELS and kind == "CMYK":
        return CMYK
    if dtype not in LEVELS and alpha:
        return NUMBERS_WITH_ALPHA
    if predictor == 3 and dtype[0] != "f" and compression not in WITHOUT_PREDICTOR:
        return FLOATS_ONLY
    return READ


@pytest.mark.parametrize(
    ("dtype", "compression"),
    [
        pytest.param(dtype, name, marks=[] if name in ("none", "deflate") else pytest.mark.slow)
        for dtype, name in itertools.product(DTYPES, COMPRESSIONS)
    ],
)
def test_every_combination_is_read_right_or_rejected_by_name(dtype: str, compression: str) -> None:
    count = 0
    for (kind, alpha, planar), order, predictor, tile in itertools.product(MEANT, ORDERS, PREDICTORS, TILES):
        what = f"{kind} {alpha} {planar=} {order} {predictor=} {tile=}"
        data, array = written(dtype, compression, kind, alpha, planar, order, predictor, tile)
        if expected := outcome(dtype, compression, kind, alpha, predictor):
            with pytest.raises(InvalidInput, match=expected):
                full(data)
        else:
            assert np.abs(full(data) - shown(array, kind, alpha)).max() <= 1, what
        count += 1
    assert count == 19 * 2 * 3 * 2


def test_what_is_rejected_is_what_has_no_agreed_meaning() -> None:
    """The reasons, and how many of the 17,556 combinations each is given for."""
    found = Counter(
        outcome(dtype, compression, kind, alpha, predictor)
        for dtype, compression, (kind, alpha, _), predictor in itertools.product(
            DTYPES, COMPRESSIONS, MEANT, PREDICTORS
        )
        for _ in itertools.product(ORDERS, TILES)
    )
    assert found == {READ: 4976, NUMBERS_WITH_ALPHA: 9072, PALETTE: 756, CMYK: 1512, FLOATS_ONLY: 1240}


def not_compared(compression: str, predictor: int) -> str:
    """Why tifffile is not asked about a file that the service reads; "" if it is."""
    if compression in ("LZW", "LZMA", "Zstandard"):
        return f"tifffile needs imagecodecs for {compression}"
    if predictor != 1 and compression in WITHOUT_PREDICTOR:
        return "tifffile obeys a predictor without a compression that has one; libtiff passes it over"
    return "tifffile needs imagecodecs for predictor 3" if predictor == 3 else ""


@pytest.mark.slow
def test_tifffile_finds_the_same_samples_in_these_files() -> None:
    """Which shows that the files of this matrix are right; what cannot be compared is counted by its reason."""
    seen = Counter[str]()
    for dtype, compression, (kind, alpha, planar), order, predictor, tile in itertools.product(
        DTYPES, COMPRESSIONS, MEANT, ORDERS, PREDICTORS, TILES
    ):
        if outcome(dtype, compression, kind, alpha, predictor):
            continue
        reason = not_compared(compression, predictor)
        seen[reason] += 1
        if reason:
            continue
        data, array = written(dtype, compression, kind, alpha, planar, order, predictor, tile)
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            found = file.pages.first.asarray()
        found = found if found.ndim == 3 else found[..., None]
        assert np.array_equal(found.transpose(1, 2, 0) if planar else found, array), (dtype, compression, kind, planar)
    assert seen == {
        "": 1776,
        "tifffile needs imagecodecs for LZW": 640,
        "tifffile needs imagecodecs for LZMA": 640,
        "tifffile needs imagecodecs for Zstandard": 640,
        "tifffile needs imagecodecs for predictor 3": 96,
        "tifffile obeys a predictor without a compression that has one; libtiff passes it over": 1184,
    }
