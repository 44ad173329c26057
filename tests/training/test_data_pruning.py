import numpy as np
import pytest

from training.augment import prune

LOSSES = np.random.default_rng(0).exponential(1, 10_000).astype(np.float32)


def test_pictures_below_the_mean_are_left_out_at_random_and_none_above_it() -> None:
    kept, weights = prune(LOSSES, 0.7, np.random.default_rng(1))
    easy = LOSSES.mean() > LOSSES
    assert set(np.flatnonzero(~easy)) <= set(kept)
    assert len(kept) - np.sum(~easy) == pytest.approx(0.3 * np.sum(easy), rel=0.05)
    assert weights.dtype == np.float32
    assert weights == pytest.approx(np.where(easy[kept], 1 / 0.3, 1))
    assert not np.array_equal(kept, prune(LOSSES, 0.7, np.random.default_rng(2))[0])


def test_what_is_kept_stands_for_all() -> None:
    kept, weights = prune(LOSSES, 0.5, np.random.default_rng(1))
    assert (weights * LOSSES[kept]).sum() == pytest.approx(LOSSES.sum(), rel=0.01)
    assert weights.sum() == pytest.approx(len(LOSSES), rel=0.02)


@pytest.mark.parametrize("losses", [np.zeros(9, np.float32), np.full(9, 2.5, np.float32)])
def test_pictures_that_are_all_alike_are_all_kept(losses: np.ndarray) -> None:
    kept, weights = prune(losses, 0.9, np.random.default_rng(0))
    assert kept.tolist() == list(range(9))
    assert (weights == 1).all()
