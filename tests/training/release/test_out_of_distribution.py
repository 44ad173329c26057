import keras
import numpy as np
import pytest
from keras import layers

from tests.training.samples import RECIPES
from training.release.out_of_distribution import (
    classifier,
    cross_fitted,
    direction,
    features,
    fitted,
    of_length_one,
    quantiles,
    turned_negatives,
)
from training.train import build


def test_features_are_what_the_last_dense_layer_is_given() -> None:
    image = keras.Input((32, 32, 3), dtype="uint8", name="image")
    colours = layers.GlobalAveragePooling2D(name="mean")(layers.Rescaling(1.0, name="rescale")(image))
    scores = layers.Rescaling(1 / 9, name="logits")(layers.Dense(10, name="head")(colours))
    images = np.zeros((2, 32, 32, 3), np.uint8)
    images[0, ..., 0], images[0, ..., 2] = 30, 40
    found = of_length_one(features(keras.Model(image, scores), images))
    assert found == pytest.approx(np.array([[0.6, 0, 0.8], [0, 0, 0]]), abs=1e-6)


@pytest.mark.parametrize("name", RECIPES)
def test_the_classifier_of_every_network_is_its_last_layer_with_weights(name: str) -> None:
    model = build(RECIPES[name])
    assert classifier(model) is [layer for layer in model.layers if layer.weights][-1]


def test_turned_negatives_hold_every_pixel_taken_from_255_in_each_of_the_four_turns() -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)
    turned = turned_negatives(images)
    found = [
        next(count for count in range(4) if np.array_equal(255 - np.rot90(before, count), after))
        for before, after in zip(images, turned, strict=True)
    ]
    assert set(found) == {0, 1, 2, 3}
    assert np.array_equal(turned, turned_negatives(images))
    assert not np.array_equal(turned, turned_negatives(images, seed=1))


def test_the_direction_is_the_linear_discriminant() -> None:
    """By hand: variances 4 and 0 within, mean 2, shrunk to 6 and 2; the means differ by (3, 2), so (1/2, 1) it is."""
    typical = np.array([[3 + 2**0.5, 2], [3 - 2**0.5, 2]], np.float32)
    other = typical - [3, 2]
    np.testing.assert_allclose(direction(typical, other.astype(np.float32)), np.array([0.5, 1]) / 1.25**0.5, rtol=1e-5)


def test_what_is_typical_has_the_higher_product_even_with_more_features_than_pictures() -> None:
    rng = np.random.default_rng(0)
    difference = rng.normal(0, 1, 60)
    draw = [rng.normal(0, 1, (40, 60)) + sign * difference for sign in (0.5, -0.5, 0.5, -0.5)]
    typical, other, later_typical, later_other = (part.astype(np.float32) for part in draw)
    found = direction(typical, other)
    assert np.linalg.norm(found) == pytest.approx(1)
    assert np.mean((later_typical @ found)[:, None] > later_other @ found) > 0.99


def test_cross_fitted_pictures_are_as_typical_as_new_ones_and_in_their_order() -> None:
    rng = np.random.default_rng(0)
    typical, other, new = (rng.normal(0, 1, (200, 100)).astype(np.float32) for _ in range(3))  # nothing to be found
    along = direction(typical, other)
    assert np.mean(typical @ along) > 0.4
    assert abs(np.mean(new @ along)) < 0.2
    found = cross_fitted(typical, other)
    assert abs(np.mean(found)) < 0.2
    np.testing.assert_allclose(found[:100], typical[:100] @ direction(typical[100:], other), rtol=1e-4)
    np.testing.assert_allclose(found[100:], typical[100:] @ direction(typical[:100], other), rtol=1e-4)


def test_typicality_is_the_sum_of_two_scores_that_vary_as_much_as_each_other() -> None:
    rng = np.random.default_rng(0)
    known, negatives = rng.normal(0.3, 1, (400, 20)), rng.normal(-0.3, 1, (300, 20))
    logits = rng.normal(0, 4, (400, 10))
    found, typicalities = fitted(known, logits, negatives)
    energies = np.logaddexp.reduce(logits, axis=1)
    assert found.level == pytest.approx(energies.mean())
    energies -= found.level
    assert (energies * found.energy).std() == pytest.approx(1)
    assert (typicalities - energies * found.energy).std() == pytest.approx(1)
    rate = np.linalg.norm(found.direction)
    halves = np.split(of_length_one(known), 2)
    assert typicalities[:200] - energies[:200] * found.energy == pytest.approx(
        halves[0] @ direction(halves[1], of_length_one(negatives)) * rate, abs=1e-5
    )
    assert found.direction / rate == pytest.approx(direction(of_length_one(known), of_length_one(negatives)), abs=1e-6)


def test_a_network_that_answers_always_the_same_has_a_finite_typicality() -> None:
    found, typicalities = fitted(np.zeros((10, 4)) + 1, np.zeros((10, 3)), np.ones((10, 4)) * [1, 2, 3, 4])
    assert np.isfinite(found.direction).all()
    assert np.isfinite(typicalities).all()
    assert np.isfinite(found.energy)


def test_quantiles_rise_from_the_least_to_the_most_typical() -> None:
    typicalities = np.random.default_rng(0).normal(0, 0.2, 1000).astype(np.float32)
    found = quantiles(typicalities)
    assert len(found) == 101
    assert found == sorted(found)
    assert (found[0], found[50], found[100]) == pytest.approx(
        (typicalities.min(), np.median(typicalities), typicalities.max()), abs=1e-5
    )
