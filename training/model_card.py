"""The model card: an artifact's README.md, rendered from its metadata and nothing else."""

from collections.abc import Iterable
from typing import Any

from training import overrides
from training.config import TrainConfig

INTRODUCTIONS = {
    "tutorial": "The network and the recipe of the tutorial this project grew from, to the letter: a yardstick, not a "
    "recommendation.",
    "fast": "Small enough to answer thousands of pictures a second on two cores. After the networks of the CIFAR-10 "
    "speed records (airbench, Jordan 2024).",
    "accurate": "The network of `fast` twice as wide: the one to ask unless every millisecond counts.",
}


def render(metadata: dict[str, Any]) -> str:
    """Markdown for a person who wonders whether to trust this network, and how to make it again."""
    name, accuracy, run = metadata["name"], metadata["accuracy"], metadata["training"]
    calibration, data, precision = metadata["calibration"], metadata["data"], metadata["precision"]
    config = TrainConfig.from_dict(metadata["recipe"])
    sections = [
        f"# {name}, version {metadata['version']}",
        f"{introduction(metadata['recipe'])} It says which of ten things a picture of 32x32 pixels shows: "
        f"{', '.join(metadata['labels'])}. {metadata['parameters']:,} parameters, "
        f"{metadata['multiply_adds'] / 1e6:.1f} million multiply-adds a picture.",
        "## How good it is",
        table(
            ("measured on", "right in one forward pass"),
            [
                (f"the {data['test']:,} test pictures, Keras, float32", f"**{accuracy['test']:.2%}**"),
                *served_row(accuracy["served"], data["test"]),
                (f"the {data['validation']:,} validation pictures", f"{accuracy['validation']:.2%}"),
                *photographs_row(accuracy.get("photographs")),
            ],
        ),
        table(("label", "test pictures of it that are recognised"), percentages(accuracy["per_class"])),
        "![Confusion matrix](confusion.png)",
        "A probability is the softmax of the logits divided by a temperature of "
        f"{calibration['temperature']}, which the validation pictures chose. Its expected calibration error (15 bins) "
        f"on the test pictures is {calibration['ece_test']:.2%}; without the temperature it would be "
        f"{calibration['ece_test_uncalibrated']:.2%}.",
        "![Accuracy against confidence](reliability.png)",
        "## What it does not know",
        "`ood_score` says how untypical a picture is: the share of held-out CIFAR-10 pictures that are more typical, "
        "along the one direction of the last features that best tells such pictures from turned negatives of training "
        f"pictures. {unknown(accuracy)}",
        "## What it is computed in",
        "In bfloat16 on a processor with a matrix unit, else in int8 on one with AVX2, else in float32, so far as it "
        f"is one of {', '.join(precision['exact'])}: none of these loses more than 0.1 points of float32's validation "
        "accuracy.",
        table(
            ("arithmetic", "validation", f"pictures a second, {precision['batch']} at a time", "one picture", "on"),
            [
                (
                    name,
                    f"{row['validation']:.2%}",
                    f"{row['pictures_per_second']:,}",
                    f"{row['milliseconds']:.2f} ms",
                    row["machine"],
                )
                for name, row in precision["measured"].items()
            ],
        ),
        "## How it was trained",
        f"From scratch, on {data['training']:,} of CIFAR-10's training pictures; the other {data['validation']:,} "
        f"chose the epoch and the temperature, and the test pictures chose nothing. "
        f"{start(config)}{run['epochs']} epochs in {run['seconds'] / 60:.0f} minutes on "
        f"{run['machine']}; the weights are those of epoch {run['best_epoch']}. Make it again with "
        f"`{overrides.command(metadata['recipe'])} --overwrite`{earlier(config)}.",
        table(("recipe", ""), [(field, f"`{value}`") for field, value in metadata["recipe"].items()]),
        "![Loss and accuracy](training.png)",
        "The data counts only if each batch, in the official binary layout, has this SHA-256:",
        table(("batch", "SHA-256"), [(batch, f"`{digest}`") for batch, digest in data["digests"].items()]),
        "## Layers",
        table(
            ("layer", "kind", "output", "parameters", "multiply-adds"),
            [
                (
                    layer["name"],
                    layer["kind"],
                    " x ".join(map(str, layer["output_shape"])),
                    f"{layer['parameters']:,}",
                    f"{layer['multiply_adds']:,}",
                )
                for layer in metadata["layers"]
            ],
        ),
        "## What it is not for",
        "It has seen nothing but CIFAR-10: small, centred pictures of ten things. A photograph is cut to its middle, "
        "a little squashed and shrunk to 32x32 first, and whatever it shows, one of the ten labels comes out. "
        "Nobody should be judged, admitted or kept safe by it.",
    ]
    return "\n\n".join(sections) + "\n"


def introduction(recipe: dict[str, Any]) -> str:
    """What kind of network this is; of a recipe that was changed, what was."""
    if changes := overrides.changes(recipe):
        settings = ", ".join(f"`{change}`" for change in changes)
        return f"The network and the recipe of `{recipe['architecture']}`, but with {settings}."
    return INTRODUCTIONS.get(recipe["architecture"], "")


def start(config: TrainConfig) -> str:
    """Whose weights the run began with, if not its own, and who taught it, if anyone; ends in a space."""
    said = ""
    if config.initial:
        said += f"It began with the weights of {_artifact(*config.initial)}. "
    if config.teachers:
        teachers = " and ".join(_artifact(*teacher) for teacher in config.teachers)
        said += f"Of what it learnt, {config.distillation:.0%} were the answers of {teachers}. "
    return said


def earlier(config: TrainConfig) -> str:
    """Where the command that makes it again expects the artifacts it names."""
    return ", with the artifacts that it names in `earlier/`" if config.initial or config.teachers else ""


def _artifact(name: str, version: str, digest: str) -> str:
    return f"`{name}`, version {version} (its `model.keras` has the SHA-256 `{digest}`)"


def served_row(served: dict[str, Any] | None, pictures: int) -> list[tuple[str, str]]:
    """The line for the accuracy measured over HTTP, once it is."""
    if served is None:
        return []
    where = f"the same {pictures:,} over HTTP, {served['precision']}, {served['date']}"
    return [(where, f"**{served['accuracy']:.2%}**")]


def photographs_row(found: dict[str, Any] | None) -> list[tuple[str, str]]:
    """The line for real photographs, once they are measured."""
    if found is None:
        return []
    where = f"{found['count']} real photographs of {found['labels']} of its labels over HTTP, mean share right a label"
    return [(f"{where}, {found['date']}", f"{found['mean_per_class']:.1%}")]


def unknown(accuracy: dict[str, Any]) -> str:
    """How well what it does not know is told from what it does, as far as that is measured."""
    said = []
    if served := accuracy["served"]:
        said.append(f"Of the test pictures {served['flagged']:.1%} are called out of distribution.")
    if (found := accuracy.get("photographs")) and "auroc" in found:
        said.append(
            f"It tells {found['others']} photographs of other things from those of its labels with an area under the "
            f"ROC curve of {found['auroc']:.3f}."
        )
    return " ".join(said) or "How well that tells other things from these has not been measured."


def percentages(values: dict[str, float]) -> list[tuple[str, str]]:
    return [(name, f"{value:.1%}") for name, value in values.items()]


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ("---",) * len(header), *rows))
