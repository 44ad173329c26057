from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from training.augmentation import MEAN_COLOUR, Epochs, crop, cut
from training.config import FAST, TUTORIAL, TrainConfig
from training.data import Pictures

PLAIN = replace(TUTORIAL, batch_size=8)


@pytest.fixture
def pictures() -> Pictures:
    rng = np.random.default_rng(0)
    return Pictures(rng.integers(0, 256, (20, 32, 32, 3), np.uint8), np.arange(20, dtype=np.uint8))


def epoch(pictures: Pictures, config: TrainConfig, number: int) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    epochs = Epochs(pictures, config)
    images, labels = zip(*epochs.batches(number, epochs.order(number)[0]), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def test_without_augmentation_pictures_are_only_shuffled(pictures: Pictures) -> None:
    images, labels = epoch(pictures, PLAIN, 0)
    assert images.shape == (16, 32, 32, 3)
    assert images.dtype == np.uint8
    assert len(set(labels)) == 16
    assert labels.tolist() != sorted(labels)
    assert (images == pictures.images[labels]).all()


def test_an_epoch_depends_on_nothing_but_seed_and_number(pictures: Pictures) -> None:
    config = replace(FAST, batch_size=8, flip="random")
    first = epoch(pictures, config, 3)[0]
    epoch(pictures, config, 0)
    assert np.array_equal(first, epoch(pictures, config, 3)[0])
    assert not np.array_equal(first, epoch(pictures, config, 4)[0])
    assert not np.array_equal(first, epoch(pictures, replace(config, seed=1), 3)[0])


def test_epochs_that_are_pruned_leave_out_what_is_easy_until_the_last_eighth(pictures: Pictures) -> None:
    config = replace(FAST, batch_size=4, epochs=46, data_pruning=0.75)
    epochs = Epochs(pictures, config)
    losses = np.repeat(np.array([0.1, 2], np.float32), [16, 4])
    chosen, weights = epochs.order(0, losses)
    assert chosen.shape == weights.shape == (len(chosen), 4)
    assert 1 <= len(chosen) < 5
    assert (weights == np.where(chosen < 16, 4, 1)).all()
    assert epochs.order(40, losses)[0].shape != (5, 4)
    assert sorted(epochs.order(41, losses)[0].ravel()) == list(range(20))
    assert sorted(epochs.order(0)[0].ravel()) == list(range(20))


def test_alternating_flips_mirror_every_picture_in_every_other_epoch(pictures: Pictures) -> None:
    config = replace(PLAIN, flip="alternating", batch_size=20)
    flipped = []
    for number in range(3):
        images, labels = epoch(pictures, config, number)
        plain, mirrored = pictures.images[labels], pictures.images[labels, :, ::-1]
        is_mirrored = (images == mirrored).all(axis=(1, 2, 3))
        assert (is_mirrored | (images == plain).all(axis=(1, 2, 3))).all()
        flipped.append(is_mirrored[np.argsort(labels)])
    assert (flipped[0] == ~flipped[1]).all()
    assert (flipped[0] == flipped[2]).all()
    assert 0 < flipped[0].sum() < 20


def test_translation_moves_the_picture_and_reflects_the_edge(pictures: Pictures) -> None:
    padded = np.pad(pictures.images[:3], ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    moved = crop(padded, np.array([[2, 0, 4], [2, 4, 0]]))
    assert (moved[0] == pictures.images[0]).all()
    assert (moved[1, 2:, :-2] == pictures.images[1, :-2, 2:]).all()
    assert (moved[1, 0, :-2] == pictures.images[1, 2, 2:]).all()
    assert (moved[2, :-2, 2:] == pictures.images[2, 2:, :-2]).all()


def test_cutout_greys_one_whole_square_in_each_picture(pictures: Pictures) -> None:
    images = pictures.images.copy()
    cut(images, 6, np.random.default_rng(0))
    for before, after in zip(pictures.images, images, strict=True):
        rows, columns = np.nonzero((before != after).any(axis=2))
        assert (after[rows, columns] == MEAN_COLOUR).all()
        assert [int(np.ptp(rows)), int(np.ptp(columns))] == [5, 5]
