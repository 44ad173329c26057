"""Figures about a network for one's own pictures."""

import numpy as np
import pytest

from training.own import head, report, session
from training.release.evaluate import evaluate


def test_the_interval_is_wilsons() -> None:
    # 8 of 10: 0.4902 to 0.9433 (Agresti and Coull 1998 give the formula; scipy's proportion_ci the same numbers)
    assert report.wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert report.wilson(0, 20)[0] == 0
    assert report.wilson(20, 20)[1] == pytest.approx(1)
    assert report.wilson(0, 0) == (0, 1)


def test_worst_label_and_confusions_are_named() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 2])
    said = np.array([0, 0, 0, 1, 2, 2, 0, 2])
    found = evaluate(np.eye(3, dtype=np.float32)[said], labels, ("cat", "dog", "猫"))
    assert report.worst(found) == ("dog", 0.25, 4)
    assert report.confusions(found, ("cat", "dog", "猫")) == [("dog", "猫", 2), ("dog", "cat", 1)]


def test_the_most_contradicted_labels_come_first() -> None:
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.01, 0.99], [0.5, 0.5]])
    found = report.doubts(np.array([7, 8, 9, 10]), np.zeros(4, np.int64), probabilities)
    assert [(doubt.number, doubt.label, doubt.predicted) for doubt in found] == [(9, 0, 1), (8, 0, 1)]


def test_a_rare_label_weighs_more_and_all_together_as_before() -> None:
    labels = np.repeat([0, 1], [90, 10])
    weights = session.importance(labels, 2)
    assert weights[1] == pytest.approx(9 * weights[0])
    assert weights[labels].mean() == pytest.approx(1)


def test_a_head_learns_and_its_cross_fit_finds_a_wrong_label() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 40)
    features = (np.eye(3)[labels] * 4 + rng.normal(size=(120, 3))).astype(np.float32)
    even = np.ones(3, np.float32)
    fitted = head.fit(features[::2], labels[::2], even, (features[1::2], labels[1::2]), updates=100)
    assert np.mean(fitted.logits(features[1::2]).argmax(axis=1) == labels[1::2]) > 0.9
    wrong = labels.copy()
    wrong[5] = 2
    crossed = head.cross_fitted(features, wrong, even, np.arange(120))
    assert crossed[5].argmax() == 0
