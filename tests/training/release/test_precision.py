from pathlib import Path

import keras
import numpy as np
import openvino as ov
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from app.inference import engine
from app.inference.engine import precisions
from tests.training.samples import RECIPES, TUTORIAL, shaken
from training.data import Pictures
from training.release import precision
from training.release.evaluate import logits
from training.release.export import input_ranges, to_onnx
from training.train import build

IMAGES = np.random.default_rng(3).integers(0, 256, (40, 32, 32, 3), np.uint8)


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ((0.9448, 0.9452, 0.9446), ["float32", "bfloat16", "int8"]),
        ((0.9448, 0.9452, 0.9438), ["float32", "bfloat16", "int8"]),  # exactly 0.1 points
        ((0.9448, 0.9452, 0.9436), ["float32", "bfloat16"]),
        ((0.9448, 0.9400, 0.9448), ["float32", "int8"]),
        ((0.9448,), ["float32"]),
    ],
)
def test_within_a_tenth_of_a_point_is_exact(accuracies: tuple[float, ...], expected: list[str]) -> None:
    assert precision.exact(dict(zip(precision.GRAPHS, accuracies, strict=False))) == expected


@pytest.mark.parametrize("name", ["fast", "tutorial"])
def test_all_layers_with_a_kernel_but_the_first_and_the_last_multiply_in_eight_bits(name: str) -> None:
    model = shaken(build(RECIPES[name]))
    ranges = input_ranges(model, IMAGES)
    proto = to_onnx(model, ranges=ranges)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    kernels = [layer.name for layer in model.layers if hasattr(layer, "kernel")]
    assert list(ranges) == kernels[1:-1]
    assert [name for name in kernels if f"{name}/kernel/int8" in weights] == kernels[1:-1]
    for layer in kernels[1:-1]:
        scales = weights[f"{layer}/kernel/scale"]
        kernel = weights[f"{layer}/kernel/int8"].astype(np.float32)
        exact = model.get_layer(layer).kernel.numpy()
        restored = (kernel * scales[:, None, None, None]).transpose(2, 3, 1, 0) if kernel.ndim == 4 else kernel * scales
        assert np.all(np.abs(restored - exact) <= scales * 0.501)
        channels_last = np.moveaxis(kernel, 1, -1) if kernel.ndim == 4 else kernel.T
        pairs = channels_last.reshape(*channels_last.shape[:-1], -1, 2)
        assert max(np.abs(pairs.clip(*sign).sum(axis=-1)).max() for sign in ((0, None), (None, 0))) in (127, 128)
        low, high = ranges[layer]
        step, zero = (float(weights[f"{layer}/input/{name}"]) for name in ("scale", "zero"))
        assert (0 - zero) * step == pytest.approx(min(low, 0), abs=step)
        assert (255 - zero) * step == pytest.approx(max(high, 0), abs=step)
    proto.opset_import[0].version = 19  # the reference knows this pattern only from then on; it means the same
    (found,) = ReferenceEvaluator(proto).run(None, {"image": IMAGES[:4]})
    expected = logits(model, IMAGES[:4])
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.1 * np.sqrt(np.mean(expected**2))


def test_a_value_far_beyond_all_others_does_not_make_every_step_coarser() -> None:
    image = keras.Input((32, 32, 3), dtype="uint8")
    x = keras.layers.Conv2D(1, 1, kernel_initializer="ones", name="first")(keras.layers.Rescaling(1.0)(image))
    x = keras.layers.Conv2D(1, 1, name="middle")(x)
    model = keras.Model(image, keras.layers.Dense(10, name="last")(keras.layers.Flatten()(x)))
    images = np.full((200, 32, 32, 3), 10, np.uint8)
    images[:, :, 16:] = 20
    images[7, 3, 4] = images[150, 3, 4] = 255
    assert input_ranges(model, images) == {"middle": pytest.approx((30, 60), abs=1)}


@pytest.mark.parametrize("kind", ["convolution", "dense"])
def test_the_largest_values_and_weights_overflow_on_no_processor(kind: str) -> None:
    image = keras.Input((32, 32, 3), dtype="uint8", name="image")
    x = keras.layers.Conv2D(21, 1, strides=8, kernel_initializer="ones")(keras.layers.Rescaling(1 / 255)(image))
    if kind == "convolution":
        middle = keras.layers.Conv2D(10, 3)
        x = keras.layers.GlobalAveragePooling2D()(middle(x))
    else:
        middle = keras.layers.Dense(10)
        x = middle(keras.layers.Flatten()(x))
    middle.set_weights([np.ones(middle.kernel.shape) * (-1) ** np.arange(10), np.zeros(10)])
    model = keras.Model(image, keras.layers.Dense(10, kernel_initializer="identity", name="logits")(x))
    images = np.full((2, 32, 32, 3), 255, np.uint8)
    proto = to_onnx(model, ranges=input_ranges(model, images))
    compiled = ov.Core().compile_model(ov.Core().read_model(proto.SerializeToString()), "CPU")
    assert compiled([images])[0] == pytest.approx(logits(model, images), rel=0.01)


def test_every_precision_of_this_processor_is_measured_and_others_are_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = shaken(build(TUTORIAL))
    (tmp_path / "model.onnx").write_bytes(to_onnx(model).SerializeToString())
    quantized = to_onnx(model, ranges=input_ranges(model, IMAGES))
    (tmp_path / "model.int8.onnx").write_bytes(quantized.SerializeToString())
    right = logits(model, IMAGES).argmax(axis=1).astype(np.uint8)
    labels = np.where(np.arange(len(right)) % 4, right, (right + 1) % 10).astype(np.uint8)
    found = precision.measure(tmp_path, Pictures(IMAGES, labels), "here", {})
    assert set(found["exact"]) <= set(found["measured"]) == set(precisions())
    assert found["measured"]["float32"]["validation"] == 0.75
    assert found["measured"]["float32"]["changed"] == 0
    for row in found["measured"].values():
        assert row["validation"] == pytest.approx(0.75, abs=0.2)
        assert 0 <= row["changed"] < 0.5
        assert row["pictures_per_second"] > 0
        assert row["milliseconds"] > 0
        assert row["machine"] == "here"
    elsewhere = {"validation": 0.7495, "pictures_per_second": 1, "milliseconds": 1.0, "machine": "elsewhere"}
    monkeypatch.setattr(engine, "precisions", lambda: ("float32",))
    again = precision.measure(tmp_path, Pictures(IMAGES, labels), "here", dict.fromkeys(precision.GRAPHS, elsewhere))
    assert [row["machine"] for row in again["measured"].values()] == ["here", "elsewhere", "elsewhere"]
    assert again["exact"] == ["float32", "bfloat16", "int8"]
