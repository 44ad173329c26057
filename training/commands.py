"""What the command line does, step by step."""

import argparse
import re
from pathlib import Path
from typing import Any

import httpx
import keras
import numpy as np

from training import data, film, lineage, run
from training.data import DataError, Pictures
from training.foreign import importing
from training.foreign.network import ImportFailure, Preprocessing
from training.make import Step, Workshop, make, split
from training.make import export as export_run
from training.own import session
from training.own.errors import OwnPicturesError
from training.recipe import RecipeError
from training.release import artifact, calibrate, card, evaluate, precision, provenance, records, served, units, writer
from training.release.artifact import ArtifactError, ArtifactExists
from training.release.card import table
from training.release.export import ExportError
from training.release.served import ServiceError
from training.release.units import UnknownLayer
from training.run import CheckpointError
from training.train import TrainingError
from training.trial import trial


class UsageError(Exception):
    """Options that do not go together, or whose values cannot be read."""


FAILURES = (
    ArtifactError,
    ArtifactExists,
    CheckpointError,
    DataError,
    ExportError,
    ImportFailure,
    RecipeError,
    ServiceError,
    TrainingError,
    UnknownLayer,
    httpx.HTTPError,
    httpx.InvalidURL,
    OSError,
    OwnPicturesError,
    UsageError,
)
"""What a user can cause and mend; told in one line."""

OWN = {"time": "20m", "size": None, "start": None, "examples": True}
"""The options that only a training on one's own pictures takes, and their defaults."""

SECONDS = {"s": 1, "m": 60, "h": 3600}


def train(options: argparse.Namespace) -> None:
    """Make a network: of a recipe, and before it whatever it is made from, or for one's own pictures."""
    given = vars(options)
    if options.recipe is None:
        _train_own(options)
        return
    for option in OWN.keys() & given.keys():
        flag = {"start": "from", "examples": "no-examples"}.get(option, option)
        raise UsageError(f"--{flag} is for your own pictures: convoscope train --data FOLDER --name NAME, no recipe")
    wanted = trial(lineage.find(options.recipe, options.recipes), options.set, options.name)
    by_hand = any(assignment.startswith("precision=") for assignment in options.set)
    make(wanted, _workshop(options), options.data, overwrite=options.overwrite, by_hand=by_hand)


def _train_own(options: argparse.Namespace) -> None:
    if options.data is None or options.name is None:
        raise UsageError("expected a recipe's name, such as fast; or --data FOLDER --name NAME for your own pictures")
    for flag, given in (("--set", options.set), ("--overwrite", options.overwrite)):
        if given:
            raise UsageError(f"{flag} is for recipes; trainings on your own pictures take --time, --size and --from")
    chosen = OWN | {name: value for name, value in vars(options).items() if name in OWN}
    seconds = _seconds(chosen["time"])
    session.train(
        session.Options(
            options.data,
            options.name,
            options.models,
            options.runs,
            seconds,
            chosen["size"],
            chosen["start"],
            chosen["examples"],
        )
    )


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    seconds = float(found[1]) * SECONDS[found[2]] if found else 0
    if not 1 <= seconds <= 7 * 24 * 3600:
        raise UsageError(f"--time is {text!r:.50}; expected from 1s to 168h, such as 90s, 20m or 1h")
    return seconds


RANGES = {"0..1": (1 / 255, 0.0), "-1..1": (1 / 127.5, -1.0), "0..255": (1.0, 0.0)}
"""What --scale may be: factor and offset of a pixel."""


def import_(options: argparse.Namespace) -> None:
    """Make an artifact of a network that was trained elsewhere."""
    if options.scale not in (None, *RANGES):
        raise UsageError(f"--scale is {options.scale!r:.50}; expected one of {', '.join(RANGES)}")
    scale, offset = RANGES[options.scale or "0..255"]
    mean, std = _values("--mean", options.mean, 0.0), _values("--std", options.std, 1.0)
    if min(std) <= 0:
        raise UsageError(f"--std is {options.std!r:.50}; expected values above 0")
    if options.scale is None and options.mean and max(mean) <= 1:
        raise UsageError(f"--mean is {options.mean}; expected --scale 0..1 with it, or a mean of pixels from 0 to 255")
    importing.import_(
        importing.Options(
            options.network,
            options.labels,
            options.name,
            options.models,
            options.runs,
            Preprocessing(scale, offset, mean, std),
            options.layout,
            options.check,
        )
    )


def _values(option: str, text: str | None, default: float) -> tuple[float, ...]:
    try:
        values = tuple(map(float, text.split(","))) if text else (default,)
    except ValueError:
        values = ()
    if len(values) not in (1, 3) or not np.isfinite(values).all():
        raise UsageError(f"{option} is {text!r:.50}; expected 1 number, or 3 such as 0.485,0.456,0.406")
    return values


def _workshop(options: argparse.Namespace) -> Workshop:
    return Workshop(options.recipes, options.models, options.runs)


