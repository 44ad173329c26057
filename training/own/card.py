"""The model card of a network for one's own pictures, rendered from its metadata and nothing else."""

from collections.abc import Iterable, Mapping
from typing import Any

from training.release.card import duration, percentages, table

Metadata = Mapping[str, Any]


def render(metadata: Metadata) -> str:
    """Markdown for a person who wonders how far to trust this network, and which pictures to look at again."""
    sections = [
        "---\nlibrary_name: keras\npipeline_tag: image-classification\n---",
        f"# {metadata['name']}, version {metadata['version']}",
        f"It says which of {len(metadata['labels'])} labels a picture shows: {_listed(metadata['labels'])}. It sees "
        f"{metadata['input']['size']} x {metadata['input']['size']} pixels, has {metadata['parameters']:,} parameters "
        f"and needs {metadata['multiply_adds'] / 1e6:.1f} million multiply-adds per picture.",
        f"```sh\ncurl -F image=@photo.jpg 'http://127.0.0.1:8000/predict?model={metadata['name']}'\n```",
        *results(metadata),
        *doubtful(metadata),
        *training(metadata),
    ]
    return "\n\n".join(sections) + "\n"


def _listed(labels: list[str], most: int = 30) -> str:
    more = f" and {len(labels) - most} others" if len(labels) > most else ""
    return ", ".join(labels[:most]) + more


def results(metadata: Metadata) -> Iterable[str]:
    accuracy, data = metadata["accuracy"], metadata["data"]
    low, high = accuracy["test_interval"]
    yield "## Results"
    yield (
        f"**{accuracy['test']:.1%}** of {data['test']:,} pictures that nothing was chosen by are recognised; the true "
        f"share is between {low:.1%} and {high:.1%} (95 %, Wilson). Of the {data['validation']:,} pictures that chose "
        f"the network, {accuracy['validation']:.1%} are."
    )
    worst = sorted(accuracy["per_class"].items(), key=lambda row: row[1])[:50]
    yield table(("label", "test pictures of it that are recognised"), percentages(dict(worst)))
    yield "![Confusion matrix](confusion.png)"
    if calibration := metadata.get("calibration"):
        yield (
            f"Probabilities are calibrated (temperature {calibration['temperature']}): their expected calibration "
            f"error on the test pictures is {calibration['ece_test']:.1%}, and "
            f"{calibration['ece_test_uncalibrated']:.1%} without."
        )
        yield "![Accuracy against confidence](reliability.png)"
    else:
        yield "Probabilities are not calibrated: there were too few held-out pictures."
    if "out_of_distribution" not in metadata:
        yield "It cannot say that a picture is unlike all that it was trained on: there were too few held-out pictures."


def doubtful(metadata: Metadata) -> Iterable[str]:
    rows = metadata["mislabelled"]
    if not rows:
        return
    yield "## Pictures to look at again"
    yield "Their labels are contradicted: they are mislabelled, hard, or show two things."
    if metadata["examples"]:
        yield "![Pictures that may be mislabelled](mislabelled.png)"
    yield table(
        ("picture", "its label", "rather", "probability"),
        [(f"`{row['path']}`", row["label"], row["predicted"], f"{row['probability']:.0%}") for row in rows[:24]],
    )


def training(metadata: Metadata) -> Iterable[str]:
    run, data = metadata["training"], metadata["data"]
    yield "## Training"
    yield (
        f"{data['training']:,} pictures, {run['method']}, in {duration(run['seconds'])} on {run['machine']}, from "
        f"{run['start']}. {data['skipped']:,} files could not be read, and {data['left_out']:,} pictures were left out "
        "because they show the same as a held-out one."
    )
    if run["epochs"]:
        yield "![Loss and accuracy](training.png)"
