"""A training on one's own pictures from beginning to end: look, say what is there, give a first result, train, write.

find -> keep -> groups -> split -> head -> fit -> release
"""

import hashlib
import json
import statistics
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from training.own import duplicates, fit, head, listing, network, release, report, split, store
from training.own.errors import OwnPicturesError
from training.own.fit import Task
from training.own.graph import Graph
from training.own.head import Head
from training.own.listing import Listing
from training.own.network import Start
from training.own.release import Released, Work
from training.own.split import Split
from training.own.store import Kept, Store
from training.release import artifact, calibrate, export
from training.run import Progress

SHOWN = 10
"""Lines of a list on the terminal; the whole list is in a file."""

MOST_IMPORTANCE = 10.0
"""How much more a picture of a rare label may weigh than the mean."""

TRAINING_COST = 6
"""Seconds that a picture costs in training, in seconds of the engine's forward pass: a guess, for the first plan."""

EPOCHS = {64: 15, 96: 25, 128: 40}
"""A size is chosen where the time is enough to see every picture so many times in it."""

WRITING = 0.1
"""The share of the time that is kept for measuring and writing, at most WRITING_SECONDS."""

WRITING_SECONDS = 60

MOST_OPINIONS = 10_000_000
"""The most pictures times labels for which suspect labels are looked for; more would take too much memory."""


@dataclass(frozen=True)
class Options:
    """What the command line says. `size` None: chosen by the pictures and the time. `start` as `network.find_start`."""

    pictures: Path
    name: str
    models: Path
    runs: Path
    seconds: float = 1200
    size: int | None = None
    start: str | None = None
    examples: bool = True


def train(options: Options) -> Released:
    """Train a network on the pictures and write it into `options.models`; everything is told on standard output.

    Raises OwnPicturesError, ArtifactError, CheckpointError, ExportError and OSError.
    """
    began = time.monotonic()
    release.check_name(options.name, options.models)
    if options.size is not None and options.size not in network.SIZES:
        raise OwnPicturesError(f"--size is {options.size}; expected one of {', '.join(map(str, network.SIZES))}")
    start = network.find_start(options.start, (options.models, network.SHIPPED))
    found = listing.find(options.pictures)
    folder = options.runs / "own" / options.name
    _check_writable(options.models, folder)
    _say(f"{options.pictures}: {len(found.entries):,} files under {len(found.labels):,} labels")
    cost = _cost(start, len(found.labels))
    side = options.size or _side(found, cost, options.seconds)
    kept = store.keep(found, side, folder)
    with kept.open() as pictures:
        first = duplicates.groups(list(kept.digests), duplicates.averages(pictures, len(kept.entries)))
        parts = split.split(kept.labels, first, [entry.part for entry in kept.entries], found.labels)
        _tell(found, kept, first, parts, folder)
        session = _Session(options, found, kept, parts, first, pictures, start, folder)
        return session.run(began, cost)


