"""Foreign networks become artifacts that answer as they did, or are rejected by name."""

import errno
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
from keras import layers
from onnx import TensorProto, helper, numpy_helper

from tests.training.own.shapes import folder
from training import __main__
from training.foreign import importing
from training.foreign.importing import Options, import_
from training.foreign.network import ImportFailure, Preprocessing
from training.own import release
from training.own.errors import OwnPicturesError
from training.own.graph import Graph
from training.release.calibrate import softmax

SIDE = 16
LABELS = ("blue", "green", "red")
TORCH = Preprocessing(1 / 255, 0.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def labels_file(place: Path, labels: tuple[str, ...] = LABELS) -> Path:
    path = place / "labels.txt"
    path.write_text("\n".join(labels) + "\n", encoding="utf-8")
    return path


def options(place: Path, network: Path, **given: Any) -> Options:
    preprocessing = given.pop("preprocessing", Preprocessing())
    labels = given.pop("labels", LABELS)
    return Options(
        network, labels_file(place, labels), "theirs", place / "models", place / "runs", preprocessing, **given
    )


def metadata(artifact: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((artifact / "metadata.json").read_text())
    return found


def pictures(count: int = 6) -> Any:
    return np.random.default_rng(5).integers(0, 256, (count, SIDE, SIDE, 3)).astype(np.uint8)


def keras_network(*middle: keras.Layer, ending: str | None = "softmax") -> keras.Model:
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="first>conv"),
            layers.BatchNormalization(),
            *middle,
            layers.DepthwiseConv2D(3, padding="same"),
            layers.ZeroPadding2D(1),
            layers.ReLU(6.0),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(3, activation=ending, name="logits"),
        ]
    )


def onnx_network(
    *, input_shape: tuple[Any, ...] = ("N", 3, SIDE, SIDE), ending: tuple[str, ...] = ("Softmax",), domain: str = ""
) -> onnx.ModelProto:
    """Convolution, ReLU, mean, dense layer and whatever `ending` says, one operator after the other."""
    rng = np.random.default_rng(2)
    weights = {
        "kernel": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "bias": rng.normal(size=4).astype(np.float32),
        "dense": rng.normal(size=(4, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "kernel", "bias"], ["c"], name="/block/conv", pads=(1, 1, 1, 1), domain=domain),
        helper.make_node("Relu", ["c"], ["r"], name="/block/relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "dense"], ["s0"], name="image"),
        *(helper.make_node(kind, [f"s{number}"], [f"s{number + 1}"]) for number, kind in enumerate(ending)),
    ]
    graph = helper.make_graph(
        nodes,
        "theirs",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info(f"s{len(ending)}", TensorProto.FLOAT, (input_shape[0], 3))],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def saved(place: Path, model: onnx.ModelProto) -> Path:
    path = place / "theirs.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def computed(images: Any, preprocessing: Preprocessing) -> Any:
    """The logits of `onnx_network` by numpy alone."""
    model = onnx_network()
    kernel, bias, dense = (numpy_helper.to_array(tensor) for tensor in model.graph.initializer)
    multiplied, added = preprocessing.factors(3)
    padded = np.pad(images * multiplied + added, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    return np.maximum(np.einsum("nhwcij,ocij->nhwo", windows, kernel) + bias, 0).mean(axis=(1, 2)) @ dense


def test_an_onnx_network_answers_as_its_arithmetic_says(tmp_path: Path) -> None:
    place = import_(options(tmp_path, saved(tmp_path, onnx_network()), preprocessing=TORCH))
    found = Graph(place / "model.onnx")([pictures()])[0]
    np.testing.assert_allclose(found, computed(pictures(), TORCH), atol=1e-3)
    about = metadata(place)
    assert about["labels"] == list(LABELS)
    assert about["input"] == {"size": SIDE, "channels": 3}
    assert about["preprocessing"]["layout"] == "nchw"
    assert about["source"]["kind"] == "imported"
    assert "calibration" not in about
    names = {layer["name"]: layer for layer in about["layers"]}
    assert list(names) == ["block_conv", "block_relu", "p", "image_2"]  # Flatten is no layer of its own
    assert names["block_conv"]["output_shape"] == [SIDE, SIDE, 4]
    assert names["block_conv"]["multiply_adds"] == SIDE * SIDE * 4 * 27
    assert names["image_2"]["inputs"] == ["p"]
    shown = Graph(place / "model.onnx", ("block_conv", "block_relu"))([pictures()])
    np.testing.assert_array_equal(np.maximum(shown[0], 0), shown[1])
    kernels = {tensor.name for tensor in onnx.load(place / "model.onnx").graph.initializer}
    assert {"block_conv/kernel", "block_conv/bias", "image_2/kernel"} <= kernels


@pytest.mark.parametrize("ending", [(), ("Softmax", "Identity")])
def test_logits_and_hidden_probabilities_are_recognised(tmp_path: Path, ending: tuple[str, ...]) -> None:
    place = import_(options(tmp_path, saved(tmp_path, onnx_network(ending=ending)), preprocessing=TORCH))
    found = softmax(Graph(place / "model.onnx")([pictures()])[0])
    np.testing.assert_allclose(found, softmax(computed(pictures(), TORCH)), atol=1e-3)


def test_other_labels_are_another_version(tmp_path: Path) -> None:
    network = saved(tmp_path, onnx_network())
    first = import_(options(tmp_path, network, preprocessing=TORCH))
    again = import_(options(tmp_path, network, preprocessing=TORCH, labels=("x", "y", "z")))
    assert first.parent == again.parent
    assert metadata(first)["labels"] == list(LABELS)
    assert metadata(again)["labels"] == ["x", "y", "z"]
    assert import_(options(tmp_path, network, preprocessing=TORCH)) == first


def test_a_batch_of_one_is_made_free(tmp_path: Path) -> None:
    network = saved(tmp_path, onnx_network(input_shape=(1, 3, SIDE, SIDE)))
    place = import_(options(tmp_path, network, preprocessing=TORCH))
    assert Graph(place / "model.onnx")([pictures(5)])[0].shape == (5, 3)


def test_a_keras_network_answers_as_keras_does_and_is_measured(tmp_path: Path) -> None:
    model = keras_network()
    model.save(tmp_path / "theirs.keras")
    check = folder(tmp_path / "check", 40)
    scaled = Preprocessing(1 / 255)
    place = import_(options(tmp_path, tmp_path / "theirs.keras", preprocessing=scaled, check=check))
    found = softmax(Graph(place / "model.onnx")([pictures()])[0])
    np.testing.assert_allclose(found, model.predict(pictures() / 255, verbose=0), atol=1e-3)
    about = metadata(place)
    assert about["data"]["test"] == 60
    assert sum(map(sum, about["confusion"])) == 60
    assert about["calibration"]["temperature"] > 0
    names = [layer["name"] for layer in about["layers"]]
    assert "first_conv" in names
    assert "logits_2" in names


def rejected(place: Path, network: Path, **given: Any) -> str:
    with pytest.raises((ImportFailure, OwnPicturesError)) as caught:
        import_(options(place, network, **given))
    assert "\n" not in str(caught.value)
    assert not list((place / "models").glob("*/*"))
    return str(caught.value)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        (("N", 3, "H", "W"), "its size is dynamic; expected a fixed one from 16 to 256"),
        (("N", 3, 16, 24), "expected a square of 16 to 256 pixels"),
        (("N", 3, 300, 300), "expected a square of 16 to 256 pixels"),
        (("N", 3, 16, 3), "--layout nchw or nhwc"),
        (("N", 4, 16, 16), "with 1 or 3 channels"),
        (("N", 768), "expected (batch, side, side, channels)"),
    ],
)
def test_an_input_that_is_no_picture_is_rejected(tmp_path: Path, shape: tuple[Any, ...], said: str) -> None:
    model = onnx_network()
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, shape))
    message = rejected(tmp_path, saved(tmp_path, model))
    assert f"the input 'x' is ({', '.join(map(str, shape))})" in message
    assert said in message


