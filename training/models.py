"""The networks. Each maps uint8 pictures (N, 32, 32, 3) to probabilities (N, 10); `residual` takes other sizes too.

Whatever comes between, the layer called `logits` holds the unnormalised scores and a softmax called
`probabilities` is last; training works on the logits, the service on both.
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from training.recipe import Recipe, RecipeError, ResidualNetwork, TutorialNetwork


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


MEAN = (125.307, 122.950, 113.865)
STD = (62.993, 62.089, 66.705)
"""Mean and standard deviation of CIFAR-10's training pictures, by channel, 0 to 255."""

WHITENING = "whiten"
"""The layer whose kernel `whiten` computes from the data instead of training it."""


def tutorial(config: TutorialNetwork) -> keras.Model:
    """The tutorial's network: two 3x3 convolutions, one pooling, two dense layers, dropout after the first of each.

    What is not the tutorial's own is as `config` says; a dropout of 0 leaves its layer out.
    """
    image = keras.Input((32, 32, 3), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 255, name="rescale")(image)
    x = _dropout(_tutorial_convolution(x, config, 1), config, 1)
    x = _tutorial_convolution(x, config, 2)
    x = POOLS[config.pool](tuple(config.pool_size), name="pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = _dropout(_tutorial_dense(config)(x), config, 2)
    return _classifier(image, layers.Dense(10, dtype="float32", name="logits")(x), "tutorial")


POOLS = {"max": layers.MaxPooling2D, "average": layers.AveragePooling2D, "stochastic": StochasticPooling2D}


def _tutorial_convolution(x: keras.KerasTensor, config: TutorialNetwork, number: int) -> keras.KerasTensor:
    return layers.Conv2D(
        config.filters[number - 1],
        tuple(config.kernel),
        tuple(config.stride),
        config.padding[number - 1],
        activation=config.activation,
        kernel_constraint=_max_norm(config, axis=(0, 1, 2)),
        name=f"conv{number}",
    )(x)


def _tutorial_dense(config: TutorialNetwork) -> layers.Dense:
    options: dict[str, Any] = {"activation": config.activation, "kernel_constraint": _max_norm(config, axis=0)}
    if config.dropconnect:
        return DropConnect(config.units, config.dropconnect, name="dense", **options)
    return layers.Dense(config.units, name="dense", **options)


def _max_norm(config: TutorialNetwork, axis: int | tuple[int, ...]) -> keras.constraints.Constraint | None:
    """`axis`: those of a kernel that make up one unit's incoming weights."""
    return keras.constraints.MaxNorm(config.max_norm, axis) if config.max_norm else None


def _dropout(x: keras.KerasTensor, config: TutorialNetwork, number: int) -> keras.KerasTensor:
    rate = config.dropout[number - 1]
    return layers.Dropout(rate, name=f"dropout{number}")(x) if rate else x


def residual(
    config: ResidualNetwork, side: int = 32, labels: int = 10, *, shrink: int = 1, bias: bool = False
) -> keras.Model:
    """Whitening, then three groups of convolutions on 31x31, 15x15 and 7x7 pixels.

    After airbench (Jordan 2024): a frozen 2x2 whitening layer, pooling inside each group, batch normalisation without
    scale, convolutions that start as the identity. SiLU takes GELU's place because it costs a tenth less here.

    Pictures are (N, side, side, 3) and answers (N, labels). Weights do not depend on `side`. With `shrink`, averages of
    shrink x shrink pixels take the place of pixels. With `bias`, every label's score has one.
    """
    image = keras.Input((side, side, 3), dtype="uint8", name="image")
    x = layers.Normalization(mean=MEAN, variance=[s * s for s in STD], name="normalize")(image)
    if shrink > 1:
        x = layers.AveragePooling2D(shrink, name="shrink")(x)
    x = layers.Conv2D(24, 2, name=WHITENING)(x)
    x = layers.Activation("silu", name="whiten_act")(x)
    for number, filters in enumerate(config.filters, start=1):
        x = _group(x, config, round(filters * config.width), f"group{number}")
    x = layers.GlobalMaxPooling2D(name="pool")(x)
    x = layers.Dense(labels, use_bias=bias, dtype="float32", name="head")(x)
    # Small logits at the start keep the first, fast steps stable; the usual 1/9 is airbench's factor.
    return _classifier(image, layers.Rescaling(config.logit_scale, dtype="float32", name="logits")(x), "residual")


def _group(x: keras.KerasTensor, config: ResidualNetwork, filters: int, name: str) -> keras.KerasTensor:
    """Convolve and halve the picture, then a residual pair of convolutions at the smaller size."""
    x = _convolution(x, config, filters, f"{name}_conv1")
    x = layers.MaxPooling2D(2, name=f"{name}_pool")(x)
    x = _normalized(x, config, f"{name}_norm1")
    shortcut = x = layers.Activation("silu", name=f"{name}_act1")(x)
    x = _normalized(_convolution(x, config, filters, f"{name}_conv2"), config, f"{name}_norm2")
    x = layers.Activation("silu", name=f"{name}_act2")(x)
    x = _normalized(_convolution(x, config, filters, f"{name}_conv3"), config, f"{name}_norm3")
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.Activation("silu", name=f"{name}_act3")(x)


def _convolution(x: keras.KerasTensor, config: ResidualNetwork, filters: int, name: str) -> keras.KerasTensor:
    drawn = PartialIdentity(config.initial_scale)
    return layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer=drawn, name=name)(x)


