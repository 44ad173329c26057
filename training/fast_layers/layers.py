"""The same network with cheaper convolutions and gradients, for a CPU; what comes out is an ordinary network.

In float32 its convolutions are Winograd's (`training/fast_layers/winograd.py`). In bfloat16, half of TensorFlow's time
in an update of `accurate` went into the gradients of wide kernels, which oneDNN computes at a third of a matrix
product's rate. In both, a tenth went into batch normalisation, which Keras writes as a dozen passes over the
activations. Its gradient of SiLU is seven passes, which weigh more the faster the convolutions are.
`python -m benchmarks.throughput` measures what this file gains.
"""

from typing import Any

import keras
import tensorflow as tf
from keras import layers

from training.fast_layers import winograd

WIDE = 192
"""Input channels from which nine matrix products are faster than oneDNN's gradient of a 3x3 kernel in bfloat16."""


def accelerated(model: keras.Model) -> keras.Model:
    """A copy of `model` with its weights, whose variables are in the same order and of the same shapes."""
    copy = keras.models.clone_model(model, clone_function=_accelerated)
    for new, old in zip(copy.variables, model.variables, strict=True):
        new.assign(old)
    return copy


def _accelerated(layer: layers.Layer) -> layers.Layer:
    if isinstance(layer, layers.Conv2D) and (kind := _kind(layer)):
        return kind.from_config(layer.get_config())
    if isinstance(layer, layers.BatchNormalization) and layer.center and not layer.scale:
        return BatchNormalization.from_config(layer.get_config())
    if isinstance(layer, layers.Activation) and layer.activation is keras.activations.silu:
        return SiLU.from_config(layer.get_config())
    return layer.__class__.from_config(layer.get_config())


def _kind(layer: layers.Conv2D) -> type[layers.Conv2D] | None:
    """What can and should take the layer's place."""
    plain = (layer.strides, layer.dilation_rate, layer.groups, layer.padding) == ((1, 1), (1, 1), 1, "same")
    if layer.use_bias or not plain or any(size % 2 == 0 for size in layer.kernel_size):
        return None
    if layer.compute_dtype == "float32":
        return WinogradConvolution if layer.kernel_size == (3, 3) and winograd.operations() else None
    return Convolution if layer.kernel.shape[2] >= WIDE else None


class WinogradConvolution(layers.Conv2D):  # type: ignore[misc]
    """A 3x3 convolution without bias and with "same" padding, in float32."""

    def call(self, inputs: Any) -> Any:
        return self.activation(winograd.convolve(inputs, tf.convert_to_tensor(self.kernel)))


class Convolution(layers.Conv2D):  # type: ignore[misc]
    """A convolution without bias, of odd size and "same" padding, whose kernel's gradient is a product for each tap."""

    def call(self, inputs: Any) -> Any:
        return self.activation(convolve(inputs, tf.cast(tf.convert_to_tensor(self.kernel), inputs.dtype)))


@tf.custom_gradient  # type: ignore[untyped-decorator]
def convolve(images: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Any]:
    """Images (N, H, W, in) with a kernel (h, w, in, out), h and w odd: (N, H, W, out), zeros beyond the edges."""

    def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        rows, columns, inputs, filters = kernel.shape
        height, width = images.shape[1:3]
        to_images = tf.raw_ops.Conv2DBackpropInput(
            input_sizes=tf.shape(images), filter=kernel, out_backprop=upstream, strides=[1, 1, 1, 1], padding="SAME"
        )
        padded = tf.pad(images, ((0, 0), (rows // 2, rows // 2), (columns // 2, columns // 2), (0, 0)))
        flat = tf.reshape(upstream, (-1, filters))
        taps = [
            tf.matmul(tf.reshape(padded[:, row : row + height, column : column + width], (-1, inputs)), flat, True)
            for row in range(rows)
            for column in range(columns)
        ]
        return to_images, tf.reshape(tf.stack(taps), kernel.shape)

    return tf.nn.conv2d(images, kernel, 1, "SAME"), gradients


class SiLU(layers.Activation):  # type: ignore[misc]
    """x / (1 + exp(-x)), of which the activation and its gradient are one pass each."""

    def call(self, inputs: Any) -> Any:
        return silu(inputs)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def silu(inputs: tf.Tensor) -> tuple[tf.Tensor, Any]:
    """SiLU of a tensor of any shape, float32 or bfloat16, computed in float32."""
    return _silu(inputs), lambda upstream: _silu_gradient(inputs, upstream)


@tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
def _silu(inputs: tf.Tensor) -> tf.Tensor:
    x = tf.cast(inputs, tf.float32)
    return tf.cast(x * tf.sigmoid(x), inputs.dtype)


@tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
def _silu_gradient(inputs: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    x = tf.cast(inputs, tf.float32)
    share = tf.sigmoid(x)
    return tf.cast(tf.cast(upstream, tf.float32) * share * (1 + x * (1 - share)), inputs.dtype)


class BatchNormalization(layers.BatchNormalization):  # type: ignore[misc]
    """Batch normalisation without scale, by TensorFlow's fused operation while training."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not training:
            return super().call(inputs, training=training, mask=mask)
        normalized, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.ones(inputs.shape[-1:]),
            offset=tf.convert_to_tensor(self.beta),
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=self.epsilon,
            is_training=True,
        )
        values = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
        biased = variance * (values - 1) / values  # Keras keeps the biased variance, the operation gives the other
        for average, found in ((self.moving_mean, mean), (self.moving_variance, biased)):
            average.assign(self.momentum * average + (1 - self.momentum) * found)
        return normalized
