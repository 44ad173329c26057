"""A training on one's own pictures from beginning to end: look, say what is there, give a first result, train, write.

find -> plan -> keep -> groups -> split -> head -> fit -> release
"""

import hashlib
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from training.own import duplicates, fit, head, listing, network, plan, release, report, split, store
from training.own.errors import OwnPicturesError
from training.own.fit import Task
from training.own.graph import Graph
from training.own.head import Head
from training.own.listing import Listing
from training.own.network import Start
from training.own.release import Released, Work
from training.own.split import Split
from training.own.store import Kept, Store
from training.own.telling import duration, say, tell_found, tell_result, tell_skipped
from training.release import calibrate, export, provenance
from training.run import Progress

MOST_IMPORTANCE = 10.0
"""How much more a picture of a rare label may weigh than the mean."""

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
    began = time.monotonic() - plan.process_age()
    release.check_name(options.name, options.models)
    if options.size is not None and options.size not in network.SIZES:
        raise OwnPicturesError(f"--size is {options.size}; expected one of {', '.join(map(str, network.SIZES))}")
    start = network.find_start(options.start, (options.models, network.SHIPPED))
    found = listing.find(options.pictures)
    folder = options.runs / "own" / options.name
    release.check_writable(options.models, folder)
    say(f"{options.pictures}: {len(found.entries):,} files under {len(found.labels):,} labels")
    kept = store.keep(found, options.size or plan.side(found, start, options.seconds), folder)
    tell_skipped(kept, folder)
    with kept.open() as pictures:
        exact = duplicates.exact(list(kept.digests))
        first = duplicates.groups(exact, duplicates.averages(pictures, len(kept.entries)))
        parts = split.split(kept.labels, first, exact, [entry.part for entry in kept.entries], found.labels)
        tell_found(found, kept, first, exact, parts, folder)
        session = _Session(options, found, kept, parts, first, pictures, start, folder)
        return session.run(began)


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

    def run(self, began: float) -> Released:
        headed, mirror = self._head(began)
        ending = plan.rehearse(self.start, self.kept.side, len(self.found.labels)).ending(self.parts)
        seconds = max(self.options.seconds - (time.monotonic() - began), 0.2 * self.options.seconds)
        task = Task(self.pictures, self.labels, self.parts.training, self.parts.validation, self.importance)
        recipe = fit.recipe(len(task.training), self.kept.side, self.start, mirror=mirror, seed=split.SEED)
        beginning = f"the weights of {self.start.name}" if self.start else "new weights"
        say(
            f"Training from {beginning} for about {duration(max(seconds - ending, seconds / 2))}, batches of "
            f"{recipe.batch_size}, {recipe.precision}. Ctrl-C ends it and keeps the best."
        )
        progress = fit.fit(task, recipe, self.start, self.folder / self._fingerprint(recipe.as_dict()), seconds, ending)
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
        say("Measuring on the test pictures, calibrating and writing")
        released = release.release(self.options.models, model, work)
        tell_result(released, self.found)
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
        say(
            f"First result after {time.monotonic() - began:.0f} s: a linear layer on the features of {self.start.name} "
            f"recognises {accuracy:.1%} of {len(validation):,} held-out pictures (95 %: {low:.1%} to {high:.1%})."
        )
        if not mirror:
            say("Mirror images look like other labels, so none are trained on.")
        if len(self.labels) * len(self.importance) <= MOST_OPINIONS:
            crossed = head.cross_fitted(features, self.labels, self.importance, self.first)
            self.second_opinion = calibrate.softmax(crossed)
        loss = head.cross_entropy(fitted.logits(held_out[0]), held_out[1])
        return _Headed(model, fitted, accuracy, loss), mirror

    def _better(self, headed: "_Headed | None", progress: Progress) -> tuple[keras.Model, str]:
        """The network that is better on the validation pictures, in float32, and what it is."""
        row = progress.history[progress.best_epoch - 1] if progress.history else None
        if headed and (row is None or (headed.accuracy, -headed.loss) > (row["val_accuracy"], -row["val_loss"])):
            say("The linear layer stays ahead of what was trained since: it is what is written.")
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
                "machine": provenance.machine(),
                "commit": provenance.commit(),
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
