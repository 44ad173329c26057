"""The folder models/<name>/: everything the service and a reader need of one finished network."""

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import keras
import tensorflow as tf

from training import lineage, run
from training.data import DIGESTS, LABELS, Pictures
from training.recipe import Precision, Recipe
from training.release import calibrate, card, checkpoint, evaluate, export, out_of_distribution, precision
from training.release.layer_table import layer_table
from training.run import Progress

CHECKPOINT = "model.keras"
"""What everything else in an artifact can be made again from, but for its history."""

METADATA = "metadata.json"

FILES = (
    CHECKPOINT,
    "model.onnx",
    "model.int8.onnx",
    "history.csv",
    "training.png",
    "confusion.png",
    "reliability.png",
    "README.md",
)
"""What metadata.json keeps a digest of."""

CALIBRATING = 1000
"""Training pictures that say how large the numbers are that int8 has to hold."""

OOD_THRESHOLD = 0.95
"""Pictures less typical than this share of the validation split are called out of distribution."""

NEGATIVES = 8000
"""Training pictures whose negatives say what is not typical."""


class ArtifactError(Exception):
    """An artifact is missing or damaged; the message names the file."""


class ArtifactExists(Exception):
    """A finished artifact would be overwritten; the message says how to allow it."""


def refuse_to_overwrite(folder: Path, overwrite: bool) -> None:
    """Raises ArtifactExists where `folder` is there and `overwrite` is not given."""
    if folder.exists() and not overwrite:
        raise ArtifactExists(f"{folder} is there already; --overwrite replaces it, --name writes another")


def read(folder: Path, files: Sequence[str] = FILES) -> dict[str, Any]:
    """metadata.json of a whole artifact. Raises ArtifactError where one of `files` is missing or has another digest."""
    if not folder.is_dir():
        found = ", ".join(sorted(path.parent.name for path in folder.parent.glob("[!.]*/metadata.json"))) or "none"
        raise ArtifactError(f"{folder}: no such artifact; {folder.parent} has {found}")
    try:
        metadata: dict[str, Any] = json.loads((folder / "metadata.json").read_bytes())
        for name in files:
            expected, found = metadata["files"][name], digest(folder / name)
            if found != expected:
                raise ArtifactError(f"{folder / name}: damaged; SHA-256 is {found}, metadata.json expects {expected}")
    except OSError as error:
        raise ArtifactError(f"{error.filename}: cannot be read ({error.strerror})") from error
    except KeyError as error:
        raise ArtifactError(f"{folder / 'metadata.json'}: damaged (no digest of {error.args[0]})") from error
    except (ValueError, TypeError) as error:
        raise ArtifactError(f"{folder / 'metadata.json'}: damaged ({error})") from error
    return metadata


@dataclass(frozen=True)
class Origin:
    """What a network was made by: its recipe, that recipe's digest, the precision, and its `ancestors`' training."""

    recipe: Recipe
    digest: str
    precision: Precision
    ancestors: list[dict[str, Any]]


def weights(folder: Path) -> str:
    """The SHA-256 of an artifact's model.keras, verified. Raises ArtifactError."""
    return str(read(folder, (CHECKPOINT,))["files"][CHECKPOINT])


def ancestors(parents: Iterable[Path]) -> list[dict[str, Any]]:
    """What metadata.json keeps of the networks in the folders `parents` and all they were made from, in order.

    Raises ArtifactError.
    """
    found: dict[str, dict[str, Any]] = {}
    for folder in parents:
        metadata = read(folder, (CHECKPOINT,))
        try:
            own = {"recipe": metadata["recipe"]["name"], "digest": metadata["recipe"]["digest"]}
            own |= {"weights": metadata["files"][CHECKPOINT], **metadata["training"]}
            found |= {entry["digest"]: entry for entry in [*metadata["lineage"], own]}
        except (KeyError, TypeError) as error:
            raise ArtifactError(f"{folder / 'metadata.json'}: damaged (no {error})") from error
    return list(found.values())


