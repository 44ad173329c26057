"""What is faster must compute the same: each layer against Keras' own, gradients included."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.training.samples import FAST, TRAINING, VALIDATION, vary
from training import train
from training.fast_layers import layers, winograd
from training.fast_layers.layers import accelerated
from training.recipe import Precision

RNG = np.random.default_rng(0)


def gradients(layer: keras.layers.Layer, images: tf.Tensor, upstream: tf.Tensor) -> tuple[Any, ...]:
    """The layer's output in training, and the gradients of its input and its weights."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        output = layer(images, training=True)
        loss = tf.reduce_sum(output * tf.cast(upstream, output.dtype))
    return output, *tape.gradient(loss, [images, *layer.trainable_variables])


def same(ours: keras.layers.Layer, kerass: keras.layers.Layer, shape: tuple[int, ...], out: tuple[int, ...]) -> None:
    images = tf.constant(RNG.normal(size=shape).astype(np.float32))
    upstream = tf.constant(RNG.normal(size=out).astype(np.float32))
    for layer in (ours, kerass):
        layer.build(shape)
    ours.set_weights(kerass.get_weights())
    for one, other in zip(gradients(ours, images, upstream), gradients(kerass, images, upstream), strict=True):
        assert one.numpy() == pytest.approx(other.numpy(), rel=1e-3, abs=1e-4)
    for one, other in zip(ours.variables, kerass.variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(3, 3), (1, 5)])
def test_a_convolution_and_its_gradients_are_kerass(size: tuple[int, int]) -> None:
    options: dict[str, Any] = {"padding": "same", "use_bias": False, "activation": "silu"}
    ours, kerass = layers.Convolution(6, size, **options), keras.layers.Conv2D(6, size, **options)
    same(ours, kerass, (2, 7, 5, 4), (2, 7, 5, 6))


def test_batch_normalization_its_gradients_and_its_averages_are_kerass() -> None:
    options: dict[str, Any] = {"momentum": 0.8, "epsilon": 1e-3, "scale": False}
    ours, kerass = layers.BatchNormalization(**options), keras.layers.BatchNormalization(**options)
    same(ours, kerass, (2, 3, 3, 4), (2, 3, 3, 4))


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_silu_and_its_gradient_are_kerass(precision: str) -> None:
    images, upstream = (tf.constant(RNG.normal(size=(2, 3, 3, 4)).astype(np.float32)) for _ in range(2))
    found = gradients(layers.SiLU("silu", dtype=precision), images, upstream)
    expected = gradients(keras.layers.Activation("silu", dtype="float32"), images, upstream)
    for one, other in zip(found, expected, strict=True):
        error = 1e-6 if precision == "float32" else 0.01
        assert np.asarray(one, np.float32) == pytest.approx(other.numpy(), rel=error, abs=error)


def test_winograds_convolution_and_its_gradients_are_kerass() -> None:
    if winograd.operations() is None:
        pytest.skip("needs AVX2 and a C++ compiler")
    options: dict[str, Any] = {"padding": "same", "use_bias": False, "activation": "silu"}
    ours, kerass = layers.WinogradConvolution(6, 3, **options), keras.layers.Conv2D(6, 3, **options)
    same(ours, kerass, (2, 7, 5, 4), (2, 7, 5, 6))


@pytest.mark.parametrize(
    ("precision", "compiled", "wide", "narrow"),
    [
        ("mixed_bfloat16", True, layers.Convolution, keras.layers.Conv2D),
        ("float32", True, layers.WinogradConvolution, layers.WinogradConvolution),
        ("float32", False, keras.layers.Conv2D, keras.layers.Conv2D),
    ],
)
def test_the_layers_are_those_that_the_precision_and_the_machine_make_faster(
    monkeypatch: pytest.MonkeyPatch, precision: str, compiled: bool, wide: type, narrow: type
) -> None:
    monkeypatch.setattr(winograd, "operations", lambda: object() if compiled else None)
    kinds = {layer.name: type(layer) for layer in accelerated(train.build(FAST, precision)).layers}
    assert kinds["group3_conv2"] is wide
    assert kinds["group1_conv2"] is narrow
    assert kinds["whiten"] is keras.layers.Conv2D
    assert kinds["group1_norm1"] is layers.BatchNormalization
    assert kinds["group1_act1"] is layers.SiLU


def test_an_accelerated_network_is_the_same_network() -> None:
    model = train.build(FAST)
    copy = accelerated(model)
    assert [v.path for v in copy.variables] == [v.path for v in model.variables]
    pictures = RNG.integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    assert copy.predict(pictures, verbose=0) == pytest.approx(model.predict(pictures, verbose=0), abs=1e-5)


@pytest.mark.parametrize("precision", [pytest.param("mixed_bfloat16", marks=pytest.mark.slow), "float32"])
def test_training_is_accelerated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, precision: Precision) -> None:
    seen: list[keras.Model] = []

    def watched(model: keras.Model) -> keras.Model:
        seen.append(model)
        return accelerated(model)

    monkeypatch.setattr(train, "accelerated", watched)
    config = vary(FAST, precision=precision, epochs=1, knots=((0, 1), (1, 0)), batch_size=80, muon=0.05)
    model, progress = train.train(config, TRAINING, VALIDATION, tmp_path)
    assert len(seen) == 1
    assert np.isfinite(progress.history[0]["loss"])
    kernel = model.get_layer("group2_conv2").kernel.numpy()
    assert np.linalg.norm(kernel) == pytest.approx(192**0.5, rel=0.02)
    assert {type(layer).__module__.split(".")[0] for layer in model.layers} == {"keras"}
