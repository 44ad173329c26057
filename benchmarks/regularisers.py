"""What each regulariser does to the tutorial's network: `python -m benchmarks.regularisers` trains it once with each.

Writes a table and a plot. Runs that are finished are not repeated, an interrupted one goes on.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from training import data, lineage
from training.commands import FAILURES
from training.data import Pictures
from training.make import split
from training.recipe import Recipe, RecipeError
from training.release import provenance
from training.release.card import table
from training.release.evaluate import GRID, save
from training.train import measure, scores, train
from training.trial import changed, differences, trial

TUTORIAL = lineage.find("tutorial")

BASE = changed(
    TUTORIAL,
    {
        "name": "nothing",
        "epochs": 10,
        "optimizer.learning_rate": 0.05,
        "optimizer.momentum": 0.9,
        "network.dropout": 0,
        "selection.restore_best": False,
    },
)
"""The tutorial's network and recipe, but for a rate and a momentum with which ten epochs are enough to overfit: with
the tutorial's own it recognises 44 % of the validation pictures by then, and there is nothing to regularise."""

VARIANTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "nothing": ("nothing", {}),
    "the tutorial's dropout": ("dropout-tutorial", {"network.dropout": (0.2, 0.3)}),
    "dropout of a half": ("dropout-half", {"network.dropout": 0.5}),
    "DropConnect": ("dropconnect", {"network.dropconnect": 0.5}),
    "weight decay": ("weight-decay", {"optimizer.weight_decay": 0.01}),
    "max-norm": ("max-norm", {"network.max_norm": 1.0}),
    "stochastic pooling": ("stochastic-pooling", {"network.pool": "stochastic"}),
    "average pooling": ("average-pooling", {"network.pool": "average"}),
    "flips and translations": ("augmentation", {"augment.flip": "random", "augment.translate": 2}),
    "early stopping": (
        "early-stopping",
        {"selection.monitor": "val_loss", "selection.patience": 2, "selection.restore_best": True},
    ),
}
"""By what the table calls each: the run's name, and the fields in which it differs from `BASE`."""


@dataclass(frozen=True)
class Result:
    """`epochs` that were trained; accuracies in [0, 1] of the network that came out, on pictures as they are."""

    recipe: Recipe
    epochs: int
    training: float
    validation: float


def run(recipe: Recipe, training: Pictures, validation: Pictures, folder: Path) -> Result:
    """Train in `folder`/<name>, or go on there, and measure. Raises as `train`."""
    model, progress = train(recipe, training, validation, folder / recipe.name)
    network = scores(model)
    return Result(recipe, progress.epoch, measure(network, training)[1], measure(network, validation)[1])


def report(results: Mapping[str, Result], pictures: tuple[int, int]) -> str:
    """Markdown: what was done, on how many (training, validation) pictures, and a table."""
    base = results["nothing"].recipe
    deviation = 0.5 / pictures[1] ** 0.5
    settings = " ".join(f"`{setting}`" for setting in differences(base, TUTORIAL))
    rows = [
        (
            name,
            " ".join(f"`{setting}`" for setting in differences(result.recipe, base)),
            str(result.epochs),
            f"{result.training:.1%}",
            f"{result.validation:.1%}",
            f"{100 * (result.training - result.validation):.1f}",
        )
        for name, result in results.items()
    ]
    return f"""# What each regulariser does to the tutorial's network

The tutorial's network, trained on {pictures[0]:,} pictures of CIFAR-10 for at most {base.epochs} epochs from the same
seed ({base.seed}), once without any regulariser and once with each. The recipe is the tutorial's with
{settings}: with its own rate and momentum the network is still far from overfitting after ten
epochs, and there is nothing to regularise. Both accuracies are those of the finished network, in plain forward passes
on pictures as they are: not augmented, nothing dropped.

![Accuracy on training and validation pictures](regularisers.png)

{table(("regulariser", "`--set`", "epochs", "training", "validation", "gap in points"), rows)}

One run each: the choice of the {pictures[1]:,} validation pictures alone is worth up to {100 * deviation:.1f} points
(one standard error), and another seed moves a result as well, so differences of a point or two mean nothing. What slows
learning down looks worse after {base.epochs} epochs than it would after more.

Written by `python -m benchmarks.regularisers` on {provenance.machine()}.
"""


def plot(results: Mapping[str, Result], path: Path) -> None:
    """Two dots for each regulariser, training and validation accuracy, joined by the gap between them."""
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    axes = figure.add_subplot()
    rows = range(len(results))
    training = [100 * result.training for result in results.values()]
    validation = [100 * result.validation for result in results.values()]
    axes.hlines(rows, training, validation, color=GRID, linewidth=3, zorder=1.5)
    axes.scatter(training, rows, color="#8795a1", label="training")
    axes.scatter(validation, rows, color="#d9480f", label="validation")
    axes.set_yticks(rows, results)
    axes.invert_yaxis()
    axes.set_xlabel("pictures that are recognised, %")
    axes.set_axisbelow(True)
    axes.grid(axis="x", color=GRID, linewidth=0.6)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0)
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    save(figure, path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, measure and write everything. A failure is one line on standard error and exit code 1."""
    parser = argparse.ArgumentParser("python -m benchmarks.regularisers", description=__doc__)
    parser.add_argument("--data", type=Path, help="CIFAR-10 as a folder or a .tar.gz")
    parser.add_argument("--runs", type=Path, default=Path("runs/regularisers"), help="folder of the runs")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks"), help="folder of the table and the plot")
    parser.add_argument("--set", metavar="FIELD=VALUE", action="append", default=[], help="change every run's recipe")
    options = parser.parse_args(arguments)
    try:
        base = trial(BASE, options.set)
        if base.parents:
            raise RecipeError(f"--set names {base.parents[0]!r}; expected neither start nor teachers here")
        recipes = {label: changed(base, {"name": name, **fields}) for label, (name, fields) in VARIANTS.items()}
        training, validation = split(base, data.find(options.data))
        results = {}
        for name, recipe in recipes.items():
            print(f"{name}:", flush=True)
            results[name] = run(recipe, training, validation, options.runs)
        options.output.mkdir(parents=True, exist_ok=True)
        plot(results, options.output / "regularisers.png")
        (options.output / "regularisers.md").write_text(report(results, (len(training.labels), len(validation.labels))))
    except FAILURES as error:
        sys.exit(f"convoscope: {error}")


if __name__ == "__main__":
    main()
