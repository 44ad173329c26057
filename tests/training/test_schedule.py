import pytest

from tests.training.samples import FAST, TUTORIAL, vary
from training.optim import learning_rate


def test_the_tutorials_rate_decays_with_every_step() -> None:
    assert learning_rate(TUTORIAL, 0, 0) == 0.01
    assert learning_rate(TUTORIAL, 2199, 25) == pytest.approx(0.01 / (1 + 0.0004 * 2199))


def test_knots_are_joined_by_straight_lines() -> None:
    config = vary(FAST, epochs=10, learning_rate=2.0, knots=((0, 0), (2, 1), (10, 0)))
    rates = [learning_rate(config, step, (step + 0.5) / 10) for step in range(100)]
    assert rates[:3] == pytest.approx([0.05, 0.15, 0.25])
    assert rates[19:21] == pytest.approx([1.95, 2 - 0.0125 * 2 / 2])
    assert rates[-1] == pytest.approx(0.0125)
    assert rates[20:] == sorted(rates[20:], reverse=True)


def test_two_knots_at_one_epoch_are_a_warm_restart() -> None:
    config = vary(FAST, epochs=10, learning_rate=1.0, knots=((0, 1), (8, 0), (8, 0.5), (10, 0)))
    rates = [learning_rate(config, step, (step + 0.5) / 10) for step in range(100)]
    assert rates[79:81] == pytest.approx([0.5 / 80, 0.5 - 0.5 * 0.5 / 20])
