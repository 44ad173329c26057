"""From a trained network and its pictures to the folder that the service serves.

What needs many held-out pictures is left out where there are few: a temperature that 20 pictures chose would be worse
than none.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
from numpy.typing import NDArray
from PIL import Image

import app.imaging as imaging
from app.errors import ConvoscopeError
from training import run
from training.data import Pictures
from training.own import card, report
from training.own.errors import OwnPicturesError
from training.own.graph import Graph
from training.own.listing import Listing
from training.own.report import Doubt
from training.own.split import Split
from training.own.store import Images, Kept, Store
from training.release import artifact, calibrate, evaluate, export, out_of_distribution, precision, provenance
from training.release.evaluate import Evaluation
from training.release.layer_table import input_names, layer_table
from training.release.out_of_distribution import Typicality, classifier
from training.run import Progress

FOR_TEMPERATURE = 50
"""Validation pictures that a temperature is chosen by, at least."""

FOR_TYPICALITY = 100
"""Validation pictures that say what is typical, at least."""

FOR_PRECISION = 400
"""Pictures that int8 and bfloat16 are compared with float32 on, at least."""

MOST_COMPARED = 2000
MOST_DOUBTED = 10_000
"""Training pictures among which mislabelled ones are looked for."""

MOST_EXAMPLES, EXAMPLES_A_LABEL, EXAMPLE_SIDE = 60, 3, 320
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_name(name: str, models: Path) -> None:
    """Raises OwnPicturesError where no artifact may be called so, or one that is not of this kind is."""
    if not NAME.fullmatch(name) or name == "latest":
        expected = "1 to 64 letters, digits, dots, dashes and underscores, the first a letter or digit, not 'latest'"
        raise OwnPicturesError(f"--name is {name!r:.80}; expected {expected}")
    if (models / name / artifact.METADATA).exists():
        raise OwnPicturesError(f"--name is {name!r}: {models / name} is another network; expected a name of your own")


def check_writable(*folders: Path) -> None:
    """Find out before the work, not after. Raises OwnPicturesError."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            trial = folder / ".trial"
            trial.write_bytes(bytes(1))
            trial.unlink()
        except OSError as error:
            raise OwnPicturesError(
                f"{folder}: cannot be written ({error.strerror}); expected a writable folder"
            ) from error


@contextmanager
def writing(folder: Path) -> Iterator[Path]:
    """As `artifact.replacing`. Raises OwnPicturesError where the disk is full or fails."""
    try:
        with artifact.replacing(folder) as place:
            yield place
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())[:200]
        raise OwnPicturesError(
            f"{folder}: cannot be written ({reason}); what was there before is kept. The same command tries again"
        ) from error


@dataclass(frozen=True)
class Work:
    """All that a release needs to know of what was done."""

    name: str
    listing: Listing
    kept: Kept
    split: Split
    store: Store
    progress: Progress
    about: dict[str, Any]
    """Members of metadata.json that only the session knows."""

    examples: bool
    second_opinion: NDArray[np.float64] | None = None
    """Probabilities (N, labels) of pictures that those were not fitted to, if there are any."""


@dataclass(frozen=True)
class Released:
    """The artifact's folder, whether it is new, its metadata, and what was measured on the test pictures."""

    folder: Path
    new: bool
    metadata: dict[str, Any]
    evaluation: Evaluation
    doubts: Sequence[Doubt]


