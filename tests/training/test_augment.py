import numpy as np
import pytest
from numpy.typing import NDArray

from tests.training.samples import FAST, TUTORIAL, vary
from training.augment import MEAN_COLOUR, Epochs, crop, cut, paste
from training.data import Pictures
from training.recipe import Recipe

PLAIN = vary(TUTORIAL, batch_size=8)


@pytest.fixture
def pictures() -> Pictures:
    rng = np.random.default_rng(0)
    return Pictures(rng.integers(0, 256, (20, 32, 32, 3), np.uint8), np.arange(20, dtype=np.uint8) % 10)


def epoch(pictures: Pictures, config: Recipe, number: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Its pictures as augmented, and which of `pictures` each one is."""
    epochs = Epochs(pictures, config)
    order, _ = epochs.order(number)
    images, labels = map(np.concatenate, zip(*epochs.batches(number, order), strict=True))
    assert labels.dtype == np.float32
    if not config.augment.cutmix:
        assert (labels == np.eye(10)[pictures.labels[order.ravel()]]).all()
    return images, order.ravel()


def test_without_augmentation_pictures_are_only_shuffled(pictures: Pictures) -> None:
    images, numbers = epoch(pictures, PLAIN, 0)
    assert images.shape == (16, 32, 32, 3)
    assert images.dtype == np.uint8
    assert len(set(numbers)) == 16
    assert numbers.tolist() != sorted(numbers)
    assert (images == pictures.images[numbers]).all()


def test_an_epoch_depends_on_nothing_but_seed_and_number(pictures: Pictures) -> None:
    config = vary(FAST, batch_size=8, flip="random", cutmix=0.5)
    first = epoch(pictures, config, 3)[0]
    epoch(pictures, config, 0)
    assert np.array_equal(first, epoch(pictures, config, 3)[0])
    assert not np.array_equal(first, epoch(pictures, config, 4)[0])
    assert not np.array_equal(first, epoch(pictures, vary(config, seed=1), 3)[0])


def test_epochs_that_are_pruned_leave_out_what_is_easy_until_the_last_eighth(pictures: Pictures) -> None:
    config = vary(FAST, batch_size=4, epochs=46, pruning=0.75)
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
    config = vary(PLAIN, flip="alternating", batch_size=20)
    flipped = []
    for number in range(3):
        images, numbers = epoch(pictures, config, number)
        plain, mirrored = pictures.images[numbers], pictures.images[numbers, :, ::-1]
        is_mirrored = (images == mirrored).all(axis=(1, 2, 3))
        assert (is_mirrored | (images == plain).all(axis=(1, 2, 3))).all()
        flipped.append(is_mirrored[np.argsort(numbers)])
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
    images = cut(pictures.images, 6, np.random.default_rng(0))
    for before, after in zip(pictures.images, images, strict=True):
        rows, columns = np.nonzero((before != after).any(axis=2))
        assert (after[rows, columns] == MEAN_COLOUR).all()
        assert [int(np.ptp(rows)), int(np.ptp(columns))] == [5, 5]


def test_cutmix_pastes_a_rectangle_of_another_picture_and_mixes_the_labels_by_area() -> None:
    images = np.broadcast_to(np.arange(10, dtype=np.uint8)[:, None, None, None], (10, 32, 32, 3)).repeat(40, axis=0)
    before, labels = images.copy(), np.eye(10, dtype=np.float32).repeat(40, axis=0)
    pasted = np.arange(400) % 4 > 0
    paste(images, labels, pasted, np.random.default_rng(0))
    assert (images[~pasted] == before[~pasted]).all()
    shown = (images[..., :1] == np.arange(10)).mean(axis=(1, 2))  # each picture is of one colour, its label's
    assert np.allclose(labels, shown)
    shares = 1 - shown[np.arange(400), np.arange(400) // 40]
    assert (shares[pasted] > 0).mean() > 0.8
    assert 0.2 < shares[pasted].mean() < 0.5
    assert shares.max() > 0.8
    for picture, own in zip(images, before, strict=True):
        rows, columns = np.nonzero((picture != own).any(axis=2))
        if len(rows):
            assert len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)


def test_a_picture_has_cutout_or_cutmix(pictures: Pictures) -> None:
    images, _ = epoch(pictures, vary(PLAIN, batch_size=20, cutout=8, cutmix=0.5), 0)
    grey = (images == MEAN_COLOUR).all(axis=3).sum(axis=(1, 2))
    assert set(grey) == {0, 64}


def test_disturbed_pictures_follow_from_seed_epoch_and_step(pictures: Pictures) -> None:
    recipe = vary(FAST, disturbed=0.5, noisy=0.5)
    images = pictures.images
    found = Epochs(pictures, recipe).disturbed(images, 1, 2)
    assert (found != images).any(axis=(1, 2, 3)).sum() > 5
    assert np.array_equal(found, Epochs(pictures, recipe).disturbed(images, 1, 2))
    for other in ((1, 3), (2, 2)):
        assert not np.array_equal(found, Epochs(pictures, recipe).disturbed(images, *other))
    assert not np.array_equal(found, Epochs(pictures, vary(recipe, seed=1)).disturbed(images, 1, 2))
    assert np.array_equal(Epochs(pictures, vary(recipe, strength=0)).disturbed(images, 1, 2), images)


def test_without_disturbances_pictures_are_shown_as_they_are(pictures: Pictures) -> None:
    assert Epochs(pictures, FAST).disturbed(pictures.images, 0, 0) is pictures.images


def test_varied_pictures_differ_and_keep_their_labels(pictures: Pictures) -> None:
    images, numbers = epoch(pictures, vary(PLAIN, varied=0.5), 0)
    changed = (images != pictures.images[numbers]).any(axis=(1, 2, 3))
    assert 0 < changed.sum() < len(images)
