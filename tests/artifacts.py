"""Miniature artifacts for tests: one convolution, an average over the picture, one dense layer."""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from PIL import Image

FILTERS = 4
Pixels = NDArray[np.uint8]


def write(
    folder: Path,
    labels: Sequence[str] = ("no", "yes"),
    *,
    size: int = 16,
    channels: int = 3,
    version: str = "1",
    name: str | None = None,
    says: int | None = None,
    typicality: bool = False,
    pictures: int = 0,
    **metadata: Any,
) -> Path:
    """Write an artifact into `folder`, which appears whole; returns it.

    `says` is the index of a label that the network is sure of, whatever the picture; there are so many `pictures` as
    examples. Other metadata as given.
    """
    hidden = folder.with_name(f".{folder.name}.new")
    (hidden / "examples").mkdir(parents=True)
    graph = network(len(labels), size, channels, says, typicality)
    (hidden / "model.onnx").write_bytes(graph.SerializeToString())
    (hidden / "README.md").write_text(f"# {name or folder.name}\n")
    shown = []
    for i in range(pictures):
        (hidden / "examples" / f"{i}.png").write_bytes(png(picture(size, i)))
        shown.append({"file": f"examples/{i}.png", "label": labels[i % len(labels)]})
    files = {str(path.relative_to(hidden)): digest(path) for path in sorted(hidden.rglob("*.*")) if path.is_file()}
    about = described(name or folder.name, version, labels, size, channels) | {"files": files, "examples": shown}
    if typicality:
        quantiles = [0.0, 64.0, 128.0, 192.0, 255.0]
        about["out_of_distribution"] = {"method": "brightness", "quantiles": quantiles, "threshold": 0.95}
    (hidden / "metadata.json").write_text(json.dumps(about | metadata))
    if folder.exists():
        old = folder.with_name(f".{folder.name}.old")
        os.replace(folder, old)
        shutil.rmtree(old)
    os.replace(hidden, folder)
    return folder


def described(name: str, version: str, labels: Sequence[str], size: int, channels: int) -> dict[str, Any]:
    """The least that metadata.json has to say of `network`."""
    half = size // 2
    plain = {"padding": None, "activation": None, "kernel": None, "stride": None, "receptive_field": None}
    convolution = {
        "name": "conv",
        "kind": "convolution",
        "inputs": ["image"],
        "input_shapes": [[size, size, channels]],
        "output_shape": [half, half, FILTERS],
        "parameters": 9 * channels * FILTERS,
        "multiply_adds": half * half * 9 * channels * FILTERS,
    }
    layers = [
        convolution | plain | {"kernel": [3, 3], "stride": [2, 2], "padding": "same", "activation": "relu"},
        {
            "name": "pool",
            "kind": "global average pooling",
            "inputs": ["conv"],
            "input_shapes": [[half, half, FILTERS]],
            "output_shape": [FILTERS],
            "parameters": 0,
            "multiply_adds": 0,
        },
        {
            "name": "logits",
            "kind": "dense",
            "inputs": ["pool"],
            "input_shapes": [[FILTERS]],
            "output_shape": [len(labels)],
            "parameters": FILTERS * len(labels) + len(labels),
            "multiply_adds": FILTERS * len(labels),
        },
    ]
    return {
        "format": 1,
        "name": name,
        "version": version,
        "labels": list(labels),
        "input": {"size": size, "channels": channels},
        "parameters": sum(layer["parameters"] for layer in layers),
        "multiply_adds": sum(layer["multiply_adds"] for layer in layers),
        "layers": layers,
    }


def network(labels: int, size: int, channels: int, says: int | None, typicality: bool) -> onnx.ModelProto:
    """The graph of `described`, with weights that depend on its shape only; typicality is the mean brightness."""
    random = np.random.default_rng(labels * size * channels)
    bias = np.zeros(labels, np.float32)
    if says is not None:
        bias[says] = 100
    weights = {
        "conv/kernel": random.normal(0, 0.05, (FILTERS, channels, 3, 3)).astype(np.float32),
        "logits/kernel": random.normal(0, 0.3, (FILTERS, labels)).astype(np.float32),
        "logits/bias": bias,
    }
    node = helper.make_node
    nodes = [
        node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        node("Transpose", ["float"], ["first"], perm=(0, 3, 1, 2)),
        node("Conv", ["first", "conv/kernel"], ["raw"], strides=(2, 2), pads=(0, 0, 1, 1)),
        node("Relu", ["raw"], ["relu"]),
        node("Transpose", ["relu"], ["conv"], perm=(0, 2, 3, 1)),
        node("GlobalAveragePool", ["relu"], ["pooled"]),
        node("Flatten", ["pooled"], ["pool"]),
        node("Gemm", ["pool", "logits/kernel", "logits/bias"], ["logits"]),
    ]
    half = size // 2
    shapes: dict[str, list[int | str]] = {
        "logits": ["N", labels],
        "conv": ["N", half, half, FILTERS],
        "pool": ["N", FILTERS],
    }
    if typicality:
        nodes.append(node("ReduceMean", ["float"], ["typicality"], axes=[1, 2, 3], keepdims=0))
        shapes["typicality"] = ["N"]
    graph = helper.make_graph(
        nodes,
        "miniature",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", size, size, channels])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def expected(folder: Path, pictures: Pixels) -> NDArray[np.float64]:
    """The probabilities (N, labels) of pictures (N, size, size, channels), by ONNX's reference implementation."""
    (logits,) = ReferenceEvaluator(str(folder / "model.onnx")).run(["logits"], {"image": pictures})
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def picture(size: int, seed: int = 0, channels: int = 3) -> Pixels:
    """Noise around a grey of its own, so that pictures differ in brightness."""
    random = np.random.default_rng(seed)
    return (random.integers(0, 128, (size, size, channels)) + random.integers(0, 128)).astype(np.uint8)


def png(pixels: Pixels) -> bytes:
    """(H, W, 3) or (H, W, 1) as a file."""
    file = io.BytesIO()
    Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0]).save(file, "PNG")
    return file.getvalue()


def npy(array: NDArray[Any]) -> bytes:
    """An array as a file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
