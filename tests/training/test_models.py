"""The networks: what the tutorial's is, and that each knob turns what it says."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.training.samples import FAST, TUTORIAL, vary
from training.models import WHITENING, DropConnect, StochasticPooling2D, network, whiten

TURNED = vary(
    TUTORIAL,
    filters=(8, 12),
    kernel=(3, 5),
    stride=(2, 1),
    padding=("valid", "same"),
    activation="tanh",
    pool="average",
    pool_size=(3, 2),
    dropout=(0, 0.4),
    dropconnect=0.5,
    max_norm=2.0,
)


def test_the_tutorials_network_is_the_tutorials() -> None:
    model = network(TUTORIAL)
    kinds = [type(layer).__name__ for layer in model.layers[2:]]
    assert kinds == ["Conv2D", "Dropout", "Conv2D", "MaxPooling2D", "Flatten", "Dense", "Dropout", "Dense", "Softmax"]
    assert [model.get_layer(name).rate for name in ("dropout1", "dropout2")] == [0.2, 0.3]
    assert model.get_layer("pool").output.shape == (None, 15, 15, 32)
    assert all(model.get_layer(name).kernel_constraint is None for name in ("conv1", "conv2", "dense"))
    assert model.count_params() == 3_702_186


def test_every_knob_reaches_its_layers() -> None:
    model = network(TURNED)
    first, second = model.get_layer("conv1"), model.get_layer("conv2")
    assert (first.filters, second.filters) == (8, 12)
    assert first.kernel_size == second.kernel_size == (3, 5)
    assert first.strides == second.strides == (2, 1)
    assert (first.padding, second.padding) == ("valid", "same")
    pool, dense = model.get_layer("pool"), model.get_layer("dense")
    assert isinstance(pool, layers.AveragePooling2D)
    assert pool.pool_size == pool.strides == (3, 2)
    assert isinstance(dense, DropConnect)
    assert dense.rate == 0.5
    assert {layer.activation.__name__ for layer in (first, second, dense)} == {"tanh"}
    assert {layer.kernel_constraint.max_value for layer in (first, second, dense)} == {2.0}
    assert [layer.name for layer in model.layers if isinstance(layer, layers.Dropout)] == ["dropout2"]
    assert model.get_layer("dropout2").rate == 0.4


@pytest.mark.parametrize(
    ("pool", "kind"),
    [("max", layers.MaxPooling2D), ("average", layers.AveragePooling2D), ("stochastic", StochasticPooling2D)],
)
def test_every_pooling_halves_the_picture(pool: str, kind: type[keras.layers.Layer]) -> None:
    layer = network(vary(TUTORIAL, pool=pool)).get_layer("pool")
    assert type(layer) is kind
    assert layer.output.shape == (None, 15, 15, 32)


def test_max_norm_limits_each_units_incoming_weights() -> None:
    model = network(vary(TUTORIAL, max_norm=0.5))
    for name, axes in (("conv1", (0, 1, 2)), ("conv2", (0, 1, 2)), ("dense", 0)):
        layer = model.get_layer(name)
        kernel = 10 * layer.kernel.numpy()
        norms = np.sqrt((np.asarray(layer.kernel_constraint(kernel)) ** 2).sum(axis=axes))
        assert norms == pytest.approx(np.full(layer.bias.shape, 0.5), rel=1e-4)


def test_a_turned_network_survives_its_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("model") / "model.keras"
    model = network(vary(TURNED, activation="relu", pool="stochastic"))
    model.save(path)
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    assert np.allclose(keras.models.load_model(path)(image), model(image), atol=1e-6)


def test_numbers_that_recipes_leave_out_stay_as_they_were() -> None:
    """Digests don't cover them, so no other test would notice."""
    assert FAST.network.model_dump() == {
        "width": 1,
        "filters": (64, 192, 256),
        "soften": 0,
        "whitening_epsilon": 5e-4,
        "initial_scale": 1,
        "norm_momentum": 0.8,
        "norm_epsilon": 1e-5,
        "logit_scale": 1 / 9,
    }


def test_every_knob_of_the_residual_network_reaches_its_layers() -> None:
    numbers = {"norm_momentum": 0.9, "norm_epsilon": 1e-3, "logit_scale": 0.5, "initial_scale": 0.25}
    model = network(vary(FAST, width=0.25, filters=(16, 32, 64), **numbers))
    assert model.name == "residual"
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    assert {(layer.momentum, layer.epsilon) for layer in norms} == {(0.9, 1e-3)}
    assert [model.get_layer(f"group{number}_conv3").filters for number in (1, 2, 3)] == [4, 8, 16]
    assert model.get_layer("logits").scale == 0.5
    drawn = model.get_layer("group2_conv1").kernel.numpy()[..., 4:]  # the first four pass on their input
    bound = 0.25 / np.sqrt(9 * 4)
    assert 0.9 * bound < np.abs(drawn).max() <= bound


def test_a_larger_whitening_epsilon_makes_smaller_filters() -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    layer = network(FAST).get_layer(WHITENING)
    norms = []
    for epsilon in (5e-4, 1.0):
        whiten(layer, images, epsilon)
        norms.append(np.linalg.norm(layer.kernel.numpy().reshape(12, 24), axis=0)[:12])
    assert norms[1] == pytest.approx((norms[0] ** -2 + 1 - 5e-4) ** -0.5, rel=1e-3)
