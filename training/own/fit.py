"""Training on one's own pictures until the time is up; the best weights on the validation pictures are the result.

The recipe's schedule goes by hundredths of the time instead of epochs, so that the learning rate has fallen to 0 when
the time ends, however fast the machine is and whatever else it does.
"""

import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from app.inference import engine
from training import augment, models, run
from training.fast_layers.layers import accelerated
from training.models import WHITENING
from training.optim import averaged, learning_rate
from training.own import network
from training.own.head import cross_entropy
from training.own.network import Start
from training.own.store import Store
from training.recipe import Precision, Recipe, parse
from training.run import Progress
from training.train import build_optimizer, compiled_update, scores
from training.trivial_augment import vary

HUNDREDTHS = 100
LOOKS = 25
"""How many times the validation pictures are looked at, at most."""

MOST_RESERVED = 0.5
"""The largest share of the time that is kept for what comes after the training."""

FINISHED = 0.05
"""A training that has less than this share of its time left is not taken up again."""

FULL_BATCH, SMALLEST_BATCH = 128, 16
"""Pictures; at 64 x 64 pixels a full batch is a quarter, for the sake of memory."""

UPDATES_AN_EPOCH = 24

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Sampler = Callable[[], tuple[Images, NDArray[np.float32]]]


def precision() -> Precision:
    """What this processor trains fastest in."""
    return "mixed_bfloat16" if engine.precisions()[0] == "bfloat16" else "float32"


