"""Sharpness-aware minimisation on small networks, against the paper's formula written out."""

import keras
import numpy as np
import tensorflow as tf

from tests.training.samples import MODERN, SMALL, TRAINING, vary
from training import optim, train


def test_the_network_is_taken_uphill_by_the_radius_and_back() -> None:
    model = train.build(MODERN)
    before = [weight.numpy() for weight in model.weights]
    gradients = [tf.random.stateless_normal(variable.shape, (1, 2)) for variable in model.trainable_variables]
    with optim.climbed(model, gradients, 0.5):
        steps = [v - b for v, b in zip(model.trainable_variables, _of(model, before), strict=True)]
        model(TRAINING.images[:16], training=True)
    length = np.sqrt(sum(np.sum(gradient.numpy() ** 2) for gradient in gradients))
    for step, gradient in zip(steps, gradients, strict=True):
        np.testing.assert_allclose(step, 0.5 / length * gradient.numpy(), rtol=0, atol=1e-6)
    for weight, value in zip(model.weights, before, strict=True):
        assert np.array_equal(weight.numpy(), value), weight.path


def _of(model: keras.Model, values: list[np.ndarray]) -> list[np.ndarray]:
    """Those of the `values` of all weights that are trainable ones'."""
    trainable = {id(variable) for variable in model.trainable_variables}
    return [value for weight, value in zip(model.weights, values, strict=True) if id(weight) in trainable]


def test_nothing_happens_where_there_is_no_uphill() -> None:
    model = train.build(SMALL)
    before = [weight.numpy() for weight in model.weights]
    with optim.climbed(model, [tf.zeros(variable.shape) for variable in model.trainable_variables], 0.5):
        for weight, value in zip(model.weights, before, strict=True):
            assert np.array_equal(weight.numpy(), value)


def test_an_update_goes_by_the_gradient_at_the_worst_point() -> None:
    config = vary(SMALL, dropout=(0, 0), sharpness=0.3, momentum=0.0)
    images, labels = TRAINING.images[:16], np.eye(10, dtype=np.float32)[TRAINING.labels[:16]]
    model, expected = train.build(config), train.build(config)

    def gradient(some: slice) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            logits = train.scores(expected)(images[some])
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels[some], logits))
        return list(tape.gradient(loss, expected.trainable_variables))

    uphill = gradient(slice(0, 16, 4))
    length = tf.linalg.global_norm(uphill)
    start = [variable.numpy() for variable in expected.trainable_variables]
    for variable, direction in zip(expected.trainable_variables, uphill, strict=True):
        variable.assign_add(0.3 * direction / length)
    steps = gradient(slice(0, 16))

    update = train.compiled_update(train.scores(model), train.build_optimizer(config, model), config.sharpness)
    update(images, labels, labels, np.ones(16, np.float32))
    for variable, value, step in zip(model.trainable_variables, start, steps, strict=True):
        expected_value = value - config.optimizer.learning_rate * step.numpy()
        np.testing.assert_allclose(variable, expected_value, rtol=0, atol=1e-5)