def write(
    folder: Path,
    origin: Origin,
    model: keras.Model,
    progress: Progress,
    *,
    training: Pictures,
    validation: Pictures,
    test: Pictures,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Export, evaluate and describe a finished network, then put the whole folder in place; gives its metadata.

    Nothing is left in `folder` unless everything was written. Raises ArtifactExists, ExportError and OSError.
    """
    refuse_to_overwrite(folder, overwrite)
    with replacing(folder) as temporary:
        checkpoint.save(model, temporary / CHECKPOINT)
        run.write_history(progress.history, temporary / "history.csv")
        evaluate.plot_history(progress.history, temporary / "training.png")
        metadata = describe(origin, progress, (len(training.labels), len(validation.labels), len(test.labels)))
        metadata |= _derive(temporary, model, training, validation, test, {})
        metadata["training"]["operations"] = operations(origin.recipe, progress, metadata["multiply_adds"])
        _seal(temporary, metadata)
    return metadata


def renew(folder: Path, *, training: Pictures, validation: Pictures, test: Pictures) -> dict[str, Any]:
    """Make anew what follows from an artifact's checkpoint: graphs, figures, plots and card; gives its metadata.

    What was measured over HTTP, on test pictures and photographs, is forgotten: what is served may be another graph
    now. Everything is as it was if anything fails. Raises ArtifactError, ExportError and OSError.
    """
    with replacing(folder) as temporary:
        metadata = read(folder, (CHECKPOINT, "history.csv", "training.png"))
        earlier = metadata.get("precision", {}).get("measured", {})
        shutil.copytree(folder, temporary, dirs_exist_ok=True)
        model = keras.models.load_model(temporary / CHECKPOINT)
        metadata |= _derive(temporary, model, training, validation, test, earlier)
        _seal(temporary, metadata)
    return metadata


def render(folder: Path) -> None:
    """Render the card of a whole artifact again. Raises ArtifactError and OSError."""
    with replacing(folder) as temporary:
        metadata = read(folder, [name for name in FILES if name != "README.md"])
        shutil.copytree(folder, temporary, dirs_exist_ok=True)
        _seal(temporary, metadata)


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `folder` once all in it is written; until then `folder` stays as it is.

    One at a time does so in the same parent folder; others wait. What is killed between taking the old one away and
    putting the new one there leaves the old one under another name, from which the next to come takes it back.
    """
    folder = folder.resolve()  # what a symbolic link points to, not the link, is replaced
    temporary, old = (folder.with_name(f".{folder.name}.{kind}") for kind in ("tmp", "old"))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.parent):
        _tidy(folder, temporary, old)
        temporary.mkdir()
        try:
            yield temporary
            if folder.exists():
                os.replace(folder, old)
            os.replace(temporary, folder)
        except OSError as error:
            if error.filename is None:  # a full disk does not say where
                raise OSError(error.errno, error.strerror, str(folder)) from error
            raise
        finally:
            _tidy(folder, temporary, old)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process has this folder to itself, then have it."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def _tidy(folder: Path, temporary: Path, old: Path) -> None:
    """Leave nothing but `folder`, which `old` becomes again where nothing took its place."""
    if old.exists() and not folder.exists():
        os.replace(old, folder)
    for rest in (temporary, old):
        shutil.rmtree(rest, ignore_errors=True)


def _seal(folder: Path, metadata: dict[str, Any]) -> None:
    """Render the card, then write metadata.json with every other file's digest."""
    (folder / "README.md").write_text(card.render(metadata))
    metadata["files"] = {name: digest(folder / name) for name in FILES}
    write_metadata(folder, metadata)


def write_metadata(folder: Path, metadata: Mapping[str, Any]) -> None:
    """Write metadata.json, last of all: a folder without it is not an artifact."""
    (folder / METADATA).write_text(json.dumps(metadata, indent=1) + "\n")