def _normalized(x: keras.KerasTensor, config: ResidualNetwork, name: str) -> keras.KerasTensor:
    options = {"momentum": config.norm_momentum, "epsilon": config.norm_epsilon}
    return layers.BatchNormalization(**options, scale=False, name=name)(x)


def _classifier(image: keras.KerasTensor, logits: keras.KerasTensor, name: str) -> keras.Model:
    return keras.Model(image, layers.Softmax(dtype="float32", name="probabilities")(logits), name=name)


@keras.saving.register_keras_serializable("convoscope")
class PartialIdentity(keras.initializers.Initializer):  # type: ignore[misc]
    """Kernels (h, w, in, out) whose first `in` filters pass their input on unchanged; the others start at random.

    Random weights are uniform within `scale` / sqrt(h * w * in) of 0. A scale of 1 is PyTorch's default for
    convolutions. After airbench's Dirac initialisation.
    """

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def get_config(self) -> dict[str, Any]:
        return {"scale": self.scale}

    def __call__(self, shape: tuple[int, int, int, int], dtype: str | None = None) -> object:
        height, width, inputs, outputs = shape
        bound = self.scale / np.sqrt(height * width * inputs)
        kernel = keras.ops.convert_to_numpy(keras.random.uniform(shape, -bound, bound))
        shared = np.arange(min(inputs, outputs))
        kernel[:, :, :, shared] = 0
        kernel[height // 2, width // 2, shared, shared] = 1
        return keras.ops.convert_to_tensor(kernel, dtype)


def whiten(layer: layers.Conv2D, images: NDArray[np.uint8], epsilon: float) -> None:
    """Set the 2x2 convolution's kernel from (N, H, W, 3) uint8 pictures and freeze it; its bias stays trainable.

    Its filters are the principal components of the normalised 2x2 patches, each divided by its standard deviation,
    and their negatives, so that what comes out is uncorrelated and of one size.
    """
    pixels = (images - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    down, across = pixels.shape[1] - 1, pixels.shape[2] - 1
    patches = np.stack([pixels[:, i : i + down, j : j + across] for i in (0, 1) for j in (0, 1)], axis=3)
    patches = patches.reshape(-1, 12)
    variances, components = np.linalg.eigh(patches.T @ patches / len(patches))
    filters = (components / np.sqrt(variances + epsilon)).astype(np.float32)  # a column a filter
    layer.kernel.assign(np.concatenate([filters, -filters], axis=1).reshape(2, 2, 3, 24))
    layer.kernel.trainable = False


def soften(model: keras.Model, variance: float) -> None:
    """Weaken the whitening filters of the faintest directions, which multiply noise most.

    A filter of norm n stands for a direction in which pictures have the variance 1 / n**2; it gets the norm it would
    have with `variance` more. The first convolution's kernels grow where filters shrink, up to four times, so that the
    network answers nearly as before.
    """
    layer, following = model.get_layer(WHITENING), model.get_layer("group1_conv1")
    kernel = layer.kernel.numpy()
    gains = 1 / np.sqrt(1 + variance * (kernel**2).sum(axis=(0, 1, 2)))
    layer.kernel.assign(kernel * gains)
    following.kernel.assign(following.kernel.numpy() / np.maximum(gains, 0.25)[:, None])


def network(recipe: Recipe) -> keras.Model:
    """The network that a recipe asks for."""
    asked = recipe.network
    return tutorial(asked) if isinstance(asked, TutorialNetwork) else residual(asked)


def start_from(artifact: Path, model: keras.Model) -> None:
    """Give `model` the weights of the network in the folder `artifact`; where it is wider, it answers as that one does.

    Raises RecipeError where it cannot hold that network.
    """
    found = keras.models.load_model(artifact / "model.keras")
    if not _holds(model, found):
        raise RecipeError(
            f"start is {artifact}; expected an artifact of the network that the recipe trains, or of a narrower one "
            "without a flatten layer"
        )
    for weight, learnt in zip(model.weights, found.weights, strict=True):
        weight.assign(_widened(weight.numpy(), learnt.numpy()))


def _holds(wide: keras.Model, narrow: keras.Model) -> bool:
    """Whether `wide` has the layers of `narrow` with at least as many channels.

    Behind a flatten layer, more channels would be other pixels.
    """
    shapes, room = ([weight.shape for weight in model.weights] for model in (narrow, wide))
    if shapes == room:
        return True
    if any(isinstance(layer, keras.layers.Flatten) for layer in wide.layers) or len(shapes) != len(room):
        return False
    pairs = list(zip(shapes, room, strict=True))
    return all(
        len(few) == len(many) and few[:-2] == many[:-2] and np.all(np.less_equal(few, many)) for few, many in pairs
    )


def _widened(drawn: NDArray[np.float32], learnt: NDArray[np.float32]) -> NDArray[np.float32]:
    """`learnt` in the first corner of a wider layer's freshly `drawn` values.

    The layer's last axis is its units. Those it had heed none of the new ones before them, so that they answer as they
    did; the new ones start as they were drawn, after Net2Net (Chen, Goodfellow and Shlens 2016).
    """
    widened = drawn.copy()
    widened[..., : learnt.shape[-1]] = 0
    widened[tuple(map(slice, learnt.shape))] = learnt
    return widened
