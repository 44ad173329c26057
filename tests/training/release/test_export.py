from typing import Any

import keras
import numpy as np
import onnx
import openvino as ov
import pytest
from keras import layers
from onnx.reference import ReferenceEvaluator

from app.inference.metadata import Layer
from app.interpret.layers import explanation
from tests.training.samples import RECIPES, TUTORIAL, shaken, vary
from training.models import StochasticPooling2D
from training.release.export import TYPICALITY, ExportError, activations, to_onnx, verify
from training.release.layer_table import layer_table
from training.release.out_of_distribution import Typicality, features, of_length_one
from training.train import build

# `accurate` is `fast`'s architecture, but wider.
NETWORKS = ["tutorial", "fast", pytest.param("accurate", marks=pytest.mark.slow)]
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)


def served(proto: onnx.ModelProto, name: str) -> np.ndarray:
    """An output as the engine of the service computes it in float32: the reference evaluator may do better."""
    graph = ov.Core().read_model(proto.SerializeToString())
    found = ov.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(IMAGES)[name]
    return np.asarray(found)


def network(*middle: layers.Layer) -> keras.Model:
    image = x = keras.Input((32, 32, 3), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 255, name="rescale")(x)
    for layer in middle:
        x = layer(x)
    if len(x.shape) == 4:
        x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(10, name="logits")(x)
    return shaken(keras.Model(image, layers.Softmax(name="probabilities")(x)))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_of_every_network_computes_what_keras_computes(name: str) -> None:
    model = shaken(build(RECIPES[name]))
    proto = to_onnx(model)
    outputs = [output.name for output in proto.graph.output]
    assert outputs[0] == "logits"
    assert sorted(outputs) == sorted(layer.name for layer in model.layers[1:])
    verify(proto, model, IMAGES)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("int8", [False, True])
def test_typicality_is_the_product_of_features_and_direction_and_a_part_of_the_energy(name: str, int8: bool) -> None:
    model = shaken(build(RECIPES[name]))
    found = of_length_one(features(model, IMAGES))
    energy = np.logaddexp.reduce(activations(model, ["logits"], IMAGES)[0], axis=1)
    direction = np.random.default_rng(2).normal(0, 1, (found.shape[1],)).astype(np.float32)
    proto = to_onnx(model, Typicality(direction, 0.3, 2.0), {} if int8 else None)
    assert [output.name for output in proto.graph.output][:: len(proto.graph.output) - 1] == ["logits", TYPICALITY]
    wanted = found @ direction + 0.3 * (energy - 2.0)
    np.testing.assert_allclose(served(proto, TYPICALITY), wanted, rtol=0.01, atol=0.01)


def test_a_picture_without_any_feature_is_neither_typical_nor_a_nan() -> None:
    model = network()
    proto = to_onnx(model, Typicality(np.ones(3072, np.float32), 0, 0))
    (typicality,) = ReferenceEvaluator(proto).run([TYPICALITY], {"image": np.zeros((2, 32, 32, 3), np.uint8)})
    assert typicality.tolist() == [0, 0]


@pytest.mark.parametrize("activation", ["linear", "relu", "silu", "sigmoid", "tanh"])
@pytest.mark.parametrize(
    ("size", "stride", "padding"), [(3, 1, "same"), (3, 2, "same"), (4, 3, "same"), (5, 2, "valid")]
)
def test_convolutions_of_any_shape_agree(activation: str, size: int, stride: int, padding: str) -> None:
    convolution = layers.Conv2D(4, size, stride, padding, activation=activation, name="convolution")
    model = network(convolution)
    verify(to_onnx(model), model, IMAGES)


@pytest.mark.parametrize(
    "layer",
    [
        layers.MaxPooling2D(3, 2, "same", name="layer"),
        layers.AveragePooling2D(2, 2, "valid", name="layer"),
        layers.GlobalAveragePooling2D(name="layer"),
        layers.GlobalMaxPooling2D(name="layer"),
        layers.GlobalAveragePooling2D(keepdims=True, name="layer"),
        layers.BatchNormalization(name="layer"),
        layers.Dropout(0.5, name="layer"),
        StochasticPooling2D((2, 3), name="layer"),
        layers.Conv2D(3, 3, dilation_rate=2, use_bias=False, name="layer"),
    ],
)
def test_every_kind_of_layer_agrees(layer: layers.Layer) -> None:
    model = network(layer)
    verify(to_onnx(model), model, IMAGES)


def test_stochastic_pooling_of_zeros_is_zero() -> None:
    black = np.zeros((1, 32, 32, 3), np.uint8)
    black[:, :2, 2:4] = 255
    proto = to_onnx(network(StochasticPooling2D((2, 2), name="layer")))
    names = [output.name for output in proto.graph.output]
    pooled = ReferenceEvaluator(proto).run(None, {"image": black})[names.index("layer")]
    assert pooled[0, 0, 1] == pytest.approx([1, 1, 1])
    assert pooled.sum() == pytest.approx(3)


def test_the_tutorials_network_agrees_whatever_its_knobs() -> None:
    config = vary(
        TUTORIAL,
        filters=(8, 12),
        kernel=(3, 5),
        stride=(2, 1),
        padding=("valid", "same"),
        activation="sigmoid",
        pool="stochastic",
        pool_size=(3, 2),
        dropout=(0, 0.5),
        dropconnect=0.5,
        max_norm=2.0,
    )
    model = shaken(build(config))
    verify(to_onnx(model), model, IMAGES)
    rows: dict[str, dict[str, Any]] = {row["name"]: row for row in layer_table(model)}
    assert (rows["pool"]["kind"], rows["pool"]["kernel"], rows["pool"]["stride"]) == (
        "stochastic pooling",
        [3, 2],
        [3, 2],
    )
    assert rows["dense"]["kind"] == "dense"
    assert rows["dense"]["multiply_adds"] == rows["flatten"]["output_shape"][0] * 512
    for row in layer_table(model):
        assert explanation(Layer.model_validate(row))


def test_kernels_are_stored_in_half_precision() -> None:
    proto = to_onnx(build(TUTORIAL))
    weights = sum(4 * np.prod(v.shape) for v in build(TUTORIAL).weights)
    assert proto.ByteSize() < 0.51 * weights


def test_any_number_of_pictures_can_be_asked_at_once() -> None:
    evaluator = ReferenceEvaluator(to_onnx(network()))
    for count in (1, 3):
        assert evaluator.run(["logits"], {"image": IMAGES[:1].repeat(count, 0)})[0].shape == (count, 10)


def test_an_unknown_layer_or_activation_is_refused_by_name() -> None:
    with pytest.raises(ExportError, match="odd: no ONNX form for the layer UpSampling2D"):
        to_onnx(network(layers.UpSampling2D(name="odd")))
    with pytest.raises(ExportError, match="odd: no ONNX form for the activation mish"):
        to_onnx(network(layers.Conv2D(2, 3, activation="mish", name="odd")))


def test_a_graph_that_computes_something_else_is_refused_by_layer() -> None:
    model = network(layers.Conv2D(4, 3, name="convolution"))
    proto = to_onnx(model)
    model.get_layer("convolution").kernel.assign(2 * model.get_layer("convolution").kernel)
    with pytest.raises(ExportError, match="differ by"):
        verify(proto, model, IMAGES)


def test_the_graph_says_who_made_it_and_passes_the_checker() -> None:
    proto = to_onnx(network())
    assert proto.producer_name == "convoscope"
    onnx.checker.check_model(proto, full_check=True)
