"""How good a network for one's own pictures is, with how sure that is, and which pictures to look at again."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from training.release.evaluate import INK, Evaluation, save

SHEET = 24
"""Pictures on the sheet of those that may be mislabelled."""

LISTED = 100


def wilson(right: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """The interval in [0, 1] that holds the true share with 95 % confidence, given `right` of `count` (Wilson 1927)."""
    if not count:
        return 0.0, 1.0
    share = right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def measured(evaluation: Evaluation) -> dict[str, float]:
    """The share in [0, 1] that is recognised of each label that there were pictures of."""
    counts = evaluation.confusion.sum(axis=1)
    return {label: share for (label, share), count in zip(evaluation.per_class.items(), counts, strict=True) if count}


def worst(evaluation: Evaluation) -> tuple[str, float, int]:
    """The label that is recognised least, its share in [0, 1], and how many pictures of it were asked about."""
    shares = measured(evaluation)
    label = min(shares, key=lambda label: shares[label])
    place = list(evaluation.per_class).index(label)
    return label, shares[label], int(evaluation.confusion[place].sum())


def confusions(evaluation: Evaluation, names: Sequence[str], most: int = 3) -> list[tuple[str, str, int]]:
    """The most frequent mistakes: the true label, what was said instead, and how often."""
    mistakes = evaluation.confusion * (1 - np.eye(len(names), dtype=np.int64))
    order = np.argsort(-mistakes, axis=None, kind="stable")[:most]
    found = [(*divmod(int(place), len(names)), int(mistakes.flat[place])) for place in order]
    return [(names[true], names[said], count) for true, said, count in found if count]


@dataclass(frozen=True)
class Doubt:
    """A picture, by number, that is `predicted` with this probability [0, 1] and carries another label."""

    number: int
    label: int
    predicted: int
    probability: float


def doubts(numbers: NDArray[np.int64], labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> list[Doubt]:
    """Pictures whose label is contradicted, the most certain first, at most LISTED.

    `numbers` (N,) name the pictures, `labels` (N,) are theirs, `probabilities` (N, labels) are what a network says.
    They are ordered by how much more probable the predicted label is than the given one, the margin of confident
    learning (Northcutt, Jiang and Chuang 2021).
    """
    said = probabilities.argmax(axis=1)
    rows = np.arange(len(labels))
    margins = probabilities[rows, said] - probabilities[rows, labels]
    order = [place for place in np.argsort(-margins, kind="stable")[:LISTED].tolist() if margins[place] > 0]
    return [
        Doubt(int(numbers[place]), int(labels[place]), int(said[place]), float(probabilities[place, said[place]]))
        for place in order
    ]


def plot_sheet(
    pictures: NDArray[np.uint8], doubts: Sequence[Doubt], names: Sequence[str], path: Path, columns: int = 6
) -> None:
    """The pictures (N, side, side, 3) of the first doubts, each with its label and what the network says."""
    rows = max(1, -(-len(doubts) // columns))
    figure = Figure(figsize=(9, 1.95 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, picture, doubt in zip(axes.flat, pictures, doubts, strict=False):
        axis.imshow(picture)
        title = f"labelled {names[doubt.label]:.18}\n{names[doubt.predicted]:.18} {doubt.probability:.0%}?"
        axis.set_title(title.replace("$", r"\$"), fontsize=8, color=INK)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        save(figure, path)
