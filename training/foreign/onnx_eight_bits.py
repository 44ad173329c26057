"""An ONNX graph whose middle layers multiply in int8, made from the one in float32 and from pictures.

The numbers are those of `training.release.eight_bits`, as for the networks that are trained here.
"""

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from training.foreign.network import Images
from training.own.graph import Graph
from training.release import eight_bits
from training.release.eight_bits import OUTLIERS, Range

OLDEST_OPSET = 13
"""The first in which each filter may have a step of its own."""

BATCH = 8
MOST_VALUES = 1_000_000
"""What is looked at of a layer's input in each batch."""


@dataclass(frozen=True)
class _Layer:
    """A node that multiplies its first input by `kernel`, whose filters lie along `axis`."""

    node: onnx.NodeProto
    kernel: NDArray[np.float32]
    axis: int


def quantized(proto: onnx.ModelProto, images: Images) -> onnx.ModelProto | None:
    """The graph `proto`, from `image` to `logits` alone, in int8 but for its first layer and its last.

    `images` (N, side, side, channels) uint8 show what the layers are given. Returns None where no layer is between
    those two, or the file is older than OLDEST_OPSET.
    """
    layers = _layers(proto)[1:-1]
    if not layers or next(opset.version for opset in proto.opset_import) < OLDEST_OPSET:
        return None
    found = _ranges(proto, [layer.node.input[0] for layer in layers], images)
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    places = {layer.node.output[0]: (number, layer) for number, layer in enumerate(layers)}
    nodes: list[onnx.NodeProto] = []
    for node in made.graph.node:
        if node.output[0] in places:
            number, layer = places[node.output[0]]
            nodes += _around(made.graph, node, layer, found[node.input[0]], f"int8/{number}")
        nodes.append(node)
    _keep(made.graph, nodes, "logits")
    onnx.checker.check_model(made)
    return made


def _layers(proto: onnx.ModelProto) -> list[_Layer]:
    """The nodes with a kernel of their own, in order, without convolutions of each channel by itself: they are cheap,
    and lose most to eight bits.
    """
    weights = {tensor.name: tensor for tensor in proto.graph.initializer if tensor.data_type == TensorProto.FLOAT}
    found = []
    for node in proto.graph.node:
        kind = node.op_type
        if kind not in ("Conv", "Gemm", "MatMul") or node.input[1] not in weights or node.input[0] in weights:
            continue
        kernel = numpy_helper.to_array(weights[node.input[1]])
        if kind == "Conv" and kernel.shape[1] > 1:
            found.append(_Layer(node, kernel, axis=0))
        if kind != "Conv" and kernel.ndim == 2 and not _is_set(node, "transA"):
            found.append(_Layer(node, kernel, axis=0 if _is_set(node, "transB") else 1))
    return found


def _is_set(node: onnx.NodeProto, name: str) -> bool:
    return any(each.name == name and each.type == AttributeProto.INT and each.i for each in node.attribute)


def _ranges(proto: onnx.ModelProto, tensors: list[str], images: Images) -> dict[str, Range]:
    """The range of each tensor, but for OUTLIERS at either end."""
    shown = onnx.ModelProto()
    shown.CopyFrom(proto)
    names = tuple(dict.fromkeys(tensors))
    there = {output.name for output in shown.graph.output}
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in there)
    graph = Graph(shown, names)
    ends = []
    for start in range(0, len(images), BATCH):
        found = (values.ravel() for values in graph([images[start : start + BATCH]]))
        some = (values[:: -(-values.size // MOST_VALUES)] for values in found)
        ends.append([np.quantile(values, [OUTLIERS, 1 - OUTLIERS]) for values in some])
    return {name: (low, high) for name, (low, high) in zip(names, np.mean(ends, axis=0).tolist(), strict=True)}


def _around(
    graph: onnx.GraphProto, node: onnx.NodeProto, layer: _Layer, found: Range, name: str
) -> list[onnx.NodeProto]:
    """Let both factors of `node` pass through eight bits; returns the nodes that come before it."""
    step, zero = eight_bits.inputs(found)
    filters, steps = eight_bits.filters(layer.kernel, layer.axis)
    values = {
        "step": step,
        "zero": zero,
        "kernel": filters,
        "steps": steps.astype(np.float32),
        "zeros": np.zeros(steps.size, np.int8),
    }
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), f"{name}/{key}") for key, value in values.items()
    )
    step_and_zero = [f"{name}/step", f"{name}/zero"]
    before = [
        helper.make_node("QuantizeLinear", [node.input[0], *step_and_zero], [f"{name}/numbers"]),
        helper.make_node("DequantizeLinear", [f"{name}/numbers", *step_and_zero], [f"{name}/input"]),
        helper.make_node(
            "DequantizeLinear",
            [f"{name}/kernel", f"{name}/steps", f"{name}/zeros"],
            [f"{name}/weights"],
            axis=layer.axis,
        ),
    ]
    node.input[0], node.input[1] = f"{name}/input", f"{name}/weights"
    return before


def _keep(graph: onnx.GraphProto, nodes: list[onnx.NodeProto], output: str) -> None:
    """Leave in `graph` what `output` is made from."""
    needed, kept = {output}, []
    for node in reversed(nodes):
        if needed & set(node.output):
            kept.append(node)
            needed |= set(node.input)
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    outputs = [each for each in graph.output if each.name == output]
    for field, values in ((graph.node, kept[::-1]), (graph.initializer, weights), (graph.output, outputs)):
        copies = [type(value).FromString(value.SerializeToString()) for value in values]
        del field[:]
        field.extend(copies)
