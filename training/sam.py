"""Sharpness-aware minimisation (Foret et al. 2021): an update goes by the gradient at the worst point nearby."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import keras
import tensorflow as tf


@contextmanager
def climbed(network: keras.Model, gradients: Sequence[tf.Tensor], radius: float) -> Iterator[None]:
    """`network` with its trainable weights `radius` (Euclidean distance) away, where its loss is greatest to first
    order; `gradients` are that loss's.

    Afterwards all weights are what they were, batch normalisation's moving statistics included.
    """
    kept = [tf.identity(weight.value) for weight in network.weights]
    length = tf.maximum(tf.linalg.global_norm(gradients), 1e-12)
    for variable, gradient in zip(network.trainable_variables, gradients, strict=True):
        variable.assign_add(gradient * (radius / length))
    yield
    for weight, value in zip(network.weights, kept, strict=True):
        weight.assign(value)