def export(options: argparse.Namespace) -> None:
    """Write the artifact of a finished run again."""
    shop = _workshop(options)
    path = shop.runs / options.name / "checkpoint.npz"
    found = run.read(path)
    if found is None:
        raise CheckpointError(f"{path}: no such checkpoint; `convoscope train` writes it after every epoch")
    asked = found[0].model_copy(update={"name": options.name})  # of a run folder that was renamed, too
    target = shop.models / asked.artifact
    artifact.refuse_to_overwrite(target, options.overwrite)
    digest = lineage.digests(lineage.ancestors(asked, shop.recipes))[asked.name]
    export_run(Step(asked, digest, None), shop, data.find(options.data), target, overwrite=options.overwrite)


def card_(options: argparse.Namespace) -> None:
    """Render an artifact's card again from its metadata."""
    artifact.render(options.models / options.name)


def evaluate_(options: argparse.Namespace) -> None:
    """Measure an artifact on the test pictures, a running service, or each precision; --record keeps what it finds."""
    if options.record and not (options.served or options.precisions):
        raise UsageError("--record needs --served URL or --precisions; `convoscope renew` writes an artifact again")
    folder = options.models / options.name
    metadata = artifact.read(folder)
    pictures = data.find(options.data)
    if options.served:
        _evaluate_served(options, folder, metadata, data.load_test(pictures))
    elif options.precisions:
        _evaluate_precisions(options, folder, metadata, _held_out(metadata, pictures)[1])
    else:
        _evaluate_checkpoint(folder, metadata, data.load_test(pictures))


def _evaluate_served(options: argparse.Namespace, folder: Path, metadata: dict[str, Any], test: Pictures) -> None:
    found, graph = served.measure(options.served, options.name, test)
    print(
        f"{found['accuracy']:.2%} over HTTP in {found['precision']}; {metadata['accuracy']['test']:.2%} offline; "
        f"{found['flagged']:.2%} called out of distribution"
    )
    if options.record:
        records.record(folder, "served", found, graph=graph)


def _evaluate_precisions(
    options: argparse.Namespace, folder: Path, metadata: dict[str, Any], validation: Pictures
) -> None:
    earlier = metadata["precision"]["measured"]
    found = precision.measure(folder, validation, provenance.machine(), earlier)
    print("\n\n".join(card.speed(found)))
    if options.record:
        records.record_precisions(folder, found, graph=metadata["files"]["model.onnx"])


def _evaluate_checkpoint(folder: Path, metadata: dict[str, Any], test: Pictures) -> None:
    logits = evaluate.logits(keras.models.load_model(folder / artifact.CHECKPOINT), test.images)
    measured = evaluate.evaluate(logits, test.labels)
    temperature = metadata["calibration"]["temperature"]
    error = round(calibrate.reliability(calibrate.softmax(logits, temperature), test.labels).error, 5)
    told = metadata["accuracy"]
    rows = [
        ("accuracy", f"{measured.accuracy:.2%}", f"{told['test']:.2%}"),
        ("calibration error", f"{error:.2%}", f"{metadata['calibration']['ece_test']:.2%}"),
        *((label, f"{found:.1%}", f"{told['per_class'][label]:.1%}") for label, found in measured.per_class.items()),
    ]
    print(table((f"{folder.name}, {len(test.labels):,} test pictures", "now", "on its card"), rows))


def renew(options: argparse.Namespace) -> None:
    """Write an artifact's graphs, figures, plots and card again, from its weights; says what no longer holds."""
    folder = options.models / options.name
    before = artifact.read(folder, (artifact.CHECKPOINT,))
    pictures = data.find(options.data)
    training, validation = _held_out(before, pictures)
    after = writer.renew(folder, training=training, validation=validation, test=data.load_test(pictures))
    lost = [kind for kind in records.RECORDS if before["accuracy"].get(kind) and not after["accuracy"].get(kind)]
    if lost:
        print(f"{folder}: answers otherwise than before; no longer on its card: {', '.join(lost)}")


def _held_out(metadata: dict[str, Any], pictures: Path) -> tuple[Pictures, Pictures]:
    """The training and the validation pictures of an artifact."""
    return data.split(data.load_training(pictures), validation=metadata["data"]["validation"])


def units_(options: argparse.Namespace) -> None:
    """Find out what a network's units look for."""
    folder = options.models / options.name
    if artifact.read(folder)["labels"] != list(data.LABELS):
        raise UsageError(f"{folder}: has other labels than CIFAR-10, whose test pictures are what is shown")
    units.record(folder, options.layer, data.load_test(data.find(options.data)))


def film_(options: argparse.Namespace) -> None:
    """Film a training for the course."""
    path = options.out or film.FILM
    training, validation = split(film.BASE, data.find(options.data))
    film.write(film.shoot(film.BASE, training, validation, options.runs / "film"), path)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


COMMANDS = {
    "train": train,
    "import": import_,
    "export": export,
    "evaluate": evaluate_,
    "renew": renew,
    "card": card_,
    "units": units_,
    "film": film_,
}
