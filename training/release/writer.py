"""Writes an artifact: all that follows from a trained network and the pictures."""

import shutil
from pathlib import Path
from typing import Any

import keras

from training import run
from training.data import Pictures
from training.release import (
    artifact,
    calibrate,
    checkpoint,
    evaluate,
    export,
    out_of_distribution,
    precision,
    provenance,
    records,
)
from training.release.artifact import CHECKPOINT
from training.release.layer_table import layer_table
from training.release.provenance import Origin
from training.run import Progress

CALIBRATING = 1000
"""Training pictures that say how large the numbers are that int8 has to hold."""

NEGATIVES = 8000
"""Training pictures whose negatives say what is not typical."""


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
    artifact.refuse_to_overwrite(folder, overwrite)
    with artifact.replacing(folder) as temporary:
        checkpoint.save(model, temporary / CHECKPOINT)
        run.write_history(progress.history, temporary / "history.csv")
        evaluate.plot_history(progress.history, temporary / "training.png")
        counts = len(training.labels), len(validation.labels), len(test.labels)
        metadata = provenance.describe(origin, progress, counts)
        metadata |= _derive(temporary, model, training, validation, test, {})
        metadata["training"]["operations"] = provenance.operations(origin.recipe, progress, metadata["multiply_adds"])
        artifact.seal(temporary, metadata)
    return metadata


def renew(folder: Path, *, training: Pictures, validation: Pictures, test: Pictures) -> dict[str, Any]:
    """Make again what follows from an artifact's checkpoint: graphs, figures, plots and card; gives its metadata.

    What was recorded of its answers stays as far as they are the same (`records.keep`). Everything is as it was if
    anything fails. Raises ArtifactError, ExportError and OSError.
    """
    with artifact.replacing(folder) as temporary:
        before = artifact.read(folder, (CHECKPOINT, "history.csv", "training.png"))
        shutil.copytree(folder, temporary, dirs_exist_ok=True)
        model = keras.models.load_model(temporary / CHECKPOINT)
        measured = before.get("precision", {}).get("measured", {})
        after = before | _derive(temporary, model, training, validation, test, measured)
        records.keep(before, folder, after, temporary)
        artifact.seal(temporary, after)
    return after


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
    validation_logits = evaluate.logits(model, validation.images)
    typicality, typicalities = out_of_distribution.fitted(known, validation_logits, negatives)
    proto = export.to_onnx(model, typicality)
    export.verify(proto, model, validation.images[:2])
    (folder / "model.onnx").write_bytes(proto.SerializeToString())
    ranges = export.input_ranges(model, training.images[:CALIBRATING])
    (folder / "model.int8.onnx").write_bytes(export.to_onnx(model, typicality, ranges).SerializeToString())
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
            "method": out_of_distribution.METHOD,
            "quantiles": out_of_distribution.quantiles(typicalities),
            "threshold": out_of_distribution.THRESHOLD,
        },
        "precision": precision.measure(folder, validation, provenance.machine(), precisions),
    }