def test_what_an_onnx_file_may_not_have_is_named(tmp_path: Path) -> None:
    assert "the operators com.theirs.Conv are not ONNX's own" in rejected(
        tmp_path, saved(tmp_path, onnx_network(domain="com.theirs"))
    )
    assert "the outputs are 's1' (N, 3); expected one of (batch, 4)" in rejected(
        tmp_path, saved(tmp_path, onnx_network()), labels=("a", "b", "c", "d")
    )
    assert "ends in Sigmoid" in rejected(tmp_path, saved(tmp_path, onnx_network(ending=("Sigmoid",))))
    two = onnx_network()
    two.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, (1,)))
    assert "the inputs are 'x', 'mask'; expected one" in rejected(tmp_path, saved(tmp_path, two))
    integers = onnx_network()
    integers.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    assert "the input 'x' is int64; expected float or uint8" in rejected(tmp_path, saved(tmp_path, integers))
    outside = onnx_network()
    outside.graph.initializer[0].data_location = TensorProto.EXTERNAL
    assert "the weights 'kernel' are in another file" in rejected(tmp_path, saved(tmp_path, outside))
    undefined = onnx_network()
    undefined.graph.initializer[2].CopyFrom(numpy_helper.from_array(np.full((4, 3), np.nan, np.float32), "dense"))
    assert "its answers are not all numbers (NaN or infinite)" in rejected(tmp_path, saved(tmp_path, undefined))
    (tmp_path / "theirs.onnx").write_bytes(b"")
    assert "an empty file (0 bytes)" in rejected(tmp_path, tmp_path / "theirs.onnx")
    assert "expected a file that ends in .onnx or .keras" in rejected(tmp_path, tmp_path)
    (tmp_path / "folder.onnx").mkdir()
    assert "folder.onnx: not a file" in rejected(tmp_path, tmp_path / "folder.onnx")
    (tmp_path / "theirs.onnx").write_bytes(b"no network")
    assert "not a" in rejected(tmp_path, tmp_path / "theirs.onnx")


