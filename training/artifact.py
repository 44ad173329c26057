"""The folder models/<name>/: everything the service and a reader need of one finished network."""

import hashlib
import json
import os
import platform
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from training import calibration, evaluate, export, history, model_card
from training.checkpoint import Progress
from training.config import TrainConfig
from training.data import DIGESTS, LABELS, Pictures

FILES = ("model.keras", "model.onnx", "history.csv", "training.png", "confusion.png", "README.md")
"""What metadata.json keeps a digest of."""

OOD_THRESHOLD = 0.95
"""Pictures less typical than this share of the validation split are called out of distribution."""


class ArtifactError(Exception):
    """An artifact is missing or damaged; the message names the file."""


class ArtifactExists(Exception):
    """A finished artifact would be overwritten; the message says how to allow it."""


def refuse_to_overwrite(folder: Path, overwrite: bool) -> None:
    """Raises ArtifactExists where `folder` is there and `overwrite` is not given."""
    if folder.exists() and not overwrite:
        raise ArtifactExists(f"{folder} is there already; --overwrite replaces it, --name writes another")


def read(folder: Path) -> dict[str, Any]:
    """metadata.json of a whole artifact. Raises ArtifactError where a file is missing or its digest is another."""
    if not folder.is_dir():
        found = ", ".join(sorted(path.parent.name for path in folder.parent.glob("*/metadata.json"))) or "none"
        raise ArtifactError(f"{folder}: no such artifact; {folder.parent} has {found}")
    try:
        metadata: dict[str, Any] = json.loads((folder / "metadata.json").read_bytes())
        for name in FILES:
            expected, found = metadata["files"][name], _digest(folder / name)
            if found != expected:
                raise ArtifactError(f"{folder / name}: damaged; SHA-256 is {found}, metadata.json expects {expected}")
    except OSError as error:
        raise ArtifactError(f"{error.filename}: cannot be read ({error.strerror})") from error
    except KeyError as error:
        raise ArtifactError(f"{folder / 'metadata.json'}: damaged (no digest of {error.args[0]})") from error
    except (ValueError, TypeError) as error:
        raise ArtifactError(f"{folder / 'metadata.json'}: damaged ({error})") from error
    return metadata


def write(
    folder: Path,
    config: TrainConfig,
    model: keras.Model,
    progress: Progress,
    *,
    validation: Pictures,
    test: Pictures,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Export, evaluate and describe a finished network, then put the whole folder in place; gives its metadata.

    Nothing is left in `folder` unless everything was written. Raises ArtifactExists, ExportError and OSError.
    """
    refuse_to_overwrite(folder, overwrite)
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        proto = export.to_onnx(model)
        export.verify(proto, model, validation.images[:2])
        (temporary / "model.onnx").write_bytes(proto.SerializeToString())
        model.save(temporary / "model.keras")
        history.write(progress.history, temporary / "history.csv")
        evaluate.plot_history(progress.history, temporary / "training.png")
        metadata = describe(config, model, progress, validation, test)
        evaluate.plot_confusion(np.array(metadata["confusion"]), temporary / "confusion.png")
        seal(temporary, metadata)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return metadata


def seal(folder: Path, metadata: dict[str, Any]) -> None:
    """Render the card, then write metadata.json with every other file's digest."""
    (folder / "README.md").write_text(model_card.render(metadata))
    metadata["files"] = {name: _digest(folder / name) for name in FILES}
    temporary = folder / "metadata.json.tmp"
    temporary.write_text(json.dumps(metadata, indent=1) + "\n")
    os.replace(temporary, folder / "metadata.json")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def describe(
    config: TrainConfig, model: keras.Model, progress: Progress, validation: Pictures, test: Pictures
) -> dict[str, Any]:
    """metadata.json but for the files' digests. The temperature and the typical energies are the validation split's."""
    validation_logits = evaluate.logits(model, validation.images)
    test_logits = evaluate.logits(model, test.images)
    temperature = calibration.fit_temperature(validation_logits, validation.labels)
    tested = evaluate.evaluate(test_logits, test.labels)
    layers = export.layer_table(model)

    def calibration_error(temperature: float) -> float:
        probabilities = calibration.softmax(test_logits, temperature)
        return round(calibration.expected_calibration_error(probabilities, test.labels), 5)

    return {
        "format": 1,
        "name": config.name,
        "version": "1",
        "labels": list(LABELS),
        "parameters": sum(layer["parameters"] for layer in layers),
        "multiply_adds": sum(layer["multiply_adds"] for layer in layers),
        "layers": layers,
        "files": {},
        "recipe": config.as_dict(),
        "data": {
            "digests": dict(DIGESTS),
            "training": 50_000 - len(validation.labels),
            "validation": len(validation.labels),
            "test": len(test.labels),
        },
        "accuracy": {
            "test": tested.accuracy,
            "validation": evaluate.evaluate(validation_logits, validation.labels).accuracy,
            "per_class": tested.per_class,
            "served": None,
        },
        "confusion": tested.confusion.tolist(),
        "calibration": {
            "temperature": round(temperature, 4),
            "ece_test_uncalibrated": calibration_error(1.0),
            "ece_test": calibration_error(round(temperature, 4)),
        },
        "out_of_distribution": {
            "method": "energy",
            "quantiles": calibration.typicality_quantiles(validation_logits),
            "threshold": OOD_THRESHOLD,
        },
        "training": {
            "seconds": round(progress.seconds),
            "epochs": progress.epoch,
            "best_epoch": progress.best_epoch,
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine(),
        },
    }


def machine() -> str:
    """Processor, cores and versions, in one line."""
    about = Path("/proc/cpuinfo")
    names = [line.split(": ", 1)[1] for line in about.read_text().splitlines() if line.startswith("model name")]
    processor = names[0] if names else platform.machine()
    return f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}, TensorFlow {tf.__version__}"
