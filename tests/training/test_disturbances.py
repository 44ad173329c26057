import numpy as np
import pytest
from numpy.typing import NDArray

from training import disturbances
from training.disturbances import DISTURBANCES, Disturbance, disturb, noisy

ALL = (*DISTURBANCES, noisy)
Images = NDArray[np.uint8]


@pytest.fixture
def images(cifar10: tuple[Images, NDArray[np.uint8]]) -> Images:
    return cifar10[0][::4]


def changed(disturbance: Disturbance, images: Images, strength: float) -> NDArray[np.float32]:
    """What becomes of the pictures, all with one strength."""
    values = images.astype(np.float32) / np.float32(255)
    return disturbance(values, np.full(len(images), strength, np.float32), np.random.default_rng(0))


@pytest.mark.parametrize("disturbance", ALL)
def test_a_disturbance_grows_with_its_strength_from_nothing(disturbance: Disturbance, images: Images) -> None:
    distances = [np.abs(changed(disturbance, images, s) - images / 255).mean() for s in (0, 0.25, 1)]
    assert distances[0] < 1e-4
    assert distances[0] < distances[1] < distances[2]
    assert 0.02 < distances[2] < 0.25


@pytest.mark.parametrize("disturbance", ALL)
def test_a_disturbance_keeps_shape_and_type_and_leaves_its_input_alone(
    disturbance: Disturbance, images: Images
) -> None:
    values = images.astype(np.float32) / np.float32(255)
    before = values.copy()
    found = disturbance(values, np.ones(len(images), np.float32), np.random.default_rng(0))
    assert found.shape == values.shape
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert np.array_equal(values, before)


def test_noise_has_at_most_the_deviation_it_says_where_it_is_spread(images: Images) -> None:
    grey = np.full((400, 32, 32, 3), 0.5, np.float32)
    deviations = (noisy(grey, np.ones(400, np.float32), np.random.default_rng(0)) - grey).std(axis=(1, 2, 3))
    plain = np.isclose(deviations, disturbances.NOISE, rtol=0.1)
    assert 0.65 < plain.mean() < 0.85  # the others have scattered values; at 0.5, what depends on the value is alike
    assert deviations.max() < 0.3


def test_some_pictures_have_scattered_extreme_values_only() -> None:
    grey = np.full((400, 32, 32, 3), 0.5, np.float32)
    hit = (noisy(grey, np.ones(400, np.float32), np.random.default_rng(0)) != grey).mean(axis=(1, 2, 3))
    assert 0.15 < (hit < 0.5).mean() < 0.35
    assert hit[hit < 0.5].mean() == pytest.approx(disturbances.SPECKS, rel=0.1)


def test_blurs_keep_flat_pictures_as_bright_as_they_are() -> None:
    grey = np.full((50, 32, 32, 3), 128, np.uint8)
    assert np.abs(changed(disturbances.filtered, grey, 1) - 128 / 255).max() < 1e-3


def test_a_share_of_the_pictures_is_disturbed_and_a_share_is_noisy(images: Images) -> None:
    many = np.repeat(images, 8, axis=0)

    def touched(share: float, noise: float, strength: float = 1) -> float:
        found = disturb(many, share, strength, noise, np.random.default_rng(0))
        return float((found != many).any(axis=(1, 2, 3)).mean())

    assert touched(0, 0) == 0
    assert touched(1, 1, strength=0) == 0
    assert touched(0.5, 0) == pytest.approx(0.5, abs=0.08)
    assert touched(0, 0.5) == pytest.approx(0.5, abs=0.08)
    assert touched(0.5, 0.5) == pytest.approx(0.75, abs=0.08)


def test_disturbed_pictures_depend_on_the_generator_only(images: Images) -> None:
    before = images.copy()
    first = disturb(images, 0.7, 1, 0.5, np.random.default_rng(3))
    assert first.dtype == np.uint8
    assert np.array_equal(images, before)
    assert np.array_equal(first, disturb(images, 0.7, 1, 0.5, np.random.default_rng(3)))
    assert not np.array_equal(first, disturb(images, 0.7, 1, 0.5, np.random.default_rng(4)))
