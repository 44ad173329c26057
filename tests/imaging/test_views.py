"""Several views of one picture: which parts they look at, and that they are those parts."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.imaging import MAX_VIEWS, resize, seen, thumbnail, views, views_of
from app.imaging.preprocess import parts
from app.inference.metadata import Input

INPUT = Input()
SIDE = INPUT.size


def gradient(height: int, width: int) -> NDArray[np.uint8]:
    """Red grows to the right, green downwards."""
    y, x = np.mgrid[0 : 255 : height * 1j, 0 : 255 : width * 1j]
    return np.stack([x, y, np.zeros_like(x)], axis=2).round().astype(np.uint8)


def encoded(picture: NDArray[np.uint8], format: str = "PNG", orientation: int = 1) -> bytes:
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture).save(file, format, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_the_first_view_is_what_the_network_receives_and_the_second_its_mirror_image(
    format: str, orientation: int
) -> None:
    data = encoded(gradient(150, 240), format, orientation)
    found = views(data, INPUT, MAX_VIEWS)
    assert found.shape == (14, SIDE, SIDE, 3)
    assert np.array_equal(found[0], thumbnail(data, INPUT))
    for plain, mirrored in zip(found[::2], found[1::2], strict=True):
        assert np.array_equal(plain, mirrored[:, ::-1])


def test_each_view_is_its_part_of_the_picture() -> None:
    height, width = 160, 256
    picture = gradient(height, width)
    boxes = list(parts(width, height, INPUT))
    assert boxes[0] == pytest.approx(
        [share * whole for share, whole in zip(seen(width, height, INPUT.fit), (256, 160, 256, 160), strict=True)]
    )
    assert boxes[1] == (0, 0, width, height)
    assert len({box[:2] for box in boxes[2:]}) == 5
    for view, (left, top, right, bottom) in zip(views_of(picture, INPUT, MAX_VIEWS)[::2], boxes, strict=True):
        across, down = view[SIDE // 2, [0, -1], 0], view[[0, -1], SIDE // 2, 1]
        inset = (right - left) / width * 255 / SIDE / 2  # a pixel's value is that of its middle
        assert across == pytest.approx([left / width * 255 + inset, right / width * 255 - inset], abs=3)
        assert down == pytest.approx([top / height * 255 + inset, bottom / height * 255 - inset], abs=3)
    for left, top, right, bottom in boxes[2:]:
        assert (right - left) / (boxes[0][2] - boxes[0][0]) == pytest.approx(0.8)
        assert (bottom - top) / height == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("height", "width", "count"), [(32, 32, 2), (8, 5, 2), (39, 39, 2), (40, 40, 12), (33, 900, 4), (100, 101, 14)]
)
def test_a_picture_has_the_views_that_its_pixels_allow(height: int, width: int, count: int) -> None:
    picture = gradient(height, width)
    found = views_of(picture, INPUT, MAX_VIEWS)
    assert len(found) == len(views(encoded(picture), INPUT, MAX_VIEWS)) == count
    assert np.array_equal(found[0], resize(picture, INPUT)[0])
    assert np.array_equal(views_of(picture, INPUT, 3), found[:3])
