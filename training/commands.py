"""What the command line does, step by step."""

import argparse
import io
import json
from datetime import UTC, datetime
from typing import Any

import httpx
import keras
import numpy as np

from training import artifact, calibration, checkpoint, data, evaluate, model_card
from training.artifact import ArtifactExists
from training.checkpoint import CheckpointError
from training.config import RECIPES, ConfigError, TrainConfig
from training.data import DataError, Pictures
from training.export import ExportError
from training.train import TrainingError, finished
from training.train import train as run_training

FAILURES = (
    ArtifactExists,
    CheckpointError,
    ConfigError,
    DataError,
    ExportError,
    TrainingError,
    httpx.HTTPError,
    httpx.InvalidURL,
    OSError,
)
"""What a user can cause and mend; told in one line."""

PICTURES_A_REQUEST = 100


def train(options: argparse.Namespace) -> None:
    """Train to the end of the recipe, then write the artifact."""
    config = recipe(options.name)
    artifact.refuse_to_overwrite(options.models / config.name, options.overwrite)
    folder = data.find(options.data)
    training, validation = data.split(data.load_training(folder), validation=config.validation)
    run_training(config, training, validation, options.runs / config.name)
    export(options)


def export(options: argparse.Namespace) -> None:
    """Write the artifact of a finished training, looking at the test set for the only time."""
    config = recipe(options.name)
    target = options.models / config.name
    artifact.refuse_to_overwrite(target, options.overwrite)
    path = options.runs / config.name / "checkpoint.npz"
    progress = checkpoint.read(path, config)
    if progress is None or progress.epoch < config.epochs:
        done = progress.epoch if progress else 0
        raise TrainingError(
            f"{path}: {done} of {config.epochs} epochs are done; `convoscope train {config.name}` goes on"
        )
    folder = data.find(options.data)
    _, validation = data.split(data.load_training(folder), validation=config.validation)
    model = finished(config, progress)
    metadata = artifact.write(
        target,
        config,
        model,
        progress,
        validation=validation,
        test=data.load_test(folder),
        overwrite=options.overwrite,
    )
    print(f"{target}: {metadata['accuracy']['test']:.2%} of the test pictures right")


def evaluate_(options: argparse.Namespace) -> None:
    """Measure an artifact, or with --served a running service, on the test set."""
    folder = options.models / options.name
    metadata = json.loads((folder / "metadata.json").read_text())
    test = data.load_test(data.find(options.data))
    if options.served:
        served = over_http(options.served, options.name, test)
        print(
            f"{served['accuracy']:.2%} over HTTP in {served['precision']}; {metadata['accuracy']['test']:.2%} offline"
        )
        if options.record:
            metadata["accuracy"]["served"] = served
            artifact.seal(folder, metadata)
        return
    logits = evaluate.logits(keras.models.load_model(folder / "model.keras"), test.images)
    measured = evaluate.evaluate(logits, test.labels)
    temperature = metadata["calibration"]["temperature"]
    error = calibration.expected_calibration_error(calibration.softmax(logits, temperature), test.labels)
    rows = [("accuracy", f"{measured.accuracy:.2%}"), ("calibration error", f"{error:.2%}")]
    print(model_card.table((options.name, "test set"), [*rows, *model_card.percentages(measured.per_class)]))


def recipe(name: str) -> TrainConfig:
    """The recipe of that name. Raises ConfigError, listing what there is."""
    if name not in RECIPES:
        raise ConfigError(f"no recipe is called {name!r}; expected one of {', '.join(RECIPES)}")
    return RECIPES[name]


def over_http(url: str, name: str, test: Pictures) -> dict[str, Any]:
    """Post every test picture to a service's /predict; the accuracy, the precision it computes in, and today's date."""
    right = 0
    with httpx.Client(base_url=url, timeout=60) as client:
        precision = client.get(f"/models/{name}").raise_for_status().json()["precision"]
        for start in range(0, len(test.labels), PICTURES_A_REQUEST):
            body = io.BytesIO()
            np.save(body, test.images[start : start + PICTURES_A_REQUEST])
            answer = client.post(
                "/predict",
                params={"model": name, "top_k": 1},
                content=body.getvalue(),
                headers={"Content-Type": "application/x-npy"},
            )
            indices = [prediction["index"] for prediction in answer.raise_for_status().json()["predictions"]]
            right += int(np.sum(indices == test.labels[start : start + PICTURES_A_REQUEST]))
    return {
        "accuracy": right / len(test.labels),
        "precision": precision,
        "date": datetime.now(UTC).date().isoformat(),
    }


COMMANDS = {"train": train, "export": export, "evaluate": evaluate_}
