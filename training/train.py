"""One training run: recipe and pictures in, a run folder with the weights and the history out.

A run killed at any point goes on from its last whole epoch and, on one thread, ends with the same weights as one left
alone: everything random follows from (seed, epoch) or is part of the checkpoint.
"""

import csv
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from training import checkpoint
from training.architectures import ARCHITECTURES, WHITENING, whiten
from training.augmentation import Epochs
from training.checkpoint import Progress
from training.config import TrainConfig
from training.data import Pictures
from training.schedule import learning_rate

Step = Callable[[NDArray[np.uint8], NDArray[np.int32]], tuple[tf.Tensor, tf.Tensor]]


class TrainingError(Exception):
    """The run cannot go on; the message says why. The last good checkpoint is kept."""


def train(config: TrainConfig, training: Pictures, validation: Pictures, run: Path) -> tuple[keras.Model, Progress]:
    """Train to the end of the recipe, going on from `run` where it holds a checkpoint of the same recipe.

    Returns the network, in float32, with the weights of its best validation epoch. Leaves `checkpoint.npz` and
    `history.csv` in `run`. Raises TrainingError where the loss is no longer finite or the pictures fill no batch,
    CheckpointError where a checkpoint belongs to another recipe, is damaged or cannot be written.
    """
    epochs = Epochs(training, config)
    if not epochs.steps:
        found = f"{len(training.labels)} training pictures"
        raise TrainingError(f"batch_size is {config.batch_size}; expected at most the {found}")
    model = build(config, config.precision)
    if config.whiten:
        whiten(model.get_layer(WHITENING), training.images)
    optimizer = _optimizer(config, model)
    progress = checkpoint.load(run / "checkpoint.npz", config, model, optimizer) or Progress()
    network = scores(model)
    update = _update(config, network, optimizer)
    while progress.epoch < config.epochs:
        started = time.monotonic()
        loss, accuracy = _run_epoch(config, epochs, progress.epoch, update, optimizer)
        val_loss, val_accuracy = measure(network, validation)
        progress.epoch += 1
        progress.seconds += time.monotonic() - started
        if val_accuracy > progress.best_accuracy or not progress.best_weights:
            progress.best_accuracy, progress.best_epoch = val_accuracy, progress.epoch
            progress.best_weights = [variable.numpy() for variable in model.variables]
        progress.history.append(
            {
                "epoch": progress.epoch,
                "loss": round(loss, 5),
                "accuracy": round(accuracy, 5),
                "val_loss": round(val_loss, 5),
                "val_accuracy": round(val_accuracy, 5),
                "learning_rate": float(optimizer.learning_rate.numpy()),
                "seconds": round(progress.seconds, 1),
            }
        )
        checkpoint.save(run / "checkpoint.npz", config, model, optimizer, progress)
        write_history(progress.history, run / "history.csv")
        _report(config, progress)
    return finished(config, progress), progress


def build(config: TrainConfig, precision: str = "float32") -> keras.Model:
    """The recipe's network with freshly drawn weights, computing in `precision` (a Keras dtype policy's name)."""
    keras.utils.set_random_seed(config.seed)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        return ARCHITECTURES[config.architecture]()
    finally:
        keras.config.set_dtype_policy(before)


def finished(config: TrainConfig, progress: Progress) -> keras.Model:
    """The network with the best epoch's weights, in float32 whatever it was trained in."""
    model = build(config)
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


def write_history(history: list[dict[str, float]], path: Path) -> None:
    """One line an epoch, columns as in `train`."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, history[0].keys())
        writer.writeheader()
        writer.writerows(history)


def _optimizer(config: TrainConfig, model: keras.Model) -> keras.optimizers.Optimizer:
    optimizer = keras.optimizers.SGD(
        config.learning_rate, config.momentum, config.nesterov, weight_decay=config.weight_decay or None
    )
    if config.weight_decay:
        optimizer.exclude_from_weight_decay([v for v in model.trainable_variables if v.name != "kernel"])
    optimizer.build(model.trainable_variables)
    return optimizer


def _update(config: TrainConfig, network: keras.Model, optimizer: keras.optimizers.Optimizer) -> Step:
    """One update of the weights as a TensorFlow graph; gives the batch's loss and number of right answers."""

    @tf.function  # type: ignore[untyped-decorator]
    def update(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        targets = tf.one_hot(labels, 10) * (1 - config.label_smoothing) + config.label_smoothing / 10
        with tf.GradientTape() as tape:
            logits = network(images, training=True)
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, logits))
        optimizer.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)
        right = tf.reduce_sum(tf.cast(tf.argmax(logits, axis=1, output_type=tf.int32) == labels, tf.int32))
        return loss, right

    return update  # type: ignore[no-any-return]


def _run_epoch(
    config: TrainConfig, epochs: Epochs, epoch: int, update: Step, optimizer: keras.optimizers.Optimizer
) -> tuple[float, float]:
    """All updates of one epoch; its mean loss and its accuracy on the augmented pictures."""
    bar = keras.utils.Progbar(epochs.steps, stateful_metrics=["accuracy"], verbose=int(sys.stdout.isatty()))
    losses, seen, right = [], 0, 0
    for step, (images, labels) in enumerate(epochs.batches(epoch)):
        rate = learning_rate(config, epoch * epochs.steps + step, config.epochs * epochs.steps)
        optimizer.learning_rate.assign(rate)
        loss, right_here = update(tf.constant(images), tf.constant(labels))
        losses.append(float(loss))
        seen, right = seen + len(labels), right + int(right_here)
        if not math.isfinite(losses[-1]):
            raise TrainingError(f"the loss became {losses[-1]} in epoch {epoch + 1}, step {step + 1}; lower the rate")
        bar.update(step + 1, [("loss", losses[-1]), ("accuracy", right / seen)])
    return float(np.mean(losses)), right / seen


def _report(config: TrainConfig, progress: Progress) -> None:
    row = progress.history[-1]
    left = (config.epochs - progress.epoch) * progress.seconds / progress.epoch
    print(
        f"epoch {progress.epoch}/{config.epochs}  loss {row['loss']:.4f}  accuracy {row['accuracy']:.4f}  "
        f"val_accuracy {row['val_accuracy']:.4f}  best {progress.best_accuracy:.4f}  "
        f"{progress.seconds / progress.epoch:.1f} s an epoch, {left / 60:.0f} min left",
        flush=True,
    )