class _Session:
    """The part of a training that has all pictures at hand."""

    def __init__(
        self,
        options: Options,
        found: Listing,
        kept: Kept,
        parts: Split,
        first: NDArray[np.int64],
        pictures: Store,
        start: Start | None,
        folder: Path,
    ) -> None:
        self.options, self.found, self.kept, self.parts, self.first = options, found, kept, parts, first
        self.pictures, self.start, self.folder = pictures, start, folder
        self.labels = kept.labels
        self.importance = importance(self.labels[parts.training], len(found.labels))
        self.second_opinion: NDArray[np.float64] | None = None

    def run(self, began: float, cost: float) -> Released:
        headed, mirror = self._head(began)
        reserve = min(WRITING * self.options.seconds, WRITING_SECONDS)
        seconds = max(self.options.seconds - reserve - (time.monotonic() - began), 0.1 * self.options.seconds)
        task = Task(self.pictures, self.labels, self.parts.training, self.parts.validation, self.importance)
        recipe = fit.recipe(len(task.training), self.kept.side, self.start, mirror=mirror, seed=split.SEED)
        epochs = seconds / (len(task.training) * cost * (self.kept.side / 32) ** 2)
        beginning = f"the weights of {self.start.name}" if self.start else "new weights"
        _say(
            f"Training from {beginning} for {_duration(seconds)}, batches of {recipe.batch_size}, {recipe.precision}: "
            f"about {epochs:.0f} times through the pictures on this machine. Ctrl-C ends it and keeps the best."
        )
        progress = fit.fit(task, recipe, self.start, self.folder / self._fingerprint(recipe.as_dict()), seconds)
        model, method = self._better(headed, progress)
        about = self._about(recipe.as_dict(), progress, method, time.monotonic() - began)
        work = Work(
            self.options.name,
            self.found,
            self.kept,
            self.parts,
            self.pictures,
            progress,
            about,
            self.options.examples,
            self.second_opinion,
        )
        _say("Measuring on the test pictures, calibrating and writing")
        released = release.release(self.options.models, model, work)
        _tell_result(released, self.found)
        return released

    def _head(self, began: float) -> tuple["_Headed | None", bool]:
        """The first result, if there is a trained network to take features from; and whether mirror images may help."""
        if not self.start:
            return None, True
        model = network.build(self.start, self.kept.side, len(self.found.labels), shrunk=True)
        graph = Graph(export.to_onnx(model), ("pool",), quick=True)
        everything = np.arange(len(self.labels))
        (features,) = graph(self.pictures.batches(everything, 64))
        training, validation = self.parts.training, self.parts.validation
        held_out = features[validation], self.labels[validation]
        fitted = head.fit(features[training], self.labels[training], self.importance, held_out)
        accuracy = _accuracy(fitted, *held_out)
        (mirrored,) = graph(images[:, :, ::-1] for images in self.pictures.batches(validation, 64))
        mirror = head.mirrors_alike(accuracy, _accuracy(fitted, mirrored, held_out[1]))
        low, high = report.wilson(round(accuracy * len(validation)), len(validation))
        _say(
            f"First result after {time.monotonic() - began:.0f} s: a linear layer on the features of {self.start.name} "
            f"recognises {accuracy:.1%} of {len(validation):,} held-out pictures (95 %: {low:.1%} to {high:.1%})."
        )
        if not mirror:
            _say("Mirror images look like other labels, so none are trained on.")
        if len(self.labels) * len(self.importance) <= MOST_OPINIONS:
            crossed = head.cross_fitted(features, self.labels, self.importance, self.first)
            self.second_opinion = calibrate.softmax(crossed)
        loss = head.cross_entropy(fitted.logits(held_out[0]), held_out[1])
        return _Headed(model, fitted, accuracy, loss), mirror

    def _better(self, headed: "_Headed | None", progress: Progress) -> tuple[keras.Model, str]:
        """The network that is better on the validation pictures, in float32, and what it is."""
        row = progress.history[progress.best_epoch - 1] if progress.history else None
        if headed and (row is None or (headed.accuracy, -headed.loss) > (row["val_accuracy"], -row["val_loss"])):
            _say("The linear layer stays ahead of what was trained since: it is what is written.")
            return headed.finished(), "a linear layer on the features of a trained network"
        if row is None:
            raise OwnPicturesError("--time is too short to measure anything; the same command with more goes on")
        return fit.finished(progress, self.start, self.kept.side, len(self.found.labels)), "all layers trained"

    def _fingerprint(self, recipe: dict[str, Any]) -> str:
        """A name for the folder of trainings on these very pictures, by this recipe."""
        parts = [getattr(self.parts, name).tolist() for name in ("training", "validation", "test")]
        decided = [self.kept.digests, self.labels.tolist(), parts, recipe, self.start and self.start.weights]
        return hashlib.sha256(json.dumps(decided).encode()).hexdigest()[:12]

    def _about(self, recipe: dict[str, Any], progress: Progress, method: str, seconds: float) -> dict[str, Any]:
        trained = method == "all layers trained"
        return {
            "recipe": recipe,
            "data": {
                "name": self.options.pictures.resolve().name,
                "training": len(self.parts.training),
                "validation": len(self.parts.validation),
                "test": len(self.parts.test),
                "left_out": len(self.parts.left_out),
                "skipped": len(self.kept.skipped),
            },
            "training": {
                "seconds": round(max(seconds, progress.seconds)),
                "epochs": progress.epoch if trained else 0,
                "best_epoch": progress.best_epoch if trained else 0,
                "method": method,
                "start": f"the weights of `{self.start.name}`" if self.start else "new weights",
                "precision": recipe["precision"],
                "date": datetime.now(UTC).date().isoformat(),
                "machine": artifact.machine(),
                "commit": artifact.commit(),
            },
        }


@dataclass(frozen=True)
class _Headed:
    """A trained network with a linear layer for other labels, and how good that is on the validation pictures."""

    model: keras.Model
    head: Head
    accuracy: float
    loss: float

    def finished(self) -> keras.Model:
        """Both as one network."""
        scale = self.model.get_layer("logits").scale
        self.model.get_layer("head").set_weights([self.head.weights / scale, self.head.bias / scale])
        return self.model