def test_a_file_of_two_gigabytes_is_not_even_read(tmp_path: Path) -> None:
    for name in ("theirs.onnx", "theirs.keras"):
        (tmp_path / name).touch()
        os.truncate(tmp_path / name, 2_000_000_001)
        assert "2,000,000,001 bytes; expected at most 1,000,000,000" in rejected(tmp_path, tmp_path / name)


def test_code_in_a_keras_file_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "theirs.keras"
    keras_network(layers.Lambda(lambda x: x + 1, name="add one")).save(path)
    assert "the layer 'add one' is a Lambda, which runs code of its own" in rejected(tmp_path, path)
    keras_network().save(path)
    _change(
        path,
        lambda text: text.replace(
            '"module": "keras.layers", "class_name": "Flatten"', '"module": "os", "class_name": "system"'
        ),
    )
    assert "is a system of the Python module 'os'; expected Keras' own layers" in rejected(tmp_path, path)


def _change(path: Path, change: Callable[[str], str]) -> None:
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    before = files["config.json"].decode()
    files["config.json"] = change(before).encode()
    assert files["config.json"] != before.encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def test_what_a_keras_file_may_not_have_is_named(tmp_path: Path) -> None:
    path = tmp_path / "theirs.keras"
    keras_network(layers.UpSampling2D(2, name="larger")).save(path)
    assert "larger: no ONNX form for the layer UpSampling2D" in rejected(tmp_path, path)
    keras_network(keras.Sequential([keras.Input((8, 8, 4)), layers.Conv2D(4, 1)], name="inner")).save(path)
    assert "the layer 'inner' is a model within the model (Sequential)" in rejected(tmp_path, path)
    keras_network(ending="sigmoid").save(path)
    assert "the last layer 'logits' ends in sigmoid" in rejected(tmp_path, path)
    keras_network().save(path)
    assert "expected one of (None, 2), a score per label" in rejected(tmp_path, path, labels=("a", "b"))
    path.write_bytes(b"no zip")
    assert "not a .keras file" in rejected(tmp_path, path)


def test_a_network_that_would_be_served_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = saved(tmp_path, onnx_network())
    read = importing.READERS[".onnx"]

    def mistaken(*arguments: Any) -> Any:
        found = read(*arguments)
        tensor = next(each for each in found.proto.graph.initializer if each.name == "image/added")
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + np.float32(0.5), tensor.name))
        return found

    monkeypatch.setitem(importing.READERS, ".onnx", mistaken)
    assert "what would be served differs from it by" in rejected(tmp_path, network, preprocessing=TORCH)


def test_labels_may_differ_in_case_as_two_of_imagenets_do(tmp_path: Path) -> None:
    names = ("Cardigan", "cardigan")  # a dog and a garment
    (tmp_path / "labels.txt").write_text("\n".join(names))
    assert importing.read_labels(tmp_path / "labels.txt") == names


def test_labels_and_pictures_that_do_not_fit_are_rejected(tmp_path: Path) -> None:
    network = saved(tmp_path, onnx_network())
    assert "1 labels; expected 2 to 1,000" in rejected(tmp_path, network, labels=("a",))
    assert "the label 'a' is there twice" in rejected(tmp_path, network, labels=("a", "b", "a"))
    message = rejected(tmp_path, network, labels=("a\tb", "c", "d"))
    assert "the label 'a\\tb'; expected 1 to 100 characters without control characters" in message
    other = folder(tmp_path / "check", 3)
    assert "the label 'red' is not in" in rejected(tmp_path, network, labels=("blue", "green", "rot"), check=other)
    (tmp_path / "network.pt").touch()
    assert "expected a file that ends in .onnx or .keras" in rejected(tmp_path, tmp_path / "network.pt")


def test_a_folder_that_cannot_be_written_and_a_full_disk_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = saved(tmp_path, onnx_network())
    (tmp_path / "models").touch()
    assert "models: cannot be written (File exists); expected a writable folder" in rejected(tmp_path, network)
    (tmp_path / "models").unlink()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(release, "seal", full)
    message = rejected(tmp_path, network)
    assert message.startswith(str(tmp_path / "models" / "theirs"))
    assert "cannot be written (No space left on device); what was there before is kept" in message


def test_the_command_line_checks_its_numbers(tmp_path: Path) -> None:
    def told(*more: str) -> str:
        with pytest.raises(SystemExit) as caught:
            __main__.main(["import", str(tmp_path / "n.onnx"), "--labels", "l", "--name", "theirs", *more])
        return str(caught.value)

    assert "--scale is '0..2'; expected one of 0..1, -1..1, 0..255" in told("--scale", "0..2")
    assert "--mean is '1,2'; expected 1 number, or 3" in told("--mean", "1,2")
    assert "--std is '0'; expected values above 0" in told("--std", "0")
    assert "--mean is 0.5; expected --scale 0..1 with it" in told("--mean", "0.5")
    assert "n.onnx: no such file" in told("--models", str(tmp_path))
