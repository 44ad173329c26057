"""How good a network is, from its logits; and the pictures of its card."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from training.data import LABELS
from training.release.calibrate import Reliability
from training.train import scores

INK, GRID = "#1f2933", "#d9dfe5"

LEGIBLE = 30
"""Labels whose names and numbers fit on a confusion matrix."""


@dataclass(frozen=True)
class Evaluation:
    """`accuracy` and each label's recall `per_class` in [0, 1]; `confusion` (10, 10) counts, a row a true label."""

    accuracy: float
    per_class: dict[str, float]
    confusion: NDArray[np.int64]


def evaluate(logits: NDArray[np.float32], labels: NDArray[np.integer], names: Sequence[str] = LABELS) -> Evaluation:
    """Compare logits (N, 10) with labels (N,), which count the `names`."""
    confusion = np.zeros((len(names), len(names)), np.int64)
    np.add.at(confusion, (labels, logits.argmax(axis=1)), 1)
    recalls = confusion.diagonal() / confusion.sum(axis=1).clip(min=1)
    return Evaluation(
        accuracy=float(confusion.trace() / confusion.sum()),
        per_class=dict(zip(names, recalls.tolist(), strict=True)),
        confusion=confusion,
    )


def logits(model: keras.Model, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logits (N, 10) of pictures (N, 32, 32, 3) uint8, in one plain forward pass."""
    return np.asarray(scores(model).predict(images, batch_size=500, verbose=0))


def plot_confusion(counts: NDArray[np.int64], path: Path, names: Sequence[str] = LABELS) -> None:
    """The confusion matrix (10, 10), coloured by the mistakes only: the diagonal would drown them.

    With more than LEGIBLE labels it shows neither their `names` nor numbers.
    """
    mistakes = np.where(np.eye(len(names), dtype=bool), 0, counts)
    legible = len(names) <= LEGIBLE
    scale = max(1, len(names) / 12) if legible else 1
    figure = Figure(figsize=(7 * scale, 6.4 * scale), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(mistakes, cmap="Oranges", vmin=0, vmax=max(1, 1.4 * mistakes.max()))
    for (row, column), count in np.ndenumerate(counts) if legible else ():
        weight = "bold" if row == column else "normal"
        axes.text(column, row, str(count), ha="center", va="center", color=INK, fontsize=9, fontweight=weight)
    axes.set_xticks(range(len(names)) if legible else [], names if legible else None, rotation=45, ha="right")
    axes.set_yticks(range(len(names)) if legible else [], names if legible else None)
    axes.set(xlabel="the network says", ylabel="it is")
    axes.set_title(
        f"{counts.sum():,} test pictures, {counts.trace() / counts.sum():.2%} right", loc="left", fontsize=11
    )
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    save(figure, path)


def plot_reliability(before: Reliability, after: Reliability, path: Path) -> None:
    """Accuracy against confidence without and with the temperature, over how many pictures each bin holds."""
    figure = Figure(figsize=(7, 4.8), layout="constrained")
    rows = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=[3, 1])
    for column, (bins, name) in enumerate(((before, "without the temperature"), (after, "with it"))):
        accuracy, counts = rows[0, column], rows[1, column]
        edges = np.linspace(0, 1, len(bins.count) + 1)
        middles, width, held = (edges[:-1] + edges[1:]) / 2, 1 / len(bins.count), bins.count > 0
        accuracy.bar(middles[held], (bins.right[held] / bins.count[held]), width * 0.9, color="#d9480f", alpha=0.75)
        accuracy.plot([0, 1], [0, 1], color="#8795a1", linewidth=1, linestyle="--")
        accuracy.scatter(
            bins.confidence[held] / bins.count[held], bins.right[held] / bins.count[held], 12, INK, zorder=3
        )
        accuracy.set_title(f"{name}: error {bins.error:.2%}", loc="left", fontsize=11)
        accuracy.set(xlim=(0, 1), ylim=(0, 1))
        counts.bar(middles, bins.count, width * 0.9, color="#8795a1")
        for middle, count in zip(middles[held], bins.count[held], strict=True):
            counts.text(middle, count, f" {count}", ha="center", va="bottom", rotation=90, color=INK, fontsize=6)
        counts.set(xlabel="confidence", ylim=(0, 1.6 * max(before.count.max(), after.count.max())))
    rows[0, 0].set_ylabel("accuracy")
    rows[1, 0].set_ylabel("test pictures")
    for axes in rows.flat:
        axes.grid(color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def plot_history(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Loss, accuracy and learning rate over the epochs."""
    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(7, 6.4), layout="constrained")
    loss, accuracy, rate = figure.subplots(3, 1, sharex=True, height_ratios=[3, 3, 1])
    for axes, name in ((loss, "loss"), (accuracy, "accuracy")):
        axes.plot(epochs, [row[name] for row in history], color="#8795a1", label="training, as augmented")
        axes.plot(epochs, [row[f"val_{name}"] for row in history], color="#d9480f", label="validation")
        axes.set_ylabel(name)
    loss.legend(frameon=False)
    rate.plot(epochs, [row["learning_rate"] for row in history], color=INK)
    rate.set(ylabel="learning rate", xlabel="epoch", ylim=(0, None))
    for axes in (loss, accuracy, rate):
        axes.grid(color=GRID, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write a PNG that is the same every time."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a label may be in any script
        figure.savefig(path, dpi=110, metadata={"Software": None})
