"""One training run: recipe and pictures in, a run folder with the weights and the history out.

A run killed at any point goes on from its last whole epoch and, on one thread, ends with the same weights as one left
alone: everything random follows from (seed, epoch) or is part of the checkpoint.
"""

import math
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from training import models, optim, run
from training.augment import Epochs
from training.data import Pictures
from training.fast_layers.layers import accelerated
from training.models import WHITENING, network, soften, whiten
from training.optim import Muon, averaged, learning_rate
from training.recipe import Muon as MuonOptions
from training.recipe import Precision, Recipe, RecipeError, Sharpness
from training.run import CheckpointError, Parents, Progress

Step = Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]

Teacher = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Probabilities (N, 10) for pictures (N, 32, 32, 3)."""

Watch = Callable[[int, keras.Model], None]
"""Given how many epochs are done, and the network up to its logits with the weights that it has then."""


class TrainingError(Exception):
    """The run cannot go on; the message says why. The last good checkpoint is kept."""


def train(
    recipe: Recipe,
    training: Pictures,
    validation: Pictures,
    folder: Path,
    *,
    precision: Precision | None = None,
    start: Path | None = None,
    teacher: Teacher | None = None,
    parents: Parents = MappingProxyType({}),
    watch: Watch | None = None,
) -> tuple[keras.Model, Progress]:
    """Train to the end of the recipe, going on from `folder` where it holds a checkpoint of the same recipe.

    `precision` is what it computes in, by default the recipe's. A new run starts with the weights of the artifact in
    `start`, if given, and learns the answers of `teacher`; `parents` are the digests of these networks' weights. A
    network wider than that in `start` answers at first as that one does. `watch` is called before the first epoch, and
    after each before its checkpoint is written, so that a run that goes on leaves out none.
    Returns the network, in float32, with the weights of the epoch that the recipe chooses. Leaves `run.npz` and
    `run.csv` in `folder`. Raises RecipeError where the network has more parameters than the recipe allows, cannot
    hold the weights in `start`, or the pictures do not fill a batch; TrainingError where the loss is no longer finite;
    CheckpointError where a checkpoint belongs to another recipe, is damaged or cannot be written, or another training
    is at work in `folder`.
    """
    with run.locked(folder):
        epochs = Epochs(training, recipe)
        model = accelerated(build(recipe, precision or recipe.precision))
        if recipe.architecture == "residual":
            whiten(model.get_layer(WHITENING), training.images, recipe.network.whitening_epsilon)
        if start:
            models.start_from(start, model)
        if recipe.architecture == "residual" and recipe.network.soften:
            soften(model, recipe.network.soften)
        optimizer = build_optimizer(recipe, model)
        progress = run.load(folder / "checkpoint.npz", recipe, parents, model, optimizer) or Progress()
        progress.precision = precision or recipe.precision
        if not len(progress.losses):
            progress.losses = np.full(len(training.labels), np.nan, np.float32)
        if progress.history:  # a run may be killed after its checkpoint is written and before this is
            run.write_history(progress.history, folder / "history.csv")
        scorer = scores(model)
        update = compiled_update(scorer, optimizer, recipe.sharpness)
        if progress.epoch:
            print(f"{folder}: goes on after epoch {progress.epoch} of {recipe.epochs}", flush=True)
        elif watch:
            watch(0, scorer)
        while not run.is_over(recipe, progress.history):
            started = time.monotonic()
            loss, accuracy, speed = _run_epoch(recipe, epochs, progress, update, optimizer, teacher)
            with _result(recipe, epochs, progress.epoch, model, optimizer):
                val_loss, val_accuracy = measure(scorer, validation)
                weights = [variable.numpy() for variable in model.variables]
                if watch:
                    watch(progress.epoch + 1, scorer)
            progress.epoch += 1
            progress.seconds += time.monotonic() - started
            _check_finite(val_loss, f"after epoch {progress.epoch}, on the validation pictures")
            figures = {"loss": loss, "accuracy": accuracy, "val_loss": val_loss, "val_accuracy": val_accuracy}
            progress.history.append(_row(progress, figures, speed, optimizer))
            progress.best_epoch = run.best_epoch(recipe, progress.history)
            if progress.best_epoch == progress.epoch:
                progress.best_accuracy, progress.best_weights = val_accuracy, weights
            run.save(folder / "checkpoint.npz", recipe, parents, model, optimizer, progress)
            run.write_history(progress.history, folder / "history.csv")
            print(run.progress_line(recipe, progress), flush=True)
        return finished(recipe, progress), progress


def _row(
    progress: Progress, figures: Mapping[str, float], speed: float, optimizer: keras.optimizers.Optimizer
) -> dict[str, float]:
    """What history.csv says of the epoch just done: losses in nats, accuracies in [0, 1], `speed` in images/s."""
    return {
        "epoch": progress.epoch,
        **{name: round(value, 5) for name, value in figures.items()},
        "learning_rate": float(optimizer.learning_rate.numpy()),
        "seconds": round(progress.seconds, 1),
        "pictures_per_second": round(speed, 1),
        "updates": int(optimizer.iterations),
    }


def _result(
    recipe: Recipe, epochs: Epochs, epoch: int, model: keras.Model, optimizer: keras.optimizers.Optimizer
) -> AbstractContextManager[None]:
    """`model` as it would be the result: with the average of its weights, where the recipe has one."""
    if not recipe.average:
        return nullcontext()
    order = epochs.order(epoch)[0][: recipe.average.batches]
    batches = enumerate(epochs.batches(epoch, order))
    return averaged(model, optimizer, (epochs.disturbed(images, epoch, step) for step, (images, _) in batches))


def build(recipe: Recipe, precision: str = "float32") -> keras.Model:
    """The recipe's network with freshly drawn weights, computing in `precision` (a Keras dtype policy's name).

    Raises RecipeError where it has more parameters than the recipe allows.
    """
    keras.utils.set_random_seed(recipe.seed)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        model = network(recipe)
    finally:
        keras.config.set_dtype_policy(before)
    if 0 < recipe.max_parameters < model.count_params():
        raise RecipeError(f"max_parameters is {recipe.max_parameters:,}; the network has {model.count_params():,}")
    return model


def finished(recipe: Recipe, progress: Progress) -> keras.Model:
    """The network with the chosen epoch's weights, in float32 whatever it was trained in.

    Raises CheckpointError where those are another network's.
    """
    model = build(recipe)
    if [value.shape for value in progress.best_weights] != [tuple(variable.shape) for variable in model.variables]:
        raise CheckpointError(
            f"the checkpoint of {recipe.name!r} does not fit the network of this version; train again from the start"
        )
    for variable, value in zip(model.variables, progress.best_weights, strict=True):
        variable.assign(value)
    return model


def scores(model: keras.Model) -> keras.Model:
    """The part of `model` up to its logits, sharing its weights."""
    return keras.Model(model.input, model.get_layer("logits").output)


def measure(network: keras.Model, pictures: Pictures) -> tuple[float, float]:
    """Mean cross-entropy in nats and accuracy in [0, 1] of a network that ends in logits."""
    logits = network.predict(pictures.images, batch_size=500, verbose=0)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(pictures.labels.astype(np.int32), logits)
    return float(np.mean(losses)), float(np.mean(logits.argmax(axis=1) == pictures.labels))


def updater(recipe: Recipe, model: keras.Model) -> Callable[[NDArray[np.uint8], NDArray[np.float32]], float]:
    """One update of `model` by a batch of pictures and labels; gives the loss, so it is over when it returns."""
    step = compiled_update(scores(model), build_optimizer(recipe, model), recipe.sharpness)
    weights = tf.ones(recipe.batch_size)

    def update(images: NDArray[np.uint8], labels: NDArray[np.float32]) -> float:
        targets = _targets(recipe, images, labels, None)
        return float(np.mean(step(tf.constant(images), tf.constant(targets), tf.constant(labels), weights)[0]))

    return update


def build_optimizer(recipe: Recipe, model: keras.Model) -> keras.optimizers.Optimizer:
    asked = recipe.optimizer
    options: dict[str, Any] = {"nesterov": asked.nesterov, "weight_decay": asked.weight_decay or None}
    if recipe.average:
        options |= {"use_ema": True, "ema_momentum": recipe.average.keep}
    if isinstance(asked, MuonOptions):
        share = asked.kernel_rate / asked.learning_rate
        options |= {"kernel_share": share, "iterations": asked.iterations, "coefficients": asked.coefficients}
        optimizer = Muon(asked.learning_rate, asked.momentum, **options)
    else:
        optimizer = keras.optimizers.SGD(asked.learning_rate, asked.momentum, **options)
    if asked.weight_decay:
        optimizer.exclude_from_weight_decay([v for v in model.trainable_variables if not _decays(recipe, v)])
    optimizer.build(model.trainable_variables)
    return optimizer


def _decays(recipe: Recipe, variable: keras.Variable) -> bool:
    """Kernels do, but for those that Muon keeps at one norm."""
    return variable.name == "kernel" and not (recipe.optimizer.kind == "muon" and len(variable.shape) == 4)


def _targets(
    recipe: Recipe, images: NDArray[np.uint8], labels: NDArray[np.float32], teacher: Teacher | None
) -> NDArray[np.float32]:
    """What the network is to answer (B, 10) to pictures that show `labels` (B, 10)."""
    targets = labels * (1 - recipe.label_smoothing) + recipe.label_smoothing / 10
    if not (teacher and recipe.distillation):
        return targets
    share = recipe.distillation.share
    return targets * (1 - share) + teacher(images) * share


def compiled_update(
    network: keras.Model, optimizer: keras.optimizers.Optimizer, sharpness: Sharpness | None = None
) -> Step:
    """One update of the weights as a TensorFlow graph, by pictures, targets, labels and what each one's loss weighs.

    Targets are what to answer, labels how much of each is shown, both (B, 10). With `sharpness` the gradient is that at
    the worst point nearby. Gives each picture's loss there, unweighted, how far that is above the least there can
    be, the entropy of the target, and whether the label shown most was found.
    """

    def differentiated(
        images: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            logits = network(images, training=True)
            losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
            loss = tf.reduce_mean(weights * losses)
        return logits, losses, tape.gradient(loss, network.trainable_variables)

    @tf.function  # type: ignore[untyped-decorator]
    def update(
        images: tf.Tensor, targets: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        if sharpness:
            some = (values[:: sharpness.every] for values in (images, targets, weights))
            *_, uphill = differentiated(*some)
            with optim.climbed(network, uphill, sharpness.radius):
                logits, losses, gradients = differentiated(images, targets, weights)
        else:
            logits, losses, gradients = differentiated(images, targets, weights)
        optimizer.apply(gradients, network.trainable_variables)
        entropies = -tf.reduce_sum(tf.math.xlogy(targets, targets), axis=1)
        return losses, losses - entropies, tf.argmax(logits, axis=1) == tf.argmax(labels, axis=1)

    return update  # type: ignore[no-any-return]


def _run_epoch(
    recipe: Recipe,
    epochs: Epochs,
    progress: Progress,
    update: Step,
    optimizer: keras.optimizers.Optimizer,
    teacher: Teacher | None,
) -> tuple[float, float, float]:
    """All updates of one epoch; its mean loss, its accuracy on the augmented pictures and the pictures a second.

    Both means are weighted as the updates are. `progress.losses` has each picture's new one afterwards, less what no
    network could avoid.
    """
    epoch = progress.epoch
    order, weights = epochs.order(epoch, progress.losses)
    bar = keras.utils.Progbar(len(order), stateful_metrics=["loss", "accuracy", "pictures/s"], verbose=_verbosity())
    sums, speed, started = np.zeros(3), 0.0, time.monotonic()
    for step, (images, labels) in enumerate(epochs.batches(epoch, order)):
        rate = learning_rate(recipe, int(optimizer.iterations), epoch + (step + 0.5) / len(order))
        optimizer.learning_rate.assign(rate)
        shown = epochs.disturbed(images, epoch, step)
        batch = (shown, _targets(recipe, images, labels, teacher), labels, weights[step])
        losses, excess, right = update(*map(tf.constant, batch))
        progress.losses[order[step]] = excess
        sums += weights[step] @ np.stack([losses, right, np.ones_like(losses)], axis=1)
        loss, accuracy = sums[:2] / sums[2]
        speed = (step + 1) * recipe.batch_size / (time.monotonic() - started)
        _check_finite(loss, f"in epoch {epoch + 1}, step {step + 1}")
        bar.update(step + 1, [("loss", loss), ("accuracy", accuracy), ("pictures/s", speed)])
    return float(loss), float(accuracy), speed


def _verbosity() -> int:
    """Keras' word for a progress bar, with the time left in the epoch, or none: in a file it would be a flood."""
    return int(sys.stdout.isatty())


def _check_finite(loss: float, where: str) -> None:
    if not math.isfinite(loss):
        raise TrainingError(
            f"the loss became {loss} {where}; lower learning_rate. The checkpoint before it is kept, and going on from "
            "it ends the same way"
        )