def recipe(count: int, side: int, start: Start | None, *, mirror: bool, seed: int) -> Recipe:
    """How to train on `count` pictures of side x side pixels: as `fast` was, in batches that suit their number.

    A network that begins with trained weights is changed half as fast. `mirror`: mirror images show the same things.
    """
    full = FULL_BATCH * 32 * 32 // side**2
    size = max(SMALLEST_BATCH, min(full, 2 ** int(math.log2(max(count // UPDATES_AN_EPOCH, 1)))))
    gentler = 0.5 if start else 1.0
    return parse(
        {
            "name": "own",
            "architecture": "residual",
            "network": network.config_of(start).model_dump(exclude_defaults=True),
            "epochs": HUNDREDTHS,
            "batch_size": min(size, count),
            "precision": precision(),
            "seed": seed,
            "label_smoothing": 0.1,
            "data": {"validation": 4, "split_seed": seed},
            "augment": {
                "flip": "random" if mirror else "none",
                "translate": min(side // 8, 31),
                "cutout": min(side * 3 // 8, 31),
                "cutmix": 0.4,
                "varied": 0.5,
            },
            "optimizer": {
                "kind": "muon",
                "learning_rate": round(0.6 * gentler * size / 500, 4),
                "momentum": 0.85,
                "nesterov": True,
                "weight_decay": 0.009,
                "kernel_rate": round(0.08 * gentler * math.sqrt(size / 500), 4),
                "iterations": 3,
                "coefficients": (3.4445, -4.7750, 2.0315),
            },
            "schedule": {"kind": "piecewise_linear", "knots": ((0, 0.1), (4, 1), (HUNDREDTHS, 0))},
            "average": {"keep": 0.95, "batches": 8},
            "selection": {"monitor": "val_loss", "restore_best": True},
        }
    )


@dataclass(frozen=True)
class Task:
    """What is trained on: pictures in `store`, their `labels` (N,), the numbers of those to train on and of those that
    choose, and what each label's loss weighs, (labels,)."""

    store: Store
    labels: Labels
    training: Labels
    validation: Labels
    importance: NDArray[np.float32]


def fit(task: Task, asked: Recipe, start: Start | None, folder: Path, seconds: float, ending: float = 0) -> Progress:
    """Train for `seconds`, counting those of earlier calls with the same `folder`; returns the best weights so far.

    `ending` are the seconds of these that the caller needs afterwards on a machine as busy as it was at the first
    updates; as updates take longer or shorter, more or fewer are kept. Ctrl-C ends it sooner and loses nothing that was
    looked at. Leaves `checkpoint.npz` and `history.csv` in `folder`. Raises CheckpointError where another training is
    at work there, or nothing can be written.
    """
    with run.locked(folder):
        training = _Training(task, asked, start, folder)
        try:
            training.until(seconds, ending)
        except KeyboardInterrupt:
            print(f"\nstopped after {training.progress.seconds:.0f} s; the best so far is kept", flush=True)
        return training.progress


class Pace:
    """How long updates take, and so how busy the machine is."""

    FEW = 10

    def __init__(self) -> None:
        self._took: list[float] = []

    @contextmanager
    def update(self) -> Iterator[None]:
        began = time.monotonic()
        yield
        self._took.append(time.monotonic() - began)

    @property
    def slowdown(self) -> float:
        """How much longer the last updates took than the first, without the very first, which is compiled; 0.5 to 4."""
        took = self._took[1:]
        if len(took) < 2 * self.FEW:
            return 1.0
        ratio = statistics.mean(took[-self.FEW :]) / statistics.mean(took[: self.FEW])
        return min(max(ratio, 0.5), 4.0)

    @property
    def seconds(self) -> float:
        """The median of an update, without the very first."""
        return statistics.median(self._took[1:])


def seconds_a_picture(start: Start | None, labels: int) -> float:
    """What training takes for a picture of the smallest size, measured by a few updates with pictures of noise."""
    rng = np.random.default_rng(0)
    asked = recipe(UPDATES_AN_EPOCH * FULL_BATCH, network.SIZES[0], start, mirror=True, seed=0)
    model = accelerated(network.build_in(asked.precision, start, network.SIZES[0], labels))
    update = compiled_update(scores(model), build_optimizer(asked, model))
    images = rng.integers(0, 256, (asked.batch_size, *model.input_shape[1:])).astype(np.uint8)
    targets = np.full((asked.batch_size, labels), 1 / labels, np.float32)
    batch = [tf.constant(values) for values in (images, targets, targets, np.ones(asked.batch_size, np.float32))]
    pace = Pace()
    for _ in range(4):
        with pace.update():
            update(*batch)
    return pace.seconds / asked.batch_size


class _Training:
    def __init__(self, task: Task, asked: Recipe, start: Start | None, folder: Path) -> None:
        self.task, self.asked, self.folder = task, asked, folder
        keras.utils.set_random_seed(asked.seed)
        self.model = accelerated(network.build_in(asked.precision, start, task.store.side, len(task.importance)))
        if not start:
            epsilon = network.config_of(start).whitening_epsilon
            models.whiten(self.model.get_layer(WHITENING), task.store[task.training[:2000]], epsilon)
        self.optimizer = build_optimizer(asked, self.model)
        self.parents = {start.name: start.weights} if start else {}
        path = folder / "checkpoint.npz"
        self.progress = run.load(path, asked, self.parents, self.model, self.optimizer) or Progress()
        self.progress.precision = asked.precision
        self.scorer = scores(self.model)
        self.update = compiled_update(self.scorer, self.optimizer)
        self.sampler = sampler(task, asked, seed=self.progress.epoch)

    def until(self, seconds: float, ending: float) -> None:
        """Update and look in turn until the training has taken `seconds` in all, less the `ending`, as in `fit`."""
        before, started = self.progress.seconds, time.monotonic()
        pace, pause = Pace(), 0.0

        def spent() -> float:
            return before + time.monotonic() - started

        def limit() -> float:
            return seconds - min(ending * pace.slowdown, MOST_RESERVED * seconds)

        if before and limit() - before < FINISHED * seconds:
            return
        while spent() < limit():
            losses: list[float] = []
            right: list[float] = []
            next_look = spent() + max(seconds / LOOKS, 4 * pause)
            while not losses or spent() < min(limit() - pause, next_look):
                share = min(1.0, spent() / limit())
                self.optimizer.learning_rate.assign(
                    learning_rate(self.asked, int(self.optimizer.iterations), HUNDREDTHS * share)
                )
                with pace.update():
                    loss, found = self._step()
                losses.append(loss)
                right.append(found)
                _bar(spent(), limit(), float(np.mean(losses[-20:])))
            look = time.monotonic()
            self._look({"loss": float(np.mean(losses)), "accuracy": float(np.mean(right))}, spent)
            pause = time.monotonic() - look
            over = "\r" if sys.stdout.isatty() else ""
            print(f"{over}{self._told(limit() - spent())}", flush=True)

    def _step(self) -> tuple[float, float]:
        images, labels = self.sampler()
        smooth = self.asked.label_smoothing
        targets = labels * (1 - smooth) + smooth / labels.shape[1]
        weights = labels @ self.task.importance
        losses, _, right = self.update(*map(tf.constant, (images, targets, labels, weights)))
        return float(np.mean(losses)), float(np.mean(right))

    def _look(self, figures: dict[str, float], spent: Callable[[], float]) -> None:
        """Measure the average of the weights on the validation pictures, and keep it if it is the best."""
        progress, task = self.progress, self.task
        some = (self.sampler()[0] for _ in range(self.asked.average.batches if self.asked.average else 0))
        with averaged(self.model, self.optimizer, some) if self.asked.average else nullcontext():
            logits = logits_of(self.scorer, task.store.batches(task.validation, 128))
            weights = [variable.numpy() for variable in self.model.variables]
        labels = task.labels[task.validation]
        figures |= {
            "val_loss": cross_entropy(logits, labels),
            "val_accuracy": float(np.mean(logits.argmax(axis=1) == labels)),
        }
        progress.epoch += 1
        progress.seconds = spent()
        row = {"epoch": progress.epoch, **{name: round(value, 5) for name, value in figures.items()}}
        row |= {
            "learning_rate": float(self.optimizer.learning_rate.numpy()),
            "seconds": round(progress.seconds, 1),
            "updates": int(self.optimizer.iterations),
        }
        progress.history.append(row)
        progress.best_epoch = run.best_epoch(self.asked, progress.history)
        if progress.best_epoch == progress.epoch:
            progress.best_accuracy, progress.best_weights = figures["val_accuracy"], weights
        run.save(self.folder / "checkpoint.npz", self.asked, self.parents, self.model, self.optimizer, progress)
        run.write_history(progress.history, self.folder / "history.csv")

    def _told(self, left: float) -> str:
        row = self.progress.history[-1]
        epochs = row["updates"] * self.asked.batch_size / len(self.task.training)
        return (
            f"{self.progress.seconds:5.0f} s  {epochs:6.1f} epochs  loss {row['loss']:.3f}  "
            f"validation {row['val_accuracy']:.1%} (best {self.progress.best_accuracy:.1%})  {max(left, 0):.0f} s left"
        )


def logits_of(scorer: keras.Model, batches: Iterator[Images]) -> NDArray[np.float32]:
    """The scores (N, labels) of pictures in batches, by Keras."""
    return np.concatenate([np.asarray(scorer.predict_on_batch(batch), np.float32) for batch in batches])


def sampler(task: Task, asked: Recipe, seed: int) -> Sampler:
    """Returns a function that returns the next batch: pictures (B, side, side, 3) and how much of each label they show.

    Every picture is shown once before any is shown again; they are moved, mirrored, cut out and mixed as `asked` says.
    """
    rng = np.random.default_rng((asked.seed, seed))
    size, edge, side = asked.batch_size, asked.augment.translate, task.store.side
    waiting: list[int] = []

    def batch() -> tuple[Images, NDArray[np.float32]]:
        nonlocal waiting
        while len(waiting) < size:
            waiting = waiting + rng.permutation(task.training).tolist()
        chosen, waiting = np.array(waiting[:size]), waiting[size:]
        padded = np.pad(task.store[chosen], ((0, 0), (edge, edge), (edge, edge), (0, 0)), mode="reflect")
        images = augment.crop(padded, rng.integers(0, 2 * edge + 1, (2, size)), side)
        if asked.augment.flip == "random":
            flips = rng.random(size) < 0.5
            images[flips] = images[flips, :, ::-1]
        vary(images, asked.augment.varied, rng)
        labels = np.eye(len(task.importance), dtype=np.float32)[task.labels[chosen]]
        pasted = rng.random(size) < asked.augment.cutmix
        augment.paste(images, labels, pasted, rng)
        if asked.augment.cutout:
            images[~pasted] = augment.cut(images[~pasted], asked.augment.cutout, rng)
        return images, labels

    return batch


def _bar(spent: float, seconds: float, loss: float) -> None:
    """The time left, on a terminal's last line."""
    if sys.stdout.isatty():
        done = int(20 * min(1, spent / seconds))
        print(f"\r[{'#' * done:20}] {max(seconds - spent, 0):5.0f} s left  loss {loss:.3f} ", end="", flush=True)


def finished(progress: Progress, start: Start | None, side: int, labels: int) -> keras.Model:
    """The network with the best weights, in float32."""
    model = network.build(start, side, labels)
    for variable, value in zip(model.variables, progress.best_weights, strict=True):
        variable.assign(value)
    return model
