import numpy as np
import pytest

from benchmarks import others

IMAGES = np.random.default_rng(3).integers(0, 256, (40, 32, 32, 3), np.uint8)


@pytest.mark.parametrize("kind", [kind for kind in others.KINDS if kind not in ("digits", "clothes")])
def test_a_kind_is_drawn_from_its_seed(kind: str) -> None:
    found = others.draw(kind, 20, IMAGES)
    assert found.shape == (20, 32, 32, 3)
    assert found.dtype == np.uint8
    assert np.array_equal(found, others.draw(kind, 20, IMAGES))
    assert not np.array_equal(found, others.draw(kind, 20, IMAGES, seed=1))
    assert len({image.tobytes() for image in found}) == 20


def test_a_mosaic_has_squares_of_other_pictures_where_they_were() -> None:
    (mosaic,) = others.draw("mosaics", 1, IMAGES)
    for row in range(0, 32, 8):
        for column in range(0, 32, 8):
            part = np.s_[row : row + 8, column : column + 8]
            assert any(np.array_equal(mosaic[part], image[part]) for image in IMAGES)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["digits", "clothes"])
def test_a_set_of_a_package_is_had(kind: str) -> None:
    found = others.draw(kind, 10, IMAGES)
    assert found.shape == (10, 32, 32, 3)
    assert all(len(np.unique(image.reshape(-1, 3), axis=0)) > 20 for image in found)