def release(models: Path, model: keras.Model, work: Work) -> Released:
    """Measure `model` (float32) and write it to models/<name>/<version>; the version is `version_of` it.

    Raises ExportError, OwnPicturesError.
    """
    split, labels, names = work.split, work.kept.labels, work.listing.labels
    plain = export.to_onnx(model, half=False)
    (features,) = input_names(classifier(model))
    ask = Graph(plain, ("logits", features))

    def asked(numbers: NDArray[np.int64]) -> tuple[NDArray[np.float32], ...]:
        return ask(work.store.batches(numbers, 64))

    _verify(plain, model, work.store[split.validation[:2]])
    validation_logits, validation_features = asked(split.validation)
    test_logits = asked(split.test)[0]
    some = _some(split.training, MOST_COMPARED)
    typicality, described = _typicality(validation_features, validation_logits, work.store[some], ask)
    proto = plain if typicality is None else export.to_onnx(model, typicality, half=False)
    content = proto.SerializeToString()
    version = version_of(content, names)
    folder = models / work.name / version
    tested = evaluate.evaluate(test_logits, labels[split.test], names)
    calibration, bins = _calibration(validation_logits, labels[split.validation], test_logits, labels[split.test])
    temperature = calibration["temperature"] if calibration else 1.0
    doubtful = _doubts(work, lambda numbers: calibrate.softmax(asked(numbers)[0], temperature))
    with writing(folder) as place:
        (place / "model.onnx").write_bytes(content)
        model.save(place / artifact.CHECKPOINT)
        if work.progress.history:
            run.write_history(work.progress.history, place / "history.csv")
            evaluate.plot_history(work.progress.history, place / "training.png")
        evaluate.plot_confusion(tested.confusion, place / "confusion.png", names)
        if bins:
            evaluate.plot_reliability(*bins, place / "reliability.png")
        shown = doubtful[: report.SHEET]
        if shown and work.examples:
            pictures = work.store[[doubt.number for doubt in shown]]
            report.plot_sheet(pictures, shown, names, place / "mislabelled.png")
        right, count = int(tested.confusion.trace()), int(tested.confusion.sum())
        metadata = {
            "format": 1,
            "name": work.name,
            "version": version,
            "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "labels": list(names),
            "input": {
                "size": work.kept.side,
                "channels": 3,
                "neutral": np.rint(work.store[some].mean(axis=(0, 1, 2))).astype(int).tolist(),
            },
            **_layers(model),
            "accuracy": {
                "test": tested.accuracy,
                "test_interval": list(report.wilson(right, count)),
                "validation": evaluate.evaluate(validation_logits, labels[split.validation], names).accuracy,
                "per_class": report.measured(tested),
                "served": None,
            },
            "confusion": tested.confusion.tolist(),
            **({"calibration": calibration} if calibration else {}),
            **({"out_of_distribution": described} if described else {}),
            "precision": _precision(place, model, typicality, work),
            "examples": _examples(place, work) if work.examples else [],
            "mislabelled": [_told(work, place, number, doubt) for number, doubt in enumerate(doubtful)],
            "source": {"kind": "trained"},
            **work.about,
        }
        seal(place, metadata, card.render(metadata))
        new = not folder.exists()
    return Released(folder, new, metadata, tested, doubtful)


def seal(folder: Path, metadata: dict[str, Any], text: str) -> None:
    """Write the card, then metadata.json with every file's digest: it is what makes a folder an artifact."""
    (folder / "README.md").write_text(text, encoding="utf-8")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    metadata["files"] = {str(path.relative_to(folder)): artifact.digest(path) for path in files}
    artifact.write_metadata(folder, metadata)


def version_of(graph: bytes, labels: Sequence[str]) -> str:
    """A part of the SHA-256 of what answers depend on: the graph, and what its labels are called."""
    return hashlib.sha256(graph + "\n".join(labels).encode()).hexdigest()[:12]


def pictures_computed(split: Split) -> int:
    """How many pictures a release computes, about, in all its steps."""
    validation, test, training = len(split.validation), len(split.test), len(split.training)
    again = validation + test + len(split.left_out) + min(training, MOST_DOUBTED)
    negatives = min(training, MOST_COMPARED) if validation >= FOR_TYPICALITY else 0
    compared = min(min(validation, MOST_COMPARED) + min(training, MOST_COMPARED), MOST_COMPARED)
    return validation + test + again + negatives + (2 * compared if compared >= FOR_PRECISION else 0)


