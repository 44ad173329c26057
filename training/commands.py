"""What the command line does, step by step."""

import argparse
import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httpx
import keras
import numpy as np
import openvino as ov

from training import (
    artifact,
    calibration,
    checkpoint,
    data,
    evaluate,
    model_card,
    overrides,
    precision,
    stopping,
    teacher,
)
from training.artifact import ArtifactError, ArtifactExists
from training.checkpoint import CheckpointError
from training.config import RECIPES, ConfigError, TrainConfig
from training.data import DataError, Pictures
from training.export import ExportError
from training.train import TrainingError, finished
from training.train import train as run_training


class ServiceError(Exception):
    """A service does not answer as this one does."""


FAILURES = (
    ArtifactError,
    ArtifactExists,
    CheckpointError,
    ConfigError,
    DataError,
    ExportError,
    ServiceError,
    TrainingError,
    httpx.HTTPError,
    httpx.InvalidURL,
    OSError,
)
"""What a user can cause and mend; told in one line."""

PICTURES_A_REQUEST = 100


def train(options: argparse.Namespace) -> None:
    """Train to the end of the recipe, then write the artifact."""
    config = recipe(options)
    artifact.refuse_to_overwrite(options.models / config.name, options.overwrite)
    folder = data.find(options.data)
    training, validation = data.split(data.load_training(folder), validation=config.validation)
    log = options.tensorboard / config.name if options.tensorboard else None
    answers = teacher.load(options.teachers) if options.teachers else None
    run_training(config, training, validation, options.runs / config.name, log, options.initial, answers)
    _export(config.name, options)


def export(options: argparse.Namespace) -> None:
    """Write the artifact of a finished training again."""
    _export(options.name, options)


def _export(name: str, options: argparse.Namespace) -> None:
    """Write the artifact of the finished run `name`, looking at the test set for the only time."""
    target = options.models / name
    artifact.refuse_to_overwrite(target, options.overwrite)
    path = options.runs / name / "checkpoint.npz"
    found = checkpoint.read(path)
    if found is None:
        raise CheckpointError(f"{path}: no such checkpoint; `convoscope train` writes it after every epoch")
    config, progress = replace(found[0], name=name), found[1]  # of a run folder that was renamed, too
    if not stopping.is_over(config, progress.history):
        raise TrainingError(
            f"{path}: {progress.epoch} of {config.epochs} epochs are done; the command that trained them goes on"
        )
    folder = data.find(options.data)
    training, validation = data.split(data.load_training(folder), validation=config.validation)
    model = finished(config, progress)
    metadata = artifact.write(
        target,
        config,
        model,
        progress,
        training=training,
        validation=validation,
        test=data.load_test(folder),
        overwrite=options.overwrite,
    )
    print(f"{target}: {metadata['accuracy']['test']:.2%} of the test pictures right")


def evaluate_(options: argparse.Namespace) -> None:
    """Measure an artifact, or with --served a running service, on the test set; --record writes down what it finds."""
    folder = options.models / options.name
    if options.record and not options.served:
        renew(options)
    metadata = artifact.read(folder)
    test = data.load_test(data.find(options.data))
    if options.served:
        served, graph = over_http(options.served, options.name, test)
        print(
            f"{served['accuracy']:.2%} over HTTP in {served['precision']}; {metadata['accuracy']['test']:.2%} offline; "
            f"{served['flagged']:.2%} called out of distribution"
        )
        if options.record:
            artifact.record(folder, "served", served, graph=graph)
        return
    logits = evaluate.logits(keras.models.load_model(folder / "model.keras"), test.images)
    measured = evaluate.evaluate(logits, test.labels)
    temperature = metadata["calibration"]["temperature"]
    error = round(calibration.reliability(calibration.softmax(logits, temperature), test.labels).error, 5)
    card = metadata["accuracy"]
    rows = [
        ("accuracy", f"{measured.accuracy:.2%}", f"{card['test']:.2%}"),
        ("calibration error", f"{error:.2%}", f"{metadata['calibration']['ece_test']:.2%}"),
        *((label, f"{found:.1%}", f"{card['per_class'][label]:.1%}") for label, found in measured.per_class.items()),
    ]
    print(model_card.table((f"{options.name}, {len(test.labels):,} test pictures", "now", "on its card"), rows))


