"""What each regulariser does to the tutorial's network: `python -m training.regularisers` trains it once with each.

Writes a table and a plot. Runs that are finished are not repeated, an interrupted one goes on.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib.figure import Figure

from training import artifact, data, overrides
from training.commands import FAILURES
from training.config import TUTORIAL, ConfigError, TutorialConfig
from training.data import Pictures
from training.evaluate import GRID, save
from training.model_card import table
from training.train import measure, scores, train

BASE = replace(
    TUTORIAL, epochs=10, learning_rate=0.05, momentum=0.9, dropout=(0, 0), restore_best=False, name="nothing"
)
"""The tutorial's network and recipe, but for a rate and a momentum with which ten epochs are enough to overfit: with
the tutorial's own it recognises 44 % of the validation pictures by then, and there is nothing to regularise."""

VARIANTS: Mapping[str, TutorialConfig] = {
    "nothing": BASE,
    "the tutorial's dropout": replace(BASE, name="dropout-tutorial", dropout=TUTORIAL.dropout),
    "dropout of a half": replace(BASE, name="dropout-half", dropout=(0.5, 0.5)),
    "DropConnect": replace(BASE, name="dropconnect", dropconnect=0.5),
    "weight decay": replace(BASE, name="weight-decay", weight_decay=0.01),
    "max-norm": replace(BASE, name="max-norm", max_norm=1.0),
    "stochastic pooling": replace(BASE, name="stochastic-pooling", pool="stochastic"),
    "average pooling": replace(BASE, name="average-pooling", pool="average"),
    "flips and translations": replace(BASE, name="augmentation", flip="random", translate=2),
    "early stopping": replace(
        BASE, name="early-stopping", monitor="val_loss", early_stopping_patience=2, restore_best=True
    ),
}


@dataclass(frozen=True)
class Result:
    """`epochs` that were trained; accuracies in [0, 1] of the network that came out, on pictures as they are."""

    config: TutorialConfig
    epochs: int
    training: float
    validation: float


def run(config: TutorialConfig, training: Pictures, validation: Pictures, folder: Path) -> Result:
    """Train in `folder`/<name>, or go on there, and measure. Raises as `train`."""
    model, progress = train(config, training, validation, folder / config.name)
    network = scores(model)
    return Result(config, progress.epoch, measure(network, training)[1], measure(network, validation)[1])


def report(results: Mapping[str, Result], pictures: tuple[int, int]) -> str:
    """Markdown: what was done, on how many (training, validation) pictures, and a table."""
    base = results["nothing"].config
    deviation = 0.5 / pictures[1] ** 0.5
    settings = " ".join(f"`{setting}`" for setting in overrides.differences(base, TUTORIAL))
    rows = [
        (
            name,
            " ".join(f"`{setting}`" for setting in overrides.differences(result.config, base)),
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

Written by `python -m training.regularisers` on {artifact.machine()}.
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
    parser = argparse.ArgumentParser("python -m training.regularisers", description=__doc__)
    parser.add_argument("--data", type=Path, help="CIFAR-10 as a folder, .npz or .tar.gz")
    parser.add_argument("--runs", type=Path, default=Path("runs/regularisers"), help="folder of the runs")
    parser.add_argument("--output", type=Path, default=Path("docs"), help="folder of the table and the plot")
    parser.add_argument("--set", metavar="FIELD=VALUE", action="append", default=[], help="change every run's recipe")
    options = parser.parse_args(arguments)
    try:
        configs = {name: overrides.override(config, options.set) for name, config in VARIANTS.items()}
        if configs["nothing"].distillation:
            raise ConfigError(f"distillation is {configs['nothing'].distillation}; expected 0, as there is no teacher")
        training, validation = data.split(
            data.load_training(data.find(options.data)), validation=configs["nothing"].validation
        )
        results = {}
        for name, config in configs.items():
            print(f"{name}:", flush=True)
            results[name] = run(config, training, validation, options.runs)
        options.output.mkdir(parents=True, exist_ok=True)
        plot(results, options.output / "regularisers.png")
        (options.output / "regularisers.md").write_text(report(results, (len(training.labels), len(validation.labels))))
    except FAILURES as error:
        sys.exit(f"convoscope: {error}")


if __name__ == "__main__":
    main()