def _some(numbers: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most so many of the numbers, evenly spread."""
    return np.asarray(numbers[np.unique(np.linspace(0, len(numbers) - 1, min(most, len(numbers))).round().astype(int))])


def _verify(proto: onnx.ModelProto, model: keras.Model, images: Images) -> None:
    """Raises ExportError where a layer's output differs between the graph and Keras."""
    names = tuple(output.name for output in proto.graph.output)
    export.compare(names, export.activations(model, names, images), Graph(proto, names)([images]))


def _layers(model: keras.Model) -> dict[str, Any]:
    layers = layer_table(model)
    return {
        "parameters": sum(layer["parameters"] for layer in layers),
        "multiply_adds": sum(layer["multiply_adds"] for layer in layers),
        "layers": layers,
    }


def _typicality(
    features: NDArray[np.float32], logits: NDArray[np.float32], training: Images, ask: Graph
) -> tuple[Typicality | None, dict[str, Any] | None]:
    """What the graph and the service need to say how typical a picture is, where there are pictures enough."""
    if len(features) < FOR_TYPICALITY:
        return None, None
    turned = out_of_distribution.turned_negatives(training)
    negatives = ask(turned[start : start + 64] for start in range(0, len(turned), 64))[1]
    shuffled = np.random.default_rng(0).permutation(len(features))  # they are in the order of their labels
    typicality, typicalities = out_of_distribution.fitted(features[shuffled], logits[shuffled], negatives)
    quantiles, threshold = out_of_distribution.quantiles(typicalities), out_of_distribution.THRESHOLD
    return typicality, {"method": out_of_distribution.METHOD, "quantiles": quantiles, "threshold": threshold}


Bins = tuple[calibrate.Reliability, calibrate.Reliability]


def _calibration(
    validation: NDArray[np.float32],
    validation_labels: NDArray[np.int64],
    test: NDArray[np.float32],
    test_labels: NDArray[np.int64],
) -> tuple[dict[str, float] | None, Bins | None]:
    if len(validation) < FOR_TEMPERATURE:
        return None, None
    temperature = round(calibrate.fit_temperature(validation, validation_labels), 4)
    before = calibrate.reliability(calibrate.softmax(test), test_labels)
    after = calibrate.reliability(calibrate.softmax(test, temperature), test_labels)
    figures = {
        "temperature": temperature,
        "ece_test_uncalibrated": round(before.error, 5),
        "ece_test": round(after.error, 5),
    }
    return figures, (before, after)


def _precision(folder: Path, model: keras.Model, typicality: Typicality | None, work: Work) -> dict[str, Any]:
    """What it may be computed in: compared on the validation pictures, and training pictures where those are few."""
    split = work.split
    chosen = np.concatenate([_some(split.validation, MOST_COMPARED), _some(split.training, MOST_COMPARED)])
    chosen = chosen[:MOST_COMPARED]
    if len(chosen) < FOR_PRECISION:
        return {"exact": ["float32"]}
    ranges = export.input_ranges(model, work.store[_some(split.training, 400)])
    eight = export.to_onnx(model, typicality, ranges, half=False)
    (folder / "model.int8.onnx").write_bytes(eight.SerializeToString())
    labels: Any = work.kept.labels[chosen]
    pictures = Pictures(work.store[chosen], labels)
    found = precision.measure(folder, pictures, provenance.machine(), {})
    if "int8" not in found["exact"]:
        (folder / "model.int8.onnx").unlink()
    return found


def _doubts(work: Work, probabilities: Callable[[NDArray[np.int64]], NDArray[np.float64]]) -> list[Doubt]:
    """What to look at again among all pictures, in the eyes of the network and of the second opinion."""
    split = work.split
    held_out = np.concatenate([split.validation, split.test, split.left_out])
    numbers = np.sort(np.concatenate([held_out, _some(split.training, MOST_DOUBTED)]))
    found = probabilities(numbers)
    if work.second_opinion is not None:
        found = (found + work.second_opinion[numbers]) / 2
    return report.doubts(numbers, work.kept.labels[numbers], found)


def _told(work: Work, folder: Path, place: int, doubt: Doubt) -> dict[str, Any]:
    """As metadata.json has it; the first are there as the network saw them, with the owner's leave."""
    names, file = work.listing.labels, None
    if work.examples and place < report.SHEET:
        file = f"examples/doubt-{place}.png"
        Image.fromarray(work.store[[doubt.number]][0]).save(folder / file)
    return {
        "file": file,
        "label": names[doubt.label],
        "predicted": names[doubt.predicted],
        "probability": round(doubt.probability, 4),
        "path": work.listing.name(work.kept.entries[doubt.number]),
    }


def _examples(folder: Path, work: Work) -> list[dict[str, str]]:
    """Some test pictures of each label, saved again: nothing of a file but what is seen goes into the artifact."""
    (folder / "examples").mkdir()
    names, labels = work.listing.labels, work.kept.labels
    a_label = max(1, min(EXAMPLES_A_LABEL, MOST_EXAMPLES // len(names)))
    chosen = [
        number for label in range(len(names)) for number in work.split.test[labels[work.split.test] == label][:a_label]
    ]
    examples: list[dict[str, str]] = []
    for number in chosen[:1000]:
        file = f"examples/{len(examples)}.png"
        try:
            pixels = imaging.full(work.kept.entries[number].path.read_bytes())
        except (ConvoscopeError, OSError):  # was there when it was read for training
            continue
        picture = Image.fromarray(pixels)
        picture.thumbnail((EXAMPLE_SIDE, EXAMPLE_SIDE))
        picture.save(folder / file)
        examples.append({"file": file, "label": names[labels[number]]})
    return examples
