"""The batches of an epoch: pictures chosen, shuffled, flipped, translated, cut out and mixed at random.

Every number drawn comes from (seed, epoch), and the losses that data pruning goes by are in the checkpoint, so an epoch
is the same whether or not the run was interrupted before it.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from training.data import LABELS, Pictures
from training.disturbances import disturb
from training.recipe import Recipe, RecipeError
from training.trivial_augment import vary

MEAN_COLOUR = np.array([125, 123, 114], dtype=np.uint8)
"""The training pictures' mean, so that a cut-out square is close to zero once the network has normalised it."""


class Epochs:
    """The training pictures, shuffled and augmented anew each epoch, in batches of one size.

    A last, smaller batch is left out: every update then weighs the same, and TensorFlow sees one shape.
    """

    def __init__(self, pictures: Pictures, recipe: Recipe) -> None:
        edge = recipe.augment.translate
        self.recipe = recipe
        self.labels = pictures.labels.astype(np.int32)
        self.padded = np.pad(pictures.images, ((0, 0), (edge, edge), (edge, edge), (0, 0)), mode="reflect")
        self.first_flips = np.random.default_rng(recipe.seed).random(len(self.labels)) < 0.5

    def order(
        self, epoch: int, losses: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Which pictures make up epoch `epoch`'s batches, and what the loss of each weighs, both (steps, B).

        `losses` (N,) are the pictures' last ones, NaN before the first; without them no picture is left out.
        Raises RecipeError where that makes no batch.
        """
        recipe = self.recipe
        rng = np.random.default_rng((recipe.seed, epoch))
        chosen, weights = np.arange(len(self.labels)), np.ones(len(self.labels), np.float32)
        pruning = recipe.pruning
        if losses is not None and pruning and epoch < recipe.epochs * (1 - pruning.whole):
            chosen, weights = prune(losses, pruning.share, rng)
        steps = len(chosen) // recipe.batch_size
        if not steps:
            raise RecipeError(
                f"batch_size is {recipe.batch_size}; expected at most the {len(self.labels)} training pictures, "
                "less what pruning leaves out"
            )
        order = rng.permutation(len(chosen))[: steps * recipe.batch_size].reshape(steps, recipe.batch_size)
        return chosen[order], weights[order]

    def batches(self, epoch: int, order: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
        """Pictures (B, 32, 32, 3) uint8 and how much of each label they show (B, 10), a batch for each row of `order`.

        `order` holds the pictures' numbers. A picture shows one label, or two if another is pasted into it.
        """
        augment = self.recipe.augment
        rng = np.random.default_rng((self.recipe.seed, epoch, 1))
        for chosen in order:
            images = crop(self.padded[chosen], rng.integers(0, 2 * augment.translate + 1, (2, len(chosen))))
            flips = self._flips(chosen, epoch, rng)
            images[flips] = images[flips, :, ::-1]
            if augment.varied:
                vary(images, augment.varied, rng)
            labels = np.eye(len(LABELS), dtype=np.float32)[self.labels[chosen]]
            pasted = np.zeros(len(chosen), np.bool_)
            if augment.cutmix:
                pasted = rng.random(len(chosen)) < augment.cutmix
                paste(images, labels, pasted, rng)
            if augment.cutout:
                images[~pasted] = cut(images[~pasted], augment.cutout, rng)
            yield images, labels

    def disturbed(self, images: NDArray[np.uint8], epoch: int, step: int) -> NDArray[np.uint8]:
        """The pictures (B, 32, 32, 3) of batch number `step` of `epoch` as the network is shown them."""
        augment = self.recipe.augment
        if not (augment.disturbed or augment.noisy):
            return images
        rng = np.random.default_rng((self.recipe.seed, epoch, 2, step))
        return disturb(images, augment.disturbed, augment.strength, augment.noisy, rng)

    def _flips(self, chosen: NDArray[np.int64], epoch: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Which pictures to mirror: none, half at random, or in every other epoch each (Jordan 2024, section 3.6)."""
        match self.recipe.augment.flip:
            case "alternating":
                return self.first_flips[chosen] ^ (epoch % 2 == 1)
            case "random":
                return rng.random(len(chosen)) < 0.5
            case "none":
                return np.zeros(len(chosen), dtype=np.bool_)


def crop(padded: NDArray[np.uint8], offsets: NDArray[np.int64], side: int = 32) -> NDArray[np.uint8]:
    """Cut side x side pixels out of each of (B, H, W, 3) pictures, row b from `offsets[:, b]` = (top, left)."""
    windows = sliding_window_view(padded, (side, side), axis=(1, 2))  # (B, H - side + 1, W - side + 1, 3, side, side)
    chosen = windows[np.arange(len(padded)), offsets[0], offsets[1]]
    return np.ascontiguousarray(chosen.transpose(0, 2, 3, 1))


def cut(images: NDArray[np.uint8], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Copies of the pictures, one whole square of `size` pixels in each greyed out (DeVries and Taylor 2017)."""
    side = images.shape[1]
    top, left = rng.integers(0, side - size + 1, (2, len(images)))
    return np.where(_inside(side, top, top + size, left, left + size)[..., None], MEAN_COLOUR, images)


def paste(
    images: NDArray[np.uint8], labels: NDArray[np.float32], pasted: NDArray[np.bool_], rng: np.random.Generator
) -> None:
    """Replace, in place, a rectangle of the pictures that `pasted` names by another's (CutMix, Yun et al. 2019).

    Its area before it is clipped to the picture is uniform, as is the place of its middle; the label is mixed as the
    pixels are.
    """
    count, side = int(pasted.sum()), images.shape[1]
    others = rng.integers(0, len(images), count)
    half = np.sqrt(rng.random(count)) * side / 2
    middle = rng.random((2, count)) * side
    top, left = np.rint(middle - half)
    bottom, right = np.rint(middle + half)
    inside = _inside(side, top, bottom, left, right)
    share = inside.mean(axis=(1, 2), dtype=np.float32)[:, None]
    images[pasted] = np.where(inside[..., None], images[others], images[pasted])
    labels[pasted] = share * labels[others] + (1 - share) * labels[pasted]


def _inside(
    side: int, top: NDArray[Any], bottom: NDArray[Any], left: NDArray[Any], right: NDArray[Any]
) -> NDArray[np.bool_]:
    """Which pixels (B, side, side) lie inside rectangles given by their edges, (B,) each."""
    rows = (np.arange(side) >= top[:, None]) & (np.arange(side) < bottom[:, None])
    columns = (np.arange(side) >= left[:, None]) & (np.arange(side) < right[:, None])
    return rows[:, :, None] & columns[:, None, :]


def prune(
    losses: NDArray[np.float32], share: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Which of N pictures to train on, as their numbers (K,), and what the loss of each is to weigh, (K,).

    `losses` (N,) are their last ones, NaN before the first. Of those below the mean, `share` [0, 1) are left out at
    random, and the rest of them weigh 1 / (1 - share), so that the expected gradient stays what it was (InfoBatch, Qin
    et al. 2024).
    """
    known = losses[~np.isnan(losses)]
    easy = losses < known.sum() / max(len(known), 1)
    kept = np.flatnonzero(~easy | (rng.random(len(losses)) >= share))
    return kept, np.where(easy[kept], np.float32(1 / (1 - share)), np.float32(1))