def _accuracy(fitted: Head, features: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    return float(np.mean(fitted.logits(features).argmax(axis=1) == labels))


def importance(labels: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """What a picture's loss weighs, by label, (count,): all labels together count alike, and the mean over all is 1."""
    counts = np.bincount(labels, minlength=count).clip(min=1)
    weights = np.minimum(len(labels) / (count * counts), MOST_IMPORTANCE)
    return np.asarray(weights * len(labels) / (weights * counts).sum(), np.float32)


def _check_writable(*folders: Path) -> None:
    """Find out before the training, not after. Raises OwnPicturesError."""
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


def _cost(start: Start | None, labels: int) -> float:
    """About how many seconds of training a picture of 32 x 32 pixels costs on this machine, as busy as it is."""
    graph = Graph(export.to_onnx(network.build(start, 32, labels)), quick=True)
    batch = [np.zeros((32, 32, 32, 3), np.uint8)]
    graph(batch)
    took = []
    for _ in range(3):
        started = time.monotonic()
        graph(batch)
        took.append(time.monotonic() - started)
    return TRAINING_COST * statistics.median(took) / 32


def _side(found: Listing, cost: float, seconds: float) -> int:
    """The largest size that the pictures fill and the time allows."""
    typical = _typical(found)
    for side, epochs in sorted(EPOCHS.items(), reverse=True):
        if side <= typical and 0.8 * seconds >= epochs * len(found.entries) * cost * (side / 32) ** 2:
            return side
    return 32


def _typical(found: Listing) -> float:
    """The median of the shorter sides of some pictures, by their headers; 0 where none can be read."""
    sides = []
    for entry in found.entries[:: max(1, len(found.entries) // 100)]:
        try:
            with Image.open(entry.path) as picture:
                sides.append(min(picture.size))
        except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError):
            continue
    return statistics.median(sides) if sides else 0


def _tell(found: Listing, kept: Kept, first: NDArray[np.int64], parts: Split, folder: Path) -> None:
    labels, count = kept.labels, len(kept.entries)
    per_label = np.bincount(labels, minlength=len(found.labels))
    rows = sorted(zip(found.labels, per_label.tolist(), strict=True), key=lambda row: -row[1])
    _list([f"{label}: {number:,}" for label, number in rows], "pictures per label", folder / "labels.txt")
    _list([f"{each.name}: {each.reason}" for each in kept.skipped], "skipped", folder / "skipped.txt")
    exact = count - len(set(kept.digests))
    near = int(np.sum(first != np.arange(count))) - exact
    if exact or near:
        _say(f"{exact:,} exact and {near:,} near duplicates; each stays on the side of what it shows")
    clashes = [
        f"{found.name(kept.entries[number])} ({found.labels[labels[number]]}) shows the same as "
        f"{found.name(kept.entries[other])} ({found.labels[labels[other]]})"
        for number, other in enumerate(first.tolist())
        if labels[number] != labels[other]
    ]
    _list(clashes, "the same picture under two labels", folder / "two-labels.txt")
    if per_label.max() > 1.5 * per_label.min():
        _say(f"The labels have {per_label.min():,} to {per_label.max():,} pictures: rare ones weigh more")
    left = f", {len(parts.left_out):,} left out as copies of those" if len(parts.left_out) else ""
    _say(
        f"{len(parts.training):,} to train on, {len(parts.validation):,} that choose, {len(parts.test):,} that only "
        f"measure{left} (seed {split.SEED}); at {kept.side} x {kept.side} pixels"
    )


def _list(lines: list[str], what: str, whole: Path) -> None:
    """The first lines, and the file that has them all."""
    if not lines:
        return
    _say(f"{what} ({len(lines):,}):")
    for line in lines[:SHOWN]:
        _say(f"  {line}")
    if len(lines) > SHOWN:
        whole.write_text("\n".join(lines) + "\n", encoding="utf-8")
        _say(f"  and {len(lines) - SHOWN:,} more in {whole}")


def _tell_result(released: Released, found: Listing) -> None:
    evaluation, metadata = released.evaluation, released.metadata
    low, high = metadata["accuracy"]["test_interval"]
    _say(
        f"{evaluation.accuracy:.1%} of {metadata['data']['test']:,} test pictures are recognised "
        f"(95 %: {low:.1%} to {high:.1%})"
    )
    label, share, count = report.worst(evaluation)
    _say(f"worst label: {label}, {share:.1%} of {count:,}")
    for true, said, times in report.confusions(evaluation, found.labels):
        _say(f"  {true} taken for {said}: {times:,}")
    if metadata["mislabelled"]:
        _say("look again at:")
    for row in metadata["mislabelled"][:5]:
        _say(f"  {row['path']}: labelled {row['label']}, rather {row['predicted']} ({row['probability']:.0%})")
    missing = [name for name in ("calibration", "out_of_distribution") if name not in metadata]
    if missing:
        _say(f"too few held-out pictures for: {' and '.join(missing).replace('_', ' ')}")
    _say(f"{released.folder} {'is written' if released.new else 'was there already'}; `convoscope serve` serves it")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _say(text: str) -> None:
    print(text, flush=True)
