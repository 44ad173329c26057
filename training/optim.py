"""How weights are updated: Muon, the learning rate, sharpness-aware minimisation, and the average of the weights."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

from training.recipe import InverseTime, Recipe

Coefficients = tuple[float, float, float]


class Muon(keras.optimizers.SGD):  # type: ignore[misc]
    """Muon for convolution kernels, stochastic gradient descent for every other variable.

    A kernel (h, w, in, out) counts as a matrix (h * w * in, out) and is kept at the norm sqrt(out), as batch
    normalisation takes its size out again anyway; `kernel_share` times the learning rate is then the largest singular
    value, about, of a step. Weight decay would do nothing for such a kernel and is not applied to it.
    `iterations` and `coefficients` are as in `orthogonal`.
    """

    def __init__(
        self,
        learning_rate: float,
        momentum: float,
        kernel_share: float,
        iterations: int,
        coefficients: Coefficients,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, momentum, **options)
        self.kernel_share = kernel_share
        self.rounds, self.coefficients = iterations, coefficients  # Keras' own `iterations` counts the updates

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if len(variable.shape) != 4:
            super().update_step(gradient, variable, learning_rate)
            return
        velocity = self.momentums[self._get_variable_index(variable)]
        self.assign(velocity, self.momentum * velocity + gradient)
        step = gradient + self.momentum * velocity if self.nesterov else velocity
        filters = variable.shape[-1]
        direction = self._direction(step)
        kernel = variable * (filters**0.5 / ops.norm(ops.reshape(variable, (-1,))))
        self.assign(variable, kernel - self.kernel_share * learning_rate * direction)

    def _direction(self, step: Any) -> Any:
        matrix = ops.reshape(step, (-1, step.shape[-1]))
        return ops.reshape(orthogonal(matrix, self.rounds, self.coefficients), step.shape)

    def get_config(self) -> dict[str, Any]:
        own = {"kernel_share": self.kernel_share, "iterations": self.rounds, "coefficients": self.coefficients}
        return {**super().get_config(), **own}


def orthogonal(matrix: Any, iterations: int, coefficients: Coefficients) -> Any:
    """`matrix` (rows, columns), float32, with singular values pulled to about 1 by Newton and Schulz' iteration.

    Most come to lie between 0.5 and 1.3; those far below the largest are only on their way. An iteration maps X to
    (a + b XX' + c (XX')^2) X. All its factors on the left are polynomials in the first XX', so they are multiplied
    among themselves, which are small, and with the long X once.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix / (ops.norm(matrix) + 1e-7)
    square = ops.matmul(ops.transpose(x), x) if tall else ops.matmul(x, ops.transpose(x))
    a, b, c = coefficients
    identity = ops.eye(square.shape[0])
    product = identity
    for _ in range(iterations):
        factor = a * identity + b * square + c * ops.matmul(square, square)
        square = ops.matmul(factor, ops.matmul(square, factor))
        product = ops.matmul(factor, product)
    return ops.matmul(x, product) if tall else ops.matmul(product, x)


def learning_rate(recipe: Recipe, update: int, epoch: float) -> float:
    """The learning rate of update number `update` (from 0), whose middle is `epoch` epochs after the run's start.

    `inverse_time` is Keras' classic decay, rate / (1 + decay * update). `piecewise_linear` joins the recipe's knots
    with straight lines: a rise, then a fall to zero, is what the CIFAR-10 speed records use (Page 2018, Jordan 2024).
    """
    peak, schedule = recipe.optimizer.learning_rate, recipe.schedule
    if isinstance(schedule, InverseTime):
        return peak / (1 + schedule.decay * update)
    epochs, shares = zip(*schedule.knots, strict=True)
    return peak * float(np.interp(epoch, epochs, shares))


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
