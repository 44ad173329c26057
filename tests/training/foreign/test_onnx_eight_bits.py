"""Importing a network that may be computed in int8, and one that may not."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
from keras import layers
from onnx import TensorProto, helper, numpy_helper

from tests.training.own.shapes import folder, square
from training.foreign import onnx_eight_bits
from training.foreign.importing import Options, import_
from training.foreign.network import Preprocessing
from training.own.graph import Graph
from training.release import precision

SIDE = 16
LABELS = ("blue", "green", "red")


def colours(loud: float = 0.0, opset: int = 17) -> onnx.ModelProto:
    """Three convolutions and a dense layer that score how much of each colour there is, and `loud` of what the second
    convolution is given and leaves out."""
    passed = np.zeros((4, 3, 1, 1), np.float32)
    passed[[0, 1, 2], [2, 1, 0]] = 1
    passed[3] = loud
    blurred = np.zeros((3, 4, 3, 3), np.float32)
    blurred[[0, 1, 2], [0, 1, 2]] = 1 / 9
    weights = {
        "passed": passed,
        "blurred": blurred,
        "same": np.eye(3, dtype=np.float32)[..., None, None],
        "dense": 0.2 * np.eye(3, dtype=np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "passed"], ["first"]),
        helper.make_node("Conv", ["first", "blurred"], ["second"], pads=(1, 1, 1, 1)),
        helper.make_node("Conv", ["second", "same"], ["third"]),
        helper.make_node("GlobalAveragePool", ["third"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "dense"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 3, SIDE, SIDE))],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ("N", 3))],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def pictures() -> Any:
    return np.stack([square((220, 30, 30), seed, SIDE) for seed in range(20)])


def imported(place: Path, network: Path) -> tuple[Path, dict[str, Any]]:
    place.mkdir(exist_ok=True)
    (place / "labels.txt").write_text("\n".join(LABELS))
    check = folder(place / "check", 140)
    made = import_(
        Options(network, place / "labels.txt", "theirs", place / "models", place / "runs", Preprocessing(), check=check)
    )
    return made, json.loads((made / "metadata.json").read_text())


def saved(place: Path, model: onnx.ModelProto) -> Path:
    path = place / "theirs.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def kernels(path: Path) -> list[tuple[int, ...]]:
    """The shapes of the kernels in eight bits."""
    weights = onnx.load(path).graph.initializer
    return [tuple(each.dims) for each in weights if each.data_type == TensorProto.INT8 and len(each.dims) > 1]


def test_the_middle_layers_of_an_onnx_network_multiply_in_eight_bits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, about = imported(tmp_path, saved(tmp_path, colours()))
    assert "int8" in about["precision"]["exact"]
    assert about["precision"]["measured"]["int8"]["changed"] <= 0.01
    assert kernels(place / "model.int8.onnx") == [(3, 4, 3, 3), (3, 3, 1, 1)]
    full, eight = (Graph(place / name)([pictures()])[0] for name in ("model.onnx", "model.int8.onnx"))
    assert np.abs(full - eight).max() < 0.02 * np.abs(full).max()
    assert np.any(full != eight)
    assert "int8: 0.0% of the answers change, 100.0% are right instead of 100.0%: may be served" in (
        capsys.readouterr().out
    )
    assert "in int8 of the answers are others" in (place / "README.md").read_text()


def test_int8_that_changes_answers_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place, about = imported(tmp_path, saved(tmp_path, colours(loud=2000)))
    assert "int8" not in about["precision"]["exact"]
    assert about["precision"]["measured"]["int8"]["changed"] > 0.5
    assert not (place / "model.int8.onnx").exists()
    assert "model.int8.onnx" not in about["files"]
    assert "may not be served" in capsys.readouterr().out


def test_int8_that_is_right_as_often_but_answers_otherwise_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {name: {"changed": changed, "validation": 1.0} for name, changed in (("float32", 0.0), ("int8", 0.011))}
    monkeypatch.setattr(precision, "measure", lambda *_: {"exact": list(rows), "measured": rows})
    place, about = imported(tmp_path, saved(tmp_path, colours()))
    assert about["precision"]["exact"] == ["float32"]
    assert not (place / "model.int8.onnx").exists()
    rows["int8"]["changed"] = 0.01
    _, about = imported(tmp_path / "again", saved(tmp_path, colours()))
    assert about["precision"]["exact"] == ["float32", "int8"]


def test_a_keras_network_is_made_the_same_way(tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            layers.Conv2D(4, 3, name="first"),
            layers.DepthwiseConv2D(3),
            layers.Conv2D(5, 3, activation="relu", name="second"),
            layers.Flatten(),
            layers.Dense(6, name="third"),
            layers.Dense(3),
        ]
    )
    model.save(tmp_path / "theirs.keras")
    place, _ = imported(tmp_path, tmp_path / "theirs.keras")
    made = onnx_eight_bits.quantized(onnx.load(place / "model.onnx"), pictures())
    assert made is not None
    (tmp_path / "eight.onnx").write_bytes(made.SerializeToString())
    assert kernels(tmp_path / "eight.onnx") == [(5, 4, 3, 3), (500, 6)]
    full, eight = (Graph(path)([pictures()])[0] for path in (place / "model.onnx", tmp_path / "eight.onnx"))
    assert np.abs(full - eight).max() < 0.05 * np.abs(full).max()


def test_a_file_that_is_too_old_and_one_with_no_middle_stay_as_they_are(tmp_path: Path) -> None:
    place, about = imported(tmp_path, saved(tmp_path, colours(opset=12)))
    assert "int8" not in about["precision"]["measured"]
    assert not (place / "model.int8.onnx").exists()
    short = colours()
    del short.graph.node[2]
    short.graph.node[2].input[0] = "second"
    del short.graph.node[1]
    short.graph.node[1].input[0] = "first"
    assert onnx_eight_bits.quantized(short, pictures()) is None
