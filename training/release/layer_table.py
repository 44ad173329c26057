"""What metadata.json says of each layer of a Keras network: shapes, parameters, multiply-adds and receptive field."""

from typing import Any

import keras
import numpy as np

from training.models import DropConnect, StochasticPooling2D

KINDS = {
    keras.layers.Conv2D: "convolution",
    keras.layers.MaxPooling2D: "max pooling",
    keras.layers.AveragePooling2D: "average pooling",
    StochasticPooling2D: "stochastic pooling",
    DropConnect: "dense",
    keras.layers.GlobalMaxPooling2D: "global max pooling",
    keras.layers.GlobalAveragePooling2D: "global average pooling",
    keras.layers.BatchNormalization: "batch normalization",
}


def layer_table(model: keras.Model) -> list[dict[str, Any]]:
    """One row a layer for metadata.json; shapes without the batch, multiply-adds for one picture."""
    fields = receptive_fields(model)
    return [_row(layer) | {"receptive_field": fields[layer.name]} for layer in model.layers[1:]]


def _row(layer: Any) -> dict[str, Any]:
    inputs = layer.input if isinstance(layer.input, list) else [layer.input]
    kernel = getattr(layer, "kernel_size", getattr(layer, "pool_size", None))
    weights = layer.kernel if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense) else None
    positions = int(np.prod(layer.output.shape[1:-1]))
    return {
        "name": layer.name,
        "kind": KINDS.get(type(layer), type(layer).__name__.lower()),
        "inputs": input_names(layer),
        "input_shapes": [list(tensor.shape[1:]) for tensor in inputs],
        "output_shape": list(layer.output.shape[1:]),
        "parameters": layer.count_params(),
        "multiply_adds": 0 if weights is None else positions * int(np.prod(weights.shape)),
        "kernel": list(kernel) if kernel else None,
        "stride": list(layer.strides) if kernel else None,
        "padding": layer.padding if kernel else None,
        "activation": layer.activation.__name__ if hasattr(layer, "activation") else None,
    }


def input_names(layer: keras.Layer) -> list[str]:
    """The names of the layers whose outputs `layer` takes."""
    inputs = layer.input if isinstance(layer.input, list) else [layer.input]
    return [tensor._keras_history.operation.name for tensor in inputs]


def receptive_fields(model: keras.Model) -> dict[str, dict[str, list[int]]]:
    """Which pixels of the picture each layer's outputs depend on, along [rows, columns].

    The output at index i sees `size` pixels from `start + i * step` on, some of which may be padding. What sees the
    whole picture at once has a step of 0. After Araujo, Norris and Sim, "Computing Receptive Fields" (Distill, 2019).
    """
    fields = {model.input.name: {"size": [1, 1], "step": [1, 1], "start": [0, 0]}}
    for layer in model.layers[1:]:
        fields[layer.name] = _field(layer, [fields[name] for name in input_names(layer)])
    return fields


def _field(layer: Any, inputs: list[dict[str, list[int]]]) -> dict[str, list[int]]:
    size, step, start = [], [], []
    before = layer.input.shape if not isinstance(layer.input, list) else layer.input[0].shape
    kernel = getattr(layer, "kernel_size", getattr(layer, "pool_size", None))
    for axis in (0, 1):
        sees = max(field["step"][axis] for field in inputs)
        first = min(field["start"][axis] for field in inputs)
        extent = max(field["start"][axis] + field["size"][axis] for field in inputs) - first
        if kernel:
            stride, count = layer.strides[axis], before[1 + axis]
            covered = (kernel[axis] - 1) * getattr(layer, "dilation_rate", (1, 1))[axis] + 1
            overhang = max((-(-count // stride) - 1) * stride + covered - count, 0) if layer.padding == "same" else 0
            extent, first = extent + (covered - 1) * sees, first - overhang // 2 * sees
            sees *= stride
        elif len(before) == 4 and len(layer.output.shape) == 2:
            extent, sees = extent + (before[1 + axis] - 1) * sees, 0
        size.append(extent)
        step.append(sees)
        start.append(first)
    return {"size": size, "step": step, "start": start}