def renew(options: argparse.Namespace) -> None:
    """Write an artifact's graphs, figures, plots and card again, from its checkpoint."""
    folder = options.models / options.name
    metadata = artifact.read(folder, (artifact.CHECKPOINT,))
    pictures = data.find(options.data)
    training, validation = data.split(data.load_training(pictures), validation=metadata["data"]["validation"])
    artifact.renew(folder, training=training, validation=validation, test=data.load_test(pictures))


def recipe(options: argparse.Namespace) -> TrainConfig:
    """The recipe that is asked for, with what the other options change. Raises ConfigError, ArtifactError."""
    if options.recipe not in RECIPES:
        raise ConfigError(f"no recipe is called {options.recipe!r}; expected one of {', '.join(RECIPES)}")
    config = suited(overrides.override(RECIPES[options.recipe], options.set, options.name), options.set)
    if bool(options.teachers) != bool(config.distillation):
        named = " ".join(map(str, options.teachers)) or None
        raise ConfigError(
            f"--teacher is {named} and distillation {config.distillation}; expected both or neither: an artifact, "
            "and the share of its answers in what is learnt"
        )
    initial = artifact.identity(options.initial, config) if options.initial else ()
    teachers = tuple(artifact.identity(folder, config) for folder in options.teachers)
    return replace(config, initial=initial, teachers=teachers)


def suited(config: TrainConfig, assignments: Sequence[str]) -> TrainConfig:
    """`config`, in float32 instead of a bfloat16 that this processor has no matrix unit for.

    TensorFlow would emulate it, or be slower in it than with Winograd's convolutions in float32. What is set by hand,
    in `assignments`, stays.
    """
    by_hand = any(assignment.startswith("precision=") for assignment in assignments)
    if config.precision != "mixed_bfloat16" or by_hand or precision.available(ov.Core())[0] == "bfloat16":
        return config
    print("precision is float32: no matrix unit for bfloat16 here (--set precision=mixed_bfloat16 insists)", flush=True)
    return replace(config, precision="float32")


def over_http(url: str, name: str, test: Pictures) -> tuple[dict[str, Any], str]:
    """Post every test picture to a service's /predict; gives what it found, and the SHA-256 of the graph that answered.

    That is the share of right labels, `accuracy`, the share that is called out of distribution, `flagged`, both in
    [0, 1], and the `precision` it computes in.

    Raises httpx.HTTPError where the service fails, and ServiceError where it answers as no Convoscope does.
    """
    try:
        return _over_http(url, name, test)
    except (ValueError, KeyError, TypeError) as error:
        raise ServiceError(f"{url}: does not answer as Convoscope does ({error!r})") from error


def _over_http(url: str, name: str, test: Pictures) -> tuple[dict[str, Any], str]:
    right = flagged = 0
    with httpx.Client(base_url=url, timeout=60) as client:
        model = client.get(f"/models/{name}").raise_for_status().json()
        computed_in, graph = model["precision"], model["files"]["model.onnx"]
        for start in range(0, len(test.labels), PICTURES_A_REQUEST):
            body = io.BytesIO()
            np.save(body, test.images[start : start + PICTURES_A_REQUEST])
            answer = client.post(
                "/predict",
                params={"model": name, "top_k": 1},
                content=body.getvalue(),
                headers={"Content-Type": "application/x-npy"},
            )
            predictions = answer.raise_for_status().json()["predictions"]
            indices = [prediction["index"] for prediction in predictions]
            right += int(np.sum(indices == test.labels[start : start + PICTURES_A_REQUEST]))
            flagged += sum(prediction["is_ood"] for prediction in predictions)
    count = len(test.labels)
    return {"accuracy": right / count, "flagged": flagged / count, "precision": computed_in}, graph


COMMANDS = {"train": train, "export": export, "evaluate": evaluate_}
