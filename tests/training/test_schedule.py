from dataclasses import replace

import pytest

from training.config import FAST, TUTORIAL
from training.schedule import learning_rate


def test_the_tutorials_rate_decays_with_every_step() -> None:
    assert learning_rate(TUTORIAL, 0, 2200) == 0.01
    assert learning_rate(TUTORIAL, 2199, 2200) == pytest.approx(0.01 / (1 + 0.0004 * 2199))


def test_the_triangle_rises_then_falls_to_its_end() -> None:
    config = replace(FAST, learning_rate=1.0, warmup=0.25, restart_epochs=0)
    rates = [learning_rate(config, step, 100) for step in range(100)]
    assert rates.index(max(rates)) == 25
    assert max(rates) == pytest.approx(1.0)
    assert 0 < rates[0] < 0.1
    assert rates[:26] == sorted(rates[:26])
    assert rates[25:] == sorted(rates[25:], reverse=True)
    assert rates[-1] == pytest.approx(1 / 75)


def test_a_second_cycle_starts_again_lower_when_the_first_has_ended() -> None:
    config = replace(FAST, epochs=10, learning_rate=1.0, warmup=0.25, restart_epochs=2, restart_learning_rate=0.3)
    rates = [learning_rate(config, step, 100) for step in range(100)]
    alone = replace(config, epochs=8, restart_epochs=0)
    assert rates[:80] == [learning_rate(alone, step, 80) for step in range(80)]
    assert rates[80] == 0.3
    assert rates[80:] == sorted(rates[80:], reverse=True)
    assert rates[-1] == pytest.approx(0.3 / 20)


def test_without_warmup_it_starts_at_the_top() -> None:
    assert learning_rate(replace(FAST, warmup=0.0), 0, 4600) == FAST.learning_rate
