"""TIFF (revision 6.0, and Adobe's additions): what the directory says is compared with what can be decoded.

Samples that are stored byte by byte (uncompressed, LZW, deflate, PackBits, LZMA, Zstandard) are read in
`tiff_samples`, which knows every depth, sample format, plane and byte order. What stores pictures rather than bytes
(JPEG, Group 4 fax), and YCbCr, goes to libtiff by way of Pillow, if it is in a layout that they are known to decode.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.errors import InvalidInput, TooLarge
from app.imaging import colour, orientation, tiff_libtiff, tiff_samples
from app.imaging import tiff_directory as tags
from app.imaging.limits import check_size
from app.imaging.source import Source
from app.imaging.tiff_layout import CODED, Layout

MAX_XMP = 1_000_000
BAND = 2**20
"""Samples of which the least and the greatest are looked for at a time."""
GREYS, RGB, PALETTE, CMYK, YCBCR, LAB, ICC_LAB = (0, 1), 2, 3, 5, 6, 8, 9


def read(data: bytes, max_pixels: int) -> Source:
    """Decode the first picture of `data`, and turn it upright.

    Raises TooLarge, and InvalidInput if it is cut short or corrupt, or in a layout that is not read.
    """
    directory = tags.read(data)
    layout = Layout.of(directory)
    check_size("TIFF", layout.width, layout.height, max_pixels)
    check_size("TIFF", layout.tile_width, layout.tile_height, max_pixels, "a tile of the")
    layout.check()
    _check_bytes(layout, max_pixels)
    if layout.compression in CODED or layout.photometric == YCBCR:
        picture: Image.Image | NDArray[np.uint8] = tiff_libtiff.decode(data, directory, layout)
    else:
        picture = _picture(data, directory, layout)
    turned = orientation.find(b"", directory.content(data, tags.XMP, MAX_XMP))
    if tags.ORIENTATION in directory.numbers:
        turned = directory.one(tags.ORIENTATION, 1)
    if isinstance(picture, np.ndarray):
        return Source(orientation.upright_array(picture, turned), reduced=layout.reduced)
    return Source(orientation.upright(picture, turned), reduced=layout.reduced)


def _check_bytes(layout: Layout, max_pixels: int) -> None:
    """Raises TooLarge if the samples of the picture, or of a tile, take more memory than the largest RGBA picture."""
    pixels = max(layout.width * layout.height, layout.tile_width * layout.tile_height)
    needed = pixels * layout.samples * (layout.bits // 8 if layout.numeric else 1)
    if needed > 4 * max_pixels:
        found = f"{layout.width} x {layout.height} pixels of {layout.samples} samples, which take {needed} bytes"
        raise TooLarge(f"the TIFF has {found}; expected at most {4 * max_pixels}")


def _picture(data: bytes, directory: tags.Directory, layout: Layout) -> Image.Image | NDArray[np.uint8]:
    samples = tiff_samples.decode(data, directory, layout)
    colours = samples[..., : layout.colours]
    alpha = samples[..., layout.colours + layout.alpha_at] if layout.alpha_at is not None else None
    if layout.photometric == PALETTE:
        colours = _palette(colours[..., 0], directory, layout)
    elif samples.dtype != np.uint8:
        return _numeric(colours, layout)
    elif layout.photometric == 0:
        colours = 255 - colours
    elif layout.photometric in (LAB, ICC_LAB):
        return _lab(colours, layout)
    elif layout.photometric == CMYK:
        return Image.fromarray(np.ascontiguousarray(colours), "CMYK")
    return _opaque(colours) if alpha is None else _transparent(colours, alpha, layout)


def _opaque(colours: NDArray[np.uint8]) -> Image.Image | NDArray[np.uint8]:
    return colours if colours.shape[2] == 3 else Image.fromarray(np.ascontiguousarray(colours[..., 0]))


def _transparent(colours: NDArray[np.uint8], alpha: NDArray[np.uint8], layout: Layout) -> Image.Image:
    if not layout.alpha_is_premultiplied:
        return Image.fromarray(np.dstack([colours, alpha]))
    repeated = 3 // colours.shape[2]
    return _unpacked("RGBA", "RGBa", layout, lambda band: np.dstack([*([colours[band]] * repeated), alpha[band]]))


def _unpacked(mode: str, raw: str, layout: Layout, samples: Callable[[slice], NDArray[np.uint8]]) -> Image.Image:
    """A picture of that mode, from the samples of each band of rows as Pillow's raw mode has them.

    In bands, because copies of all samples would take a gigabyte.
    """
    picture = Image.new(mode, (layout.width, layout.height))
    rows = max(1, BAND // layout.width)
    for top in range(0, layout.height, rows):
        some = samples(slice(top, top + rows))
        band = Image.frombuffer(mode, (layout.width, len(some)), some.tobytes(), "raw", raw, 0, 1)
        picture.paste(band, (0, top))
    return picture


def _palette(indices: NDArray[Any], directory: tags.Directory, layout: Layout) -> NDArray[np.uint8]:
    """RGB (H, W, 3) by the colour map, which holds all reds, then all greens, then all blues."""
    levels = directory.numbers.get(tags.COLOUR_MAP, ())
    count = 1 << layout.bits
    if len(levels) != 3 * count:
        raise InvalidInput(f"the TIFF's colour map has {len(levels)} values; expected {3 * count}")
    colours = np.array(levels, np.uint16).reshape(3, count)
    # Of 16 bits, but some writers leave 8: libtiff takes them so if no value needs more.
    shift = 8 if (colours > 255).any() else 0
    return np.asarray(np.ascontiguousarray((colours >> shift).astype(np.uint8).T)[indices])


def _numeric(values: NDArray[Any], layout: Layout) -> Image.Image:
    """Samples without an agreed white as a picture of mode I or F, or, if there are three, scaled to RGB."""
    with np.errstate(invalid="ignore"):  # numpy warns of NaN and infinity, which become black
        values = _moderate(values)
        if layout.photometric == 0:
            values = _moderate(_inverted(values))
        if values.shape[2] == 3:
            return Image.fromarray(colour.stretched(values))
        grey = values[..., 0]
        if grey.dtype.kind in "iu" and np.iinfo(np.int32).min <= grey.min() and grey.max() <= np.iinfo(np.int32).max:
            return Image.fromarray(grey.astype(np.int32))
        return Image.fromarray(grey.astype(np.float32))


def _moderate(values: NDArray[Any]) -> NDArray[Any]:
    """float64 that float32 cannot hold is scaled: values are stretched in the end, so only their proportions count."""
    if values.dtype != np.float64:
        return values
    least, greatest = _range(values)
    largest = max(-least, greatest)
    return values * (1e38 / largest) if largest > 1e38 else values


def _inverted(values: NDArray[Any]) -> NDArray[np.float64]:
    """White is 0: mirrored within 0 to 1, or within the values that there are."""
    least, greatest = _range(values)
    if least >= 0 and greatest <= 1:
        return np.asarray(np.subtract(1, values, dtype=np.float64))
    inverted: NDArray[np.float64] = np.subtract(greatest, values, dtype=np.float64)
    inverted += least
    return inverted


def _range(values: NDArray[Any]) -> tuple[float, float]:
    """The least and the greatest finite value, 0 and 0 without any; in bands, because a copy may take 256 MB."""
    least, greatest = np.inf, -np.inf
    rows = max(1, BAND // values[0].size)
    for top in range(0, len(values), rows):
        band = values[top : top + rows]
        known = band[np.isfinite(band)].astype(np.float64)
        least, greatest = min(least, known.min(initial=np.inf)), max(greatest, known.max(initial=-np.inf))
    return (float(least), float(greatest)) if least <= greatest else (0.0, 0.0)


def _lab(colours: NDArray[np.uint8], layout: Layout) -> Image.Image:
    """Pillow's LAB has a* and b* from 0 to 255, CIE L*a*b* of a TIFF from -128 to 127, ICC L*a*b* as Pillow."""
    signs = np.array([0, 0, 0] if layout.photometric == LAB else [0, 128, 128], np.uint8)
    return _unpacked("LAB", "LAB", layout, lambda band: colours[band] ^ signs)
