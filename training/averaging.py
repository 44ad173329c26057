"""The exponential moving average of the weights over the updates (Polyak and Juditsky 1992), as a network of its own.

Keras' optimizers keep the average; that of batch normalisation's statistics is not what they are with average weights.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray


@contextmanager
def averaged(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, batches: Iterable[NDArray[np.uint8]]
) -> Iterator[None]:
    """`model` with the averages that `optimizer` keeps and the statistics of `batches`, each (B, 32, 32, 3).

    Afterwards it has its own weights and statistics again.
    """
    kept = [weight.numpy() for weight in model.weights]
    optimizer.finalize_variable_values(model.trainable_variables)
    _take_statistics(model, batches)
    yield
    for weight, value in zip(model.weights, kept, strict=True):
        weight.assign(value)


def _take_statistics(model: keras.Model, batches: Iterable[NDArray[np.uint8]]) -> None:
    """Set the moving statistics to the mean over `batches` (Izmailov et al. 2018, section 3.2)."""
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    for number, images in enumerate(batches if layers else ()):
        for layer in layers:
            layer.momentum = number / (number + 1)
        model(tf.constant(images), training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
