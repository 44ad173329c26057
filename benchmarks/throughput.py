"""How fast a recipe trains here: `python -m benchmarks.throughput fast [--set precision=float32]`.

Prints images per second with Keras' own layers and with `training.fast_layers`, the share of this machine's matrix
product rate that makes, and what the input pipeline adds. Three multiply-adds are counted for each of the network's:
one forward, two for the gradients; everything else an update does counts as lost time. Winograd's convolutions need
fewer than are counted, so their share can be above one. A teacher's answers are not counted.
"""

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from training import data, train
from training.augment import Epochs
from training.commands import FAILURES
from training.data import Pictures
from training.fast_layers.layers import accelerated
from training.lineage import find
from training.make import computed_in, split
from training.recipe import Recipe
from training.release.layer_table import layer_table
from training.release.provenance import machine
from training.trial import changed, trial

SIDE = 2048
Batches = Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]


def product_rate(precision: str) -> float:
    """Multiply-adds a second of a square matrix product in `precision` (a TensorFlow dtype), the best of five."""
    matrix = tf.cast(tf.random.normal((SIDE, SIDE)), precision)
    product = tf.function(lambda: tf.matmul(matrix, matrix))
    product()
    return SIDE**3 / min(_seconds(lambda: product().numpy()) for _ in range(5))


def picture_rate(recipe: Recipe, model: keras.Model, batches: Batches, updates: int) -> float:
    """Pictures a second that `updates` of `model` take from `batches`, by the median update."""
    update = train.updater(recipe, model)
    update(*next(batches))
    return recipe.batch_size / statistics.median(_seconds(lambda: update(*next(batches))) for _ in range(updates))


def _seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure(recipe: Recipe, training: Pictures, updates: int) -> str:
    """What the command prints of a recipe, in lines."""
    epochs = Epochs(training, recipe)
    model = train.build(recipe, recipe.precision)
    multiply_adds = sum(layer["multiply_adds"] for layer in layer_table(model))
    batches = itertools.chain.from_iterable(epochs.batches(n, epochs.order(n)[0]) for n in itertools.count())
    first = next(batches)
    repeated = iter(lambda: first, None)
    kerass = picture_rate(recipe, model, repeated, updates)
    ours = picture_rate(recipe, accelerated(model), repeated, updates)
    fed = statistics.median(_seconds(lambda: next(batches)) for _ in range(updates))
    peak = product_rate("bfloat16" if recipe.precision == "mixed_bfloat16" else "float32")
    rows = [
        ("matrix products", f"{peak / 1e9:,.0f} billion multiply-adds a second, {recipe.precision}"),
        ("Keras' layers", f"{kerass:,.0f} pictures a second, {3 * kerass * multiply_adds / peak:.0%} of that"),
        ("as trained", f"{ours:,.0f} pictures a second, {3 * ours * multiply_adds / peak:.0%}"),
        ("input pipeline", f"{fed * ours / recipe.batch_size:.1%} of an update's time"),
    ]
    return "\n".join(f"{name:16}{text}" for name, text in rows)


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.throughput", description=__doc__)
    parser.add_argument("recipe", nargs="?", default="fast")
    parser.add_argument("--data", type=Path, help="CIFAR-10 as a folder or a .tar.gz")
    parser.add_argument("--set", metavar="FIELD=VALUE", action="append", default=[], help="as of `convoscope train`")
    parser.add_argument("--updates", type=int, default=10)
    options = parser.parse_args()
    if options.updates < 1:
        parser.error(f"--updates is {options.updates}; expected at least 1")
    try:
        recipe = trial(find(options.recipe), options.set)
        by_hand = any(assignment.startswith("precision=") for assignment in options.set)
        recipe = changed(recipe, {"precision": computed_in(recipe, by_hand)})
        training, _ = split(recipe, data.find(options.data))
        print(f"{options.recipe} on {machine()}\n{measure(recipe, training, options.updates)}")
    except FAILURES as error:
        sys.exit(f"convoscope: {error}")


if __name__ == "__main__":
    main()
