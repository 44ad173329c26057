import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.cifar10c import CORRUPTIONS
from benchmarks.held_out import WAYS, accuracies
from training.disturbances import DISTURBANCES

Images = NDArray[np.uint8]


@pytest.mark.parametrize("name", WAYS)
def test_a_way_spoils_pictures_somewhat_and_the_same_each_time(
    name: str, cifar10: tuple[Images, NDArray[np.uint8]]
) -> None:
    images = cifar10[0][::10]
    before = images.copy()
    spoilt = WAYS[name](images, np.random.default_rng(1))
    assert spoilt.shape == images.shape
    assert spoilt.dtype == np.uint8
    assert 2 < np.abs(spoilt.astype(int) - images).mean() < 80
    assert np.array_equal(images, before)
    assert np.array_equal(spoilt, WAYS[name](images, np.random.default_rng(1)))


def test_what_chooses_a_recipe_is_neither_trained_on_nor_reported() -> None:
    trained = {disturbance.__name__ for disturbance in DISTURBANCES} | {"noisy"}
    assert not set(WAYS) & (trained | set(CORRUPTIONS))


def test_accuracies_are_of_clean_pictures_and_each_way_with_their_mean(
    cifar10: tuple[Images, NDArray[np.uint8]],
) -> None:
    images, labels = cifar10[0][:20], cifar10[1][:20]

    def predict(pictures: Images) -> NDArray[np.float32]:
        same = np.array_equal(pictures, images)
        return np.eye(10, dtype=np.float32)[labels if same else (labels + (np.arange(20) < 5)) % 10]

    found = accuracies(predict, images, labels)
    assert found.keys() == {"clean", "mean", *WAYS}
    assert found["clean"] == 1
    assert found["mean"] == found["dark"] == 0.75
