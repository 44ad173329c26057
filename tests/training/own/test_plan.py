import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import until
from training.own import fit, listing, plan
from training.own.listing import Listing
from training.own.split import Split
from training.run import Progress


class Clock:
    """Stands in for the module `time`, and goes on only where a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(fit, "time", clock)
    return clock


def test_the_age_of_the_process_counts_what_came_before_this_test() -> None:
    outer = time.monotonic()
    first = plan.process_age()
    inner = time.monotonic()
    until(lambda: time.monotonic() > inner + 0.2)
    least, grown, most = time.monotonic() - inner, plan.process_age() - first, time.monotonic() - outer
    assert first > 0
    assert least - 0.01 <= grown <= most + 0.01


def test_a_pace_compares_the_last_updates_with_the_first_that_are_not_compiled(clock: Clock) -> None:
    pace = fit.Pace()
    for took in [60.0, *[1.0] * 10, *[2.0] * 5]:
        with pace.update():
            clock.now += took
    assert pace.slowdown == 1  # too few to tell
    for _ in range(10):
        with pace.update():
            clock.now += 3
    assert pace.slowdown == 3


class Imagined(fit._Training):
    """A training that only passes time: `busy` says how long an update takes at a time in seconds."""

    def __init__(self, clock: Clock, busy: Any) -> None:
        self.clock, self.busy, self.began = clock, busy, clock.now
        self.progress = Progress()
        self.asked = fit.recipe(1000, 32, None, mirror=True, seed=0)
        self.task: Any = SimpleNamespace(training=np.arange(1000))
        self.optimizer = SimpleNamespace(iterations=0, learning_rate=SimpleNamespace(assign=self.rates))
        self.assigned: list[float] = []

    def rates(self, rate: float) -> None:
        self.assigned.append(rate)

    def _step(self) -> tuple[float, float]:
        self.clock.now += self.busy(self.clock.now - self.began)
        return 1.0, 0.5

    def _look(self, figures: dict[str, float], spent: Any) -> None:
        self.clock.now += 4
        self.progress.seconds = spent()
        self.progress.history.append({"updates": 1, "loss": 1.0, "val_accuracy": 0.5})


@pytest.mark.parametrize(("later", "ending"), [(1.0, 100), (2.0, 200), (0.5, 50)])
def test_a_training_ends_sooner_where_the_machine_gets_busier(clock: Clock, later: float, ending: float) -> None:
    training = Imagined(clock, lambda spent: 1.0 if spent < 300 else later)
    training.until(1200, 100)
    assert clock.now - training.began == pytest.approx(1200 - ending, abs=8)
    assert training.assigned[-1] < 0.02 * max(training.assigned)


def test_at_most_half_of_the_time_is_kept_for_the_ending(clock: Clock) -> None:
    training = Imagined(clock, lambda _: 1.0)
    training.until(100, 400)
    assert clock.now - training.began == pytest.approx(50, abs=8)


def test_a_training_that_is_over_is_not_taken_up_again(clock: Clock) -> None:
    training = Imagined(clock, lambda _: 1.0)
    training.progress.seconds = 97
    training.until(100, 2)
    assert clock.now == training.began
    training.until(200, 2)
    assert clock.now - training.began == pytest.approx(101, abs=8)


@pytest.fixture
def photographs(tmp_path: Path) -> Listing:
    """40 pictures of 100 x 100 pixels."""
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for number in range(20):
            Image.new("RGB", (100, 100)).save(tmp_path / label / f"{number}.png")
    return listing.find(tmp_path)


@pytest.mark.parametrize(("cost", "side"), [(0.001, 96), (0.1, 64), (1.0, 32)])
def test_the_size_is_what_the_pictures_fill_and_the_time_allows(
    photographs: Listing, monkeypatch: pytest.MonkeyPatch, cost: float, side: int
) -> None:
    monkeypatch.setattr(fit, "seconds_a_picture", lambda start, labels: cost)
    assert plan.side(photographs, None, 500) == side


def test_nothing_is_measured_where_the_pictures_are_small(
    photographs: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(fit, "seconds_a_picture")
    for entry in photographs.entries:
        Image.new("RGB", (40, 60)).save(entry.path)
    assert plan.side(photographs, None, 500) == 32


def test_more_pictures_take_longer_to_measure() -> None:
    def parts(count: int) -> Split:
        return Split(*(np.arange(number) for number in (8 * count, count, count, 0)))

    few, many = (plan.Rehearsal(built=2, picture=0.01).ending(parts(count)) for count in (30, 3000))
    assert 2 < few < many
    assert many > few + 0.01 * 12_000
