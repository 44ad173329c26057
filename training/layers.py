"""The two layers of the tutorial's knobs that Keras does not have. Both are random in training only.

Their random state is a variable of the model, as dropout's is, so that a checkpoint holds it.
"""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("convoscope")
class StochasticPooling2D(keras.layers.Layer):  # type: ignore[misc]
    """Pooling that draws one value of each window with a chance proportional to it (Zeiler and Fergus 2013).

    Takes (N, H, W, C) of values that are 0 or more and gives (N, H // rows, W // columns, C); `pool_size` is (rows,
    columns), windows do not overlap, and what is left at the right and the bottom is dropped. Once training is over
    it gives each window's mean, every value weighted by its chance: the sum of squares over the sum, equation 6
    there. A window of zeros gives 0 in both.
    """

    def __init__(self, pool_size: tuple[int, int], seed: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.pool_size = self.strides = tuple(pool_size)
        self.padding = "valid"
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Any, training: bool = False) -> Any:
        # In float32 whatever the precision: bfloat16 cannot add up a window of small values beside a large one.
        windows = ops.cast(self._windows(inputs), "float32")
        pooled = self._drawn(windows) if training else _weighted_mean(windows)
        return ops.cast(pooled, self.compute_dtype)

    def _windows(self, inputs: Any) -> Any:
        """(N, H // rows, W // columns, C, rows * columns)"""
        (rows, columns), (_, height, width, channels) = self.pool_size, inputs.shape
        down, across = height // rows, width // columns
        whole = inputs[:, : down * rows, : across * columns]
        split = ops.reshape(whole, (-1, down, rows, across, columns, channels))
        return ops.reshape(ops.transpose(split, (0, 1, 3, 5, 2, 4)), (-1, down, across, channels, rows * columns))

    def _drawn(self, windows: Any) -> Any:
        """The first value at which the running sum passes a threshold drawn evenly between 0 and the whole sum."""
        sums = ops.cumsum(windows, axis=-1)
        threshold = keras.random.uniform(ops.shape(sums[..., -1:]), seed=self.seed_generator) * sums[..., -1:]
        chosen = ops.one_hot(ops.argmax(sums > threshold, axis=-1), windows.shape[-1], dtype="float32")
        return ops.sum(windows * ops.stop_gradient(chosen), axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        count, height, width, channels = input_shape
        assert height
        assert width
        return count, height // self.pool_size[0], width // self.pool_size[1], channels

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pool_size": self.pool_size, "seed": self.seed}


def _weighted_mean(windows: Any) -> Any:
    return ops.sum(windows * windows, axis=-1) / ops.maximum(ops.sum(windows, axis=-1), SMALLEST)


SMALLEST = 1e-20
"""What a window's sum is taken for when it is smaller: a window of zeros then gives 0 / SMALLEST, not 0 / 0."""


@keras.saving.register_keras_serializable("convoscope")
class DropConnect(keras.layers.Dense):  # type: ignore[misc]
    """A dense layer in which each update sets a random share `rate` in [0, 1) of the weights to 0 (Wan et al. 2013).

    The others grow by 1 / (1 - rate), so that the expected sum is the same and the layer is an ordinary dense one once
    training is over. Simpler than the paper in three ways: one mask serves the whole batch (a mask for each picture
    would be a matrix for each), biases are kept, and the mean of the weights stands for its Gaussian approximation of
    what the activations would average to.
    """

    def __init__(self, units: int, rate: float, seed: int | None = None, **options: Any) -> None:
        super().__init__(units, **options)
        self.rate = rate
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training:
            return super().call(inputs)
        kernel = keras.random.dropout(ops.convert_to_tensor(self.kernel), self.rate, seed=self.seed_generator)
        return self.activation(ops.add(ops.matmul(inputs, kernel), self.bias if self.use_bias else 0))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
