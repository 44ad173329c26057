"""What a run keeps and tells: its checkpoint, its history, which epoch is the best, and when it is over."""

import contextlib
import csv
import fcntl
import io
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import keras
import numpy as np
from numpy.typing import NDArray

from training.recipe import Precision, Recipe, parse
from training.trial import differences

Arrays = list[NDArray[np.generic]]
Parents = Mapping[str, str]
"""The SHA-256 of the weights (model.keras) of each network that a run starts with or is taught by, by recipe."""


History = Sequence[Mapping[str, float]]
"""A row an epoch, with at least `val_loss` and `val_accuracy`."""


class CheckpointError(Exception):
    """A checkpoint cannot be read or written, or belongs to another recipe; the message names the file."""


@dataclass
class Progress:
    """How far a run has come, but for the weights, and the `precision` of its last epoch.

    `best_weights` are the model's variables after `best_epoch`, the one that the recipe's `monitor` prefers, whose
    validation accuracy is `best_accuracy`; empty before the first.
    `losses` are the training pictures' last ones, less what no network could avoid, (N,) float32; empty at first.
    """

    epoch: int = 0
    precision: Precision = "float32"
    seconds: float = 0.0
    best_accuracy: float = 0.0
    best_epoch: int = 0
    best_weights: Arrays = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)
    losses: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep every other training out of `folder`, which is made if need be.

    Raises CheckpointError where another one has it, or where nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise CheckpointError(f"{folder}: cannot be written")
        opened = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be written ({error.strerror})") from error
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CheckpointError(f"{folder}: another training is at work there; choose another run folder") from error
        yield
    finally:
        os.close(opened)


def save(
    path: Path,
    recipe: Recipe,
    parents: Parents,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    progress: Progress,
) -> None:
    """Write everything that `load` needs. Raises CheckpointError; the checkpoint before it is kept then.

    The model's variables include dropout's random state, the optimizer's its momenta and the number of updates.
    """
    about = {
        "recipe": recipe.as_dict(),
        "parents": dict(parents),
        "epoch": progress.epoch,
        "precision": progress.precision,
        "seconds": progress.seconds,
        "best_accuracy": progress.best_accuracy,
        "best_epoch": progress.best_epoch,
        "history": progress.history,
    }
    arrays: dict[str, Any] = {
        "about": np.array(json.dumps(about)),
        "losses": progress.losses,
        **{f"model/{i}": v.numpy() for i, v in enumerate(model.variables)},
        **{f"optimizer/{i}": v.numpy() for i, v in enumerate(optimizer.variables)},
        **{f"best/{i}": v for i, v in enumerate(progress.best_weights)},
    }
    replace_file(path, lambda file: np.savez(file, **arrays))


def replace_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write to a temporary name, then rename: a crash or a full disk leaves what was there. Raises CheckpointError."""
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise CheckpointError(f"{path}: cannot be written ({error.strerror}); the one before it is kept") from error


def read(path: Path) -> tuple[Recipe, Progress] | None:
    """The recipe and how far the run came, with its best weights; None where there is no checkpoint yet.

    Raises CheckpointError for a damaged file.
    """
    arrays = _read(path)
    return None if arrays is None else (arrays["about"]["recipe"], _progress(arrays))


def load(
    path: Path, recipe: Recipe, parents: Parents, model: keras.Model, optimizer: keras.optimizers.Optimizer
) -> Progress | None:
    """As `read`, and put the last epoch's values into `model` and `optimizer`.

    Raises CheckpointError for a damaged file, one of another recipe (naming the fields that differ) or network, and
    one that began with other networks than `parents`.
    """
    arrays = _read(path)
    if arrays is None:
        return None
    if different := differences(recipe, arrays["about"]["recipe"]):
        expected = "choose another run folder or delete it"
        raise CheckpointError(f"{path}: belongs to another recipe ({', '.join(different)}); {expected}")
    for name, began in arrays["about"]["parents"].items():
        if parents.get(name) != began:
            raise CheckpointError(
                f"{path}: was begun with weights of {name} whose SHA-256 is {began}, and they are now "
                f"{parents.get(name)}; bring those back, or delete the checkpoint to start again"
            )
    for name, variables in (("model", model.variables), ("optimizer", optimizer.variables)):
        values = [arrays.get(f"{name}/{i}") for i in range(len(variables))]
        if [None if value is None else value.shape for value in values] != [tuple(v.shape) for v in variables]:
            raise CheckpointError(f"{path}: does not fit the {name} of this version; delete it to start again")
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
    return _progress(arrays)


def _read(path: Path) -> dict[str, Any] | None:
    """Every array of the file, and under `about` the decoded rest, checked."""
    if not path.exists():
        return None
    try:
        with path.open("rb") as opened, np.load(opened) as file:  # numpy leaves a damaged file open
            arrays: dict[str, Any] = dict(file)
        arrays["about"] = json.loads(str(arrays["about"]))
        arrays["about"]["recipe"] = parse(arrays["about"]["recipe"])
    except Exception as error:  # a damaged archive raises very nearly anything
        raise CheckpointError(f"{path}: not a readable checkpoint ({error}); delete it to start again") from error
    return arrays


def _progress(arrays: dict[str, Any]) -> Progress:
    best = sum(name.startswith("best/") for name in arrays)
    return Progress(
        **{key: value for key, value in arrays["about"].items() if key not in ("recipe", "parents")},
        best_weights=[arrays[f"best/{i}"] for i in range(best)],
        losses=arrays["losses"],
    )


def write_history(history: History, path: Path) -> None:
    """One line an epoch, columns as in `train`; the file is replaced whole. Raises CheckpointError."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, history[-1].keys(), restval="")
    writer.writeheader()
    writer.writerows(history)
    replace_file(path, lambda file: file.write(text.getvalue().encode()))


def progress_line(recipe: Recipe, progress: Progress) -> str:
    """The epoch just done, the best so far, how fast it goes and how long the rest takes at most."""
    row = progress.history[-1]
    left = (recipe.epochs - progress.epoch) * progress.seconds / progress.epoch
    return (
        f"epoch {progress.epoch}/{recipe.epochs}  loss {row['loss']:.4f}  accuracy {row['accuracy']:.4f}  "
        f"val_accuracy {row['val_accuracy']:.4f}  best {progress.best_accuracy:.4f}  "
        f"{row['pictures_per_second']:.0f} pictures/s  {progress.seconds / progress.epoch:.1f} s an epoch, "
        f"{left / 60:.0f} min left"
    )


def best_epoch(recipe: Recipe, history: History) -> int:
    """The first epoch, counted from 1, with the best `monitor`; the last one without `restore_best`; 0 before any."""
    if not recipe.selection.restore_best or not history:
        return len(history)
    scores = [_score(recipe, row) for row in history]
    return scores.index(max(scores)) + 1


def is_over(recipe: Recipe, history: History) -> bool:
    """Whether all epochs are done, or the last `patience` of them brought nothing."""
    patience = recipe.selection.patience
    return len(history) >= recipe.epochs or 0 < patience <= _idle(recipe, history)


def _idle(recipe: Recipe, history: History) -> int:
    """Epochs since the last that was better than all before it that counted by more than the minimum; as in Keras."""
    best, idle = -math.inf, 0
    for row in history:
        score = _score(recipe, row)
        if score - recipe.selection.min_delta > best:
            best, idle = score, 0
        else:
            idle += 1
    return idle


def _score(recipe: Recipe, row: Mapping[str, float]) -> float:
    return row["val_accuracy"] if recipe.selection.monitor == "val_accuracy" else -row["val_loss"]
