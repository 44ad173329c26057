"""Stochastic pooling and DropConnect against their definitions."""

import keras
import numpy as np
import pytest

from training.models import DropConnect, StochasticPooling2D

WINDOW = np.array([1.0, 2.0, 0.0, 5.0], np.float32)


def test_stochastic_pooling_draws_each_value_as_often_as_it_is_large() -> None:
    image = np.tile(WINDOW.reshape(1, 2, 2, 1), (1, 100, 100, 2))
    drawn = np.asarray(StochasticPooling2D((2, 2), seed=1)(image, training=True))
    assert drawn.shape == (1, 100, 100, 2)
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == [1, 2, 5]
    assert counts / drawn.size == pytest.approx([1 / 8, 2 / 8, 5 / 8], abs=0.015)
    assert not np.array_equal(drawn[..., 0], drawn[..., 1])


def test_stochastic_pooling_draws_anew_each_time() -> None:
    layer = StochasticPooling2D((2, 2), seed=1)
    image = np.tile(WINDOW.reshape(1, 2, 2, 1), (1, 10, 10, 1))
    assert not np.array_equal(layer(image, training=True), layer(image, training=True))


def test_stochastic_pooling_gives_the_expected_value_after_training() -> None:
    pooled = StochasticPooling2D((2, 2))(WINDOW.reshape(1, 2, 2, 1))
    assert float(pooled[0, 0, 0, 0]) == pytest.approx((1 * 1 + 2 * 2 + 5 * 5) / 8)


@pytest.mark.parametrize("training", [False, True])
def test_stochastic_pooling_keeps_windows_apart_and_drops_the_rest(training: bool) -> None:
    image = np.zeros((2, 5, 7, 3), np.float32)
    image[1, 2, 5, 2] = 4.0  # the second row of windows of 2 x 3, the second window in it
    image[:, 4] = image[:, :, 6] = 9.0
    pooled = np.asarray(StochasticPooling2D((2, 3))(image, training=training))
    expected = np.zeros((2, 2, 2, 3), np.float32)
    expected[1, 1, 1, 2] = 4.0
    assert np.array_equal(pooled, expected)


def test_the_gradient_goes_to_the_value_that_was_drawn() -> None:
    import tensorflow as tf

    image = tf.Variable(WINDOW.reshape(1, 2, 2, 1))
    with tf.GradientTape() as tape:
        drawn = StochasticPooling2D((2, 2), seed=3)(image, training=True)
    gradient = tape.gradient(drawn, image).numpy().ravel()
    assert gradient.tolist() == [float(value == drawn[0, 0, 0, 0]) for value in WINDOW]


def test_dropconnect_sets_a_share_of_the_weights_to_zero_and_scales_the_others() -> None:
    layer = DropConnect(400, 0.25, seed=1, use_bias=False)
    inputs = np.eye(300, dtype=np.float32)  # each output row is then a row of the masked kernel
    layer(inputs)
    masked = np.asarray(layer(inputs, training=True))
    kept = masked != 0
    assert kept.mean() == pytest.approx(0.75, abs=0.005)
    assert masked[kept] == pytest.approx((layer.kernel.numpy() / 0.75)[kept], rel=1e-5)
    assert not np.array_equal(masked, layer(inputs, training=True))


def test_dropconnect_drops_weights_and_not_whole_units_and_keeps_biases() -> None:
    layer = DropConnect(8, 0.5, seed=1, bias_initializer="ones", activation="relu")
    inputs = np.eye(50, dtype=np.float32)
    layer(inputs)
    layer.kernel.assign(np.ones((50, 8), np.float32))
    masked = np.asarray(layer(inputs, training=True))
    assert set(masked.ravel()) == {1.0, 3.0}
    assert all(len(set(column)) == 2 for column in masked.T)


def test_dropconnect_is_a_dense_layer_after_training() -> None:
    inputs = np.random.default_rng(0).normal(size=(5, 20)).astype(np.float32)
    layer, dense = DropConnect(7, 0.5, activation="tanh"), keras.layers.Dense(7, activation="tanh")
    expected = dense(inputs)
    layer(inputs)
    layer.set_weights(dense.get_weights())
    assert np.allclose(layer(inputs), expected, atol=1e-6)


@pytest.mark.parametrize("layer", [StochasticPooling2D((2, 1), seed=5), DropConnect(4, 0.3, seed=5)])
def test_a_layer_survives_being_written_and_read(layer: keras.layers.Layer) -> None:
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    inputs = np.ones((2, 4, 4, 3), np.float32)
    assert np.asarray(again(inputs)).shape == np.asarray(layer(inputs)).shape


@pytest.mark.parametrize("layer", [StochasticPooling2D((2, 2)), DropConnect(4, 0.3)])
def test_the_random_state_is_a_variable_of_the_model(layer: keras.layers.Layer) -> None:
    image = keras.Input((4, 4, 3))
    model = keras.Model(image, layer(image))
    (state,) = (variable for variable in model.variables if variable.name == "seed_generator_state")
    inputs, before = np.random.default_rng(0).random((2, 4, 4, 3)), state.numpy()
    first = model(inputs, training=True)
    assert not np.array_equal(model(inputs, training=True), first)
    state.assign(before)
    assert np.array_equal(model(inputs, training=True), first)
