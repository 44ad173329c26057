import numpy as np
import pytest

from training.release.calibrate import (
    fit_temperature,
    reliability,
    softmax,
)


def test_the_temperature_that_made_the_labels_is_found() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 10)).astype(np.float32)
    chances = softmax(logits, 2.5)
    labels = (chances.cumsum(axis=1) > rng.random((20_000, 1))).argmax(axis=1).astype(np.uint8)
    assert fit_temperature(logits, labels) == pytest.approx(2.5, rel=0.05)


def test_the_calibration_error_of_a_worked_example() -> None:
    probabilities = np.zeros((4, 10))
    probabilities[:, 0] = [0.9, 0.9, 0.9, 0.5]
    probabilities[:, 1] = [0.1, 0.1, 0.1, 0.5 - 1e-9]
    labels = np.array([0, 0, 1, 0], np.uint8)
    # Three pictures at 0.9, two of them right: |3 * 0.9 - 2| = 0.7. One at 0.5, right: |0.5 - 1| = 0.5. Over 4.
    assert reliability(probabilities, labels).error == pytest.approx((0.7 + 0.5) / 4)


def test_gaps_of_opposite_sign_in_one_bin_cancel_and_in_two_do_not() -> None:
    probabilities = np.zeros((2, 10))
    probabilities[:, 0] = [0.99, 0.6]
    labels = np.array([1, 0], np.uint8)
    assert reliability(probabilities, labels, bins=1).error == pytest.approx((0.99 + 0.6 - 1) / 2)
    assert reliability(probabilities, labels, bins=10).error == pytest.approx((0.99 + 0.4) / 2)


def test_large_logits_do_not_overflow() -> None:
    logits = np.array([[1000.0, 0, 0, 0, 0, 0, 0, 0, 0, 0]], np.float32)
    assert softmax(logits)[0, 0] == 1


def test_reliability_of_a_worked_example() -> None:
    probabilities = np.full((4, 10), 0.0)
    probabilities[:, 0] = [0.5, 0.52, 0.9, 1.0]
    probabilities[:, 1] = [0.4, 0.48, 0.1, 0.0]
    found = reliability(probabilities, np.array([0, 1, 0, 1], np.uint8))
    assert found.count.tolist() == [0] * 7 + [2] + [0] * 5 + [1, 1]
    assert found.right.tolist() == [0] * 7 + [1] + [0] * 5 + [1, 0]
    assert found.confidence[[7, 13, 14]].tolist() == pytest.approx([1.02, 0.9, 1.0])
    assert found.error == pytest.approx((0.02 + 0.1 + 1.0) / 4)
