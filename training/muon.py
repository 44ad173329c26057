"""Muon (Jordan et al. 2024): momentum whose steps for a matrix are made orthogonal, so that no direction dominates.

Keras' own `Muon` does this for matrices only and gives everything else, convolutions included, to AdamW.
"""

from typing import Any

import keras
from keras import ops

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
