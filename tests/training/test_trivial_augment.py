import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from training.trivial_augment import CHANGES, Change, vary


@pytest.fixture
def picture(cifar10: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    return np.asarray(cifar10[0][3])


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_as_strong_as_asked(change: Change, picture: NDArray[np.uint8]) -> None:
    def moved(value: float) -> float:
        changed = np.asarray(change(Image.fromarray(picture), value))
        assert changed.shape == picture.shape
        return float(np.abs(changed.astype(int) - picture).mean())

    assert moved(0) == 0
    for sign in (-1, 1):
        assert 0.5 < moved(0.3 * sign) < moved(sign) < 100


def test_the_share_is_changed_in_place_and_the_same_each_time(picture: NDArray[np.uint8]) -> None:
    before = np.repeat(picture[None], 400, axis=0)
    images, again = before.copy(), before.copy()
    vary(images, 0.5, np.random.default_rng(2))
    vary(again, 0.5, np.random.default_rng(2))
    np.testing.assert_array_equal(images, again)
    changed = (images != before).any(axis=(1, 2, 3))
    assert 0.4 < changed.mean() < 0.6
    assert len({image.tobytes() for image in images[changed]}) > 0.9 * changed.sum()


def test_a_share_of_0_changes_nothing(picture: NDArray[np.uint8]) -> None:
    images = picture[None].copy()
    vary(images, 0, np.random.default_rng(0))
    np.testing.assert_array_equal(images[0], picture)
