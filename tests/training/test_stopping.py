from collections.abc import Sequence

import pytest

from tests.training.samples import TUTORIAL, vary
from training.run import best_epoch, is_over

PATIENT = vary(TUTORIAL, epochs=10, patience=2)


def history(*accuracies: float, losses: Sequence[float] = ()) -> list[dict[str, float]]:
    losses = losses or [0.0] * len(accuracies)
    return [{"val_accuracy": one, "val_loss": other} for one, other in zip(accuracies, losses, strict=True)]


def test_without_patience_only_the_last_epoch_ends_a_run() -> None:
    config = vary(TUTORIAL, epochs=4)
    assert not is_over(config, history(0.5, 0.4, 0.3))
    assert is_over(config, history(0.5, 0.4, 0.3, 0.2))


def test_a_run_stops_when_so_many_epochs_brought_nothing() -> None:
    assert not is_over(PATIENT, [])
    assert not is_over(PATIENT, history(0.5, 0.4))
    assert is_over(PATIENT, history(0.5, 0.4, 0.5))
    assert not is_over(PATIENT, history(0.5, 0.4, 0.6, 0.6))
    assert is_over(PATIENT, history(0.5, 0.4, 0.6, 0.6, 0.6))


def test_less_than_the_minimum_counts_as_nothing_but_adds_up() -> None:
    config = vary(PATIENT, min_delta=0.015)
    assert is_over(config, history(0.50, 0.51, 0.51))
    assert not is_over(config, history(0.50, 0.51, 0.52))


def test_the_loss_is_better_when_it_falls() -> None:
    config = vary(PATIENT, monitor="val_loss")
    falling, rising = history(0.1, 0.1, 0.1, losses=[3, 2, 1]), history(0.1, 0.2, 0.3, losses=[1, 2, 3])
    assert not is_over(config, falling)
    assert is_over(config, rising)
    assert (best_epoch(config, falling), best_epoch(config, rising)) == (3, 1)


@pytest.mark.parametrize(("restore", "chosen"), [(True, 2), (False, 4)])
def test_the_best_epoch_is_kept_or_else_the_last(restore: bool, chosen: int) -> None:
    config = vary(TUTORIAL, restore_best=restore)
    assert best_epoch(config, history(0.1, 0.3, 0.3, 0.2)) == chosen
    assert best_epoch(config, []) == 0