def record(
    folder: Path, measured: Literal["served", "photographs", "corrupted"], found: Mapping[str, Any], *, graph: str
) -> None:
    """Put on the card, with today's date, what was `measured` of an artifact's accuracy as served.

    That is `served`, of the test pictures (`accuracy` and the share `flagged` in [0, 1], and `precision`), or
    `photographs` (`mean_per_class` in [0, 1], `count` of them and of their `labels`, and where there are `others`, how
    many, the `auroc` and the `fpr_at_95` in [0, 1]), or `corrupted` test pictures (`app.inference.metadata.Corrupted`
    has the fields). Raises OSError, and ArtifactError where the artifact is damaged or
    its model.onnx is not the `graph` that was measured, by SHA-256.
    """
    with replacing(folder) as temporary:
        metadata = read(folder)
        if metadata["files"]["model.onnx"] != graph:
            raise ArtifactError(f"{folder}: holds another network than the service; not written down")
        metadata["accuracy"][measured] = {**found, "date": datetime.now(UTC).date().isoformat()}
        shutil.copytree(folder, temporary, dirs_exist_ok=True)
        _seal(temporary, metadata)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _derive(
    folder: Path,
    model: keras.Model,
    training: Pictures,
    validation: Pictures,
    test: Pictures,
    precisions: precision.Rows,
) -> dict[str, Any]:
    """Write into `folder` all that follows from the network and the pictures, but for the card; gives its figures.

    `precisions` is what was measured of this network before, maybe on another processor.

    The temperature and the precision are chosen on the validation split, which is also what is compared with negatives
    of training pictures for what is typical.
    """
    known = out_of_distribution.features(model, validation.images)
    negatives = out_of_distribution.features(model, out_of_distribution.turned_negatives(training.images[:NEGATIVES]))
    direction = out_of_distribution.direction(known, negatives)
    proto = export.to_onnx(model, direction)
    export.verify(proto, model, validation.images[:2])
    (folder / "model.onnx").write_bytes(proto.SerializeToString())
    ranges = export.input_ranges(model, training.images[:CALIBRATING])
    (folder / "model.int8.onnx").write_bytes(export.to_onnx(model, direction, ranges).SerializeToString())
    validation_logits = evaluate.logits(model, validation.images)
    test_logits = evaluate.logits(model, test.images)
    temperature = round(calibrate.fit_temperature(validation_logits, validation.labels), 4)
    before = calibrate.reliability(calibrate.softmax(test_logits), test.labels)
    after = calibrate.reliability(calibrate.softmax(test_logits, temperature), test.labels)
    tested = evaluate.evaluate(test_logits, test.labels)
    evaluate.plot_confusion(tested.confusion, folder / "confusion.png")
    evaluate.plot_reliability(before, after, folder / "reliability.png")
    layers = layer_table(model)
    return {
        "parameters": sum(layer["parameters"] for layer in layers),
        "multiply_adds": sum(layer["multiply_adds"] for layer in layers),
        "layers": layers,
        "accuracy": {
            "test": tested.accuracy,
            "validation": evaluate.evaluate(validation_logits, validation.labels).accuracy,
            "per_class": tested.per_class,
            "served": None,
        },
        "confusion": tested.confusion.tolist(),
        "calibration": {
            "temperature": temperature,
            "ece_test_uncalibrated": round(before.error, 5),
            "ece_test": round(after.error, 5),
        },
        "out_of_distribution": {
            "method": "discriminant",
            "quantiles": out_of_distribution.quantiles(out_of_distribution.cross_fitted(known, negatives)),
            "threshold": OOD_THRESHOLD,
        },
        "precision": precision.measure(folder, validation, machine(), precisions),
    }


def describe(origin: Origin, progress: Progress, pictures: tuple[int, int, int]) -> dict[str, Any]:
    """What metadata.json says of a training on so many training, validation and test `pictures`."""
    return {
        "format": 1,
        "name": origin.recipe.artifact,
        "version": lineage.version(origin.recipe, origin.digest),
        "labels": list(LABELS),
        "recipe": {**origin.recipe.as_dict(), "digest": origin.digest},
        "data": {"digests": dict(DIGESTS), **dict(zip(("training", "validation", "test"), pictures, strict=True))},
        "training": {
            "seconds": round(progress.seconds),
            "epochs": progress.epoch,
            "updates": progress.history[-1]["updates"],
            "best_epoch": progress.best_epoch,
            "precision": origin.precision,
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine(),
            "commit": commit(),
        },
        "lineage": origin.ancestors,
    }


def operations(recipe: Recipe, progress: Progress, multiply_adds: int) -> int:
    """Floating-point operations of a training's updates: two for each multiply-add, of one pass forward and two back.

    Teachers' answers and validation are not counted; the search for the worst point of `sharpness` is.
    """
    passes = 3 * (1 + 1 / recipe.sharpness.every) if recipe.sharpness else 3
    return round(2 * passes * multiply_adds * recipe.batch_size * progress.history[-1]["updates"])


def commit() -> str | None:
    """The commit of the program, with + where files differ from it; None outside a git checkout."""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
    try:
        found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


def machine() -> str:
    """Processor, cores and versions, in one line."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    names = [line.split(": ", 1)[1] for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.machine()
    return f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}, TensorFlow {tf.__version__}"
