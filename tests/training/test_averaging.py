"""The average of the weights, and what a network measured with it is."""

from pathlib import Path

import keras
import numpy as np
import pytest

from tests.training.samples import MODERN, SMALL, TRAINING, VALIDATION, vary
from training import train
from training.optim import averaged


def test_a_network_has_the_average_of_its_weights_and_then_its_own() -> None:
    config = vary(SMALL, average=0.75, dropout=(0, 0))
    model = train.build(config)
    optimizer = train.build_optimizer(config, model)
    update = train.compiled_update(train.scores(model), optimizer)
    labels = np.eye(10, dtype=np.float32)[TRAINING.labels]
    expected: list[np.ndarray] = []
    for start in range(0, 48, 16):
        some = slice(start, start + 16)
        update(TRAINING.images[some], labels[some], labels[some], np.ones(16, np.float32))
        now = [variable.numpy() for variable in model.trainable_variables]
        expected = [0.75 * old + 0.25 * new for old, new in zip(expected or now, now, strict=True)]
    with averaged(model, optimizer, []):
        for variable, value in zip(model.trainable_variables, expected, strict=True):
            np.testing.assert_allclose(variable, value, rtol=0, atol=1e-6)
    for variable, value in zip(model.trainable_variables, now, strict=True):
        assert np.array_equal(variable.numpy(), value)


def test_the_statistics_are_the_batches_mean_and_then_what_they_were() -> None:
    config = vary(MODERN, average=0.5, precision="float32")
    model = train.build(config)
    optimizer = train.build_optimizer(config, model)
    optimizer.apply([0 * variable for variable in model.trainable_variables], model.trainable_variables)
    layer = model.get_layer("group1_norm1")
    before = [layer.moving_mean.numpy(), layer.moving_variance.numpy(), layer.momentum]
    batches = [TRAINING.images[:16], TRAINING.images[16:48]]
    seen = keras.Model(model.input, layer.input)
    outputs = [seen(images).numpy() for images in batches]
    with averaged(model, optimizer, batches):
        for found, statistic in ((layer.moving_mean, np.mean), (layer.moving_variance, np.var)):
            expected = np.mean([statistic(values, axis=(0, 1, 2)) for values in outputs], axis=0)
            assert found.numpy() == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert np.array_equal(layer.moving_mean.numpy(), before[0])
    assert np.array_equal(layer.moving_variance.numpy(), before[1])
    assert layer.momentum == before[2]


def test_a_run_is_measured_and_ends_with_the_average(tmp_path: Path) -> None:
    config = vary(MODERN, average=0.9, precision="float32", restore_best=False, sharpness=0, pruning=0)
    model, progress = train.train(config, TRAINING, VALIDATION, tmp_path)
    loss, accuracy = train.measure(train.scores(model), VALIDATION)
    last = progress.history[-1]
    assert loss == pytest.approx(last["val_loss"], rel=1e-3)
    assert accuracy == pytest.approx(last["val_accuracy"], abs=0.03)
    saved = np.load(tmp_path / "checkpoint.npz")
    kernel = next(i for i, variable in enumerate(model.variables) if variable.path.startswith("group2_conv2"))
    assert np.abs(model.variables[kernel].numpy() - saved[f"model/{kernel}"]).max() > 1e-3
