"""What the units of a network look for: the test pictures that excite each most, and one made by gradient ascent.

A unit is a channel of a layer whose output is maps, or one of a list of features. How much a picture excites it is the
greatest value anywhere on its map, or its value.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image

from training.data import LABELS, Pictures
from training.release import artifact
from training.release.artifact import UNITS
from training.release.layer_table import layer_table

INDEX = "units.json"
"""The file that says what the pictures are, in the same folder."""

COUNT = 12
"""Units of a layer."""

EXAMPLES = 6
"""Test pictures for each."""

LAYERS = 4
"""Layers that are looked at where none are named: of all with weights, evenly spaced, the last among them."""

STEPS = 200
RATE = 0.05
"""Of gradient ascent, on pixels from 0 to 1, by gradients that are first divided by their standard deviation."""

JITTER, SMOOTHING = 2, 0.25
"""Pixels by which the picture is moved at random before each step, and the share of its smoothed self after it.

Without them it becomes noise to which only this network answers (Olah, Mordvintsev and Schubert 2017). A unit that sees
fewer than SMALL pixels along a side needs neither.
"""

SMALL = 8

BATCH = 500


class UnknownLayer(Exception):
    """A network has no layer of that name; the message lists those that it has."""


class Excited(NamedTuple):
    """What excites the `units` of a layer: how much (units, pictures), and where on its map (units, pictures, 2).

    `pictures` (units, 1 + EXAMPLES, height, width, 3) are first the one that was made, then test pictures, the most
    exciting first; `labels` (units, EXAMPLES) say what these show. `places` is None for a list of features.
    """

    units: list[int]
    pictures: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    values: NDArray[np.float32]
    places: NDArray[np.int64] | None


def chosen(model: keras.Model) -> list[str]:
    """The layers to look at."""
    names = [layer.name for layer in model.layers if layer.weights and hasattr(layer, "kernel")]
    if "logits" not in names:  # where they are a multiple of the last layer
        names = [*names[:-1], "logits"]
    positions = np.linspace(0, len(names) - 1, min(LAYERS, len(names)))
    return [names[round(position)] for position in positions]


def look(model: keras.Model, layers: Sequence[str], test: Pictures) -> dict[str, Excited]:
    """What excites units of each layer most among the `test` pictures, and a picture that excites them more.

    Raises UnknownLayer.
    """
    names = [layer.name for layer in model.layers[1:]]
    if unknown := [name for name in layers if name not in names]:
        raise UnknownLayer(f"no layer is called {unknown[0]!r:.80}; expected {', '.join(names)}")
    outputs = keras.Model(model.input, [model.get_layer(name).output for name in layers])
    found = [measured(outputs, test.images[i : i + BATCH]) for i in range(0, len(test.labels), BATCH)]
    values = [np.concatenate([batch[which][0] for batch in found]) for which in range(len(layers))]
    places = [np.concatenate([batch[which][1] for batch in found]) for which in range(len(layers))]
    smooth = differentiable(model)
    return {
        name: _excited(model, smooth, name, values[which], places[which], test) for which, name in enumerate(layers)
    }


def _excited(
    model: keras.Model,
    smooth: keras.Model,
    name: str,
    values: NDArray[np.float32],
    places: NDArray[np.int64],
    test: Pictures,
) -> Excited:
    """`values` (N, units) and `places` (N, units, 2) of all test pictures."""
    units = spread(values)
    made = ascend(smooth, name, units)
    ((made_values, made_places),) = measured(keras.Model(model.input, [model.get_layer(name).output]), made)
    order = np.argsort(-values[:, units], axis=0, kind="stable")[:EXAMPLES].T
    rows, columns = np.arange(len(units)), np.array(units)[:, None]
    where = np.concatenate([made_places[rows, units][:, None], places[order, columns]], axis=1)
    return Excited(
        units,
        np.concatenate([made[:, None], test.images[order]], axis=1),
        test.labels[order],
        np.concatenate([made_values[rows, units][:, None], values[order, columns]], axis=1),
        where if len(model.get_layer(name).output.shape) == 4 else None,
    )


def measured(outputs: keras.Model, images: NDArray[np.uint8]) -> list[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """For each output the greatest value of each unit on each picture (N, units), and where it is (N, units, 2)."""
    found = outputs(images, training=False)
    return [_greatest(keras.ops.convert_to_numpy(one)) for one in (found if isinstance(found, list) else [found])]


def _greatest(output: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    if output.ndim == 2:
        return output, np.zeros((*output.shape, 2), np.int64)
    count, _, columns, units = output.shape
    flat = output.reshape(count, -1, units)
    index = flat.argmax(axis=1)
    return flat.max(axis=1), np.stack([index // columns, index % columns], axis=-1)


def spread(values: NDArray[np.float32]) -> list[int]:
    """At most COUNT units, evenly spaced among those that answer differently to different pictures."""
    alive = np.flatnonzero(values.std(axis=0) > 0)
    return [int(alive[int(i)]) for i in np.linspace(0, len(alive) - 1, min(COUNT, len(alive))).round()]


def differentiable(model: keras.Model) -> keras.Model:
    """The same network for pictures of real numbers, from 0 to 255, by which it can be differentiated."""
    shape = model.input_shape[1:]
    smooth = keras.models.clone_model(model, input_tensors=keras.Input(shape, dtype="float32", name="image"))
    smooth.set_weights(model.get_weights())
    return smooth


def ascend(network: keras.Model, name: str, units: Sequence[int]) -> NDArray[np.uint8]:
    """Pictures (units, height, width, 3) that excite each of the `units` of a layer, in the middle of its map.

    Gradient ascent (Erhan et al. 2009) from grey, with a little noise where the unit sees much. What is climbed is the
    unit before its activation function, which would have no slope where ReLU makes it 0.
    """
    layer = network.get_layer(name)
    (field,) = [row["receptive_field"]["size"][0] for row in layer_table(network) if row["name"] == name]
    jitter, smoothing = (JITTER, SMOOTHING) if field >= SMALL else (0, 0.0)
    random = np.random.default_rng(0)
    shape = (len(units), *network.input_shape[1:])
    pixels = tf.Variable(random.normal(0.5, 0.02 if jitter else 0, shape).astype(np.float32))
    masks = tf.one_hot(list(units), layer.output.shape[-1])
    part = keras.Model(network.input, layer.output)

    @tf.function  # type: ignore[untyped-decorator]
    def step(shift: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            output = part(tf.roll(pixels, shift, (1, 2)) * 255, training=False)
            middle = output if len(output.shape) == 2 else output[:, output.shape[1] // 2, output.shape[2] // 2]
            value = tf.reduce_sum(middle * masks)
        gradient = tape.gradient(value, pixels)
        deviation = tf.math.reduce_std(gradient, axis=(1, 2, 3), keepdims=True)
        moved = pixels + RATE * gradient / (deviation + 1e-12)
        smoothed = tf.nn.avg_pool2d(tf.pad(moved, ((0, 0), (1, 1), (1, 1), (0, 0)), "SYMMETRIC"), 3, 1, "VALID")
        pixels.assign(tf.clip_by_value((1 - smoothing) * moved + smoothing * smoothed, 0, 1))

    activation = getattr(layer, "activation", None)
    if activation:
        layer.activation = keras.activations.linear
    try:
        for _ in range(STEPS):
            step(tf.constant(random.integers(-jitter, jitter + 1, 2), tf.int32))
    finally:
        if activation:
            layer.activation = activation
    return np.asarray(np.rint(255 * pixels.numpy()), np.uint8)


def record(folder: Path, layers: Sequence[str], test: Pictures) -> None:
    """Put into the artifact in `folder` what units of `layers` look for; of `chosen` ones where that is empty.

    Raises ArtifactError where the artifact is damaged, UnknownLayer where it has no such layer, and OSError.
    """
    with artifact.replacing(folder) as temporary:
        metadata = artifact.read(folder)
        shutil.copytree(folder, temporary, dirs_exist_ok=True)
        shutil.rmtree(temporary / UNITS, ignore_errors=True)
        model = keras.models.load_model(temporary / artifact.CHECKPOINT)
        metadata["units"] = write(look(model, layers or chosen(model), test), temporary)
        artifact.seal(temporary, metadata)


def write(found: Mapping[str, Excited], folder: Path) -> str:
    """Write into `folder` a row of pictures for each unit, a file for each layer, and INDEX, whose path it gives.

    docs/reference/artifact.md describes them.
    """
    (folder / UNITS).mkdir(exist_ok=True)
    layers = [_written(name, excited, folder) for name, excited in found.items()]
    (folder / UNITS / INDEX).write_text(json.dumps({"layers": layers}, separators=(",", ":")) + "\n")
    return f"{UNITS}/{INDEX}"


def _written(name: str, excited: Excited, folder: Path) -> dict[str, Any]:
    file = f"{UNITS}/{name}.png"
    rows, columns, height, width, channels = excited.pictures.shape
    sheet = excited.pictures.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels)
    Image.fromarray(sheet).save(folder / file, optimize=True)

    def about(row: int, column: int) -> dict[str, Any]:
        place = {} if excited.places is None else {"place": excited.places[row, column].tolist()}
        return {"value": float(f"{excited.values[row, column]:.4g}"), **place}

    return {
        "layer": name,
        "file": file,
        "units": [
            {
                "unit": unit,
                "made": about(row, 0),
                "examples": [
                    {"label": LABELS[label]} | about(row, column + 1)
                    for column, label in enumerate(excited.labels[row])
                ],
            }
            for row, unit in enumerate(excited.units)
        ],
    }
