"""An ONNX graph rewritten: its preprocessing before it, its layers' outputs and logits made visible."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from training.foreign.layer_names import TAKEN, free_name
from training.foreign.network import Layout, Preprocessing

PREFIX = "net/"
"""Before every name of the foreign graph, so that none is one of ours."""

PICTURES = {
    "Conv": "convolution",
    "MaxPool": "max pooling",
    "AveragePool": "average pooling",
    "GlobalMaxPool": "global max pooling",
    "GlobalAveragePool": "global average pooling",
    "BatchNormalization": "batch normalization",
}
"""Operators whose outputs are channels first, always, and their kinds of layers."""

ALIKE = {"Relu": "activation", "LeakyRelu": "activation", "Sigmoid": "activation", "Tanh": "activation", "Add": "add"}
"""Operators whose outputs are laid out as their inputs are."""

DENSE = ("Gemm", "MatMul")
SMALLEST_PROBABILITY = 1e-12


def dimensions(entry: onnx.ValueInfoProto) -> list[int | str]:
    """The shape as the file says it: numbers, or names of those that are free."""
    return [dim.dim_value or dim.dim_param or "?" for dim in entry.type.tensor_type.shape.dim]


class OnnxGraph:
    """The foreign graph, with names of its own kind, to which nodes are added."""

    def __init__(self, model: onnx.ModelProto, entry: str) -> None:
        for output in model.graph.output:
            output.type.tensor_type.shape.ClearField("dim")
        del model.graph.value_info[:]
        self.model = shape_inference.infer_shapes(model)
        self.entry = entry
        self.layers: list[dict[str, Any]] = []
        self._nodes = list(self.model.graph.node)
        self._producers = {name: node for node in self._nodes for name in node.output}
        self._weights = {tensor.name: tensor for tensor in self.model.graph.initializer}
        values = [*self.model.graph.value_info, *self.model.graph.output, *self.model.graph.input]
        self._shapes = {entry.name: dimensions(entry) for entry in values}
        self._layer_of: dict[str, str] = {}

    def rewritten(
        self,
        output: str,
        size: int,
        channels: int,
        labels: int,
        preprocessing: Preprocessing,
        layout: Layout,
        probabilities: bool,
    ) -> onnx.ModelProto:
        """From pictures to logits, with an output for each of `layers`, which it fills."""
        before = self._before(preprocessing, layout, channels)
        shown, infos = self._shown()
        logits = self._logits(output, probabilities)
        made = helper.make_graph(
            [*before, *self._nodes, *logits, *shown],
            "imported",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", size, size, channels])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", labels]), *infos],
            [*self.model.graph.initializer, *self._own],
        )
        opsets = [opset for opset in self.model.opset_import if opset.domain in ("", "ai.onnx")]
        proto = helper.make_model(
            made, opset_imports=opsets, ir_version=min(self.model.ir_version, 10), producer_name="convoscope"
        )
        onnx.checker.check_model(proto)
        return proto

    def _before(self, preprocessing: Preprocessing, layout: Layout, channels: int) -> list[onnx.NodeProto]:
        """From uint8 pictures, channels last, to what the network takes."""
        self._own: list[onnx.TensorProto] = []
        nodes, last = [], "image"
        kind = next(e.type.tensor_type.elem_type for e in self.model.graph.input if e.name == self.entry)
        if kind == TensorProto.FLOAT:
            multiplied, added = preprocessing.factors(channels)
            self._own += [
                numpy_helper.from_array(multiplied, "image/multiplied"),
                numpy_helper.from_array(added, "image/added"),
            ]
            nodes = [
                helper.make_node("Cast", ["image"], ["image/float"], to=TensorProto.FLOAT),
                helper.make_node("Mul", ["image/float", "image/multiplied"], ["image/product"]),
                helper.make_node("Add", ["image/product", "image/added"], ["image/sum"]),
            ]
            last = "image/sum"
        if layout == "nchw":
            nodes.append(helper.make_node("Transpose", [last], [self.entry], perm=(0, 3, 1, 2)))
        else:
            nodes.append(helper.make_node("Identity", [last], [self.entry]))
        return nodes

    def _logits(self, output: str, probabilities: bool) -> list[onnx.NodeProto]:
        """What softmax was given, or the logarithm of probabilities whose softmax is hidden, or the output itself."""
        producer = self._producers.get(output)
        if producer is not None and producer.op_type == "Softmax":
            return [helper.make_node("Identity", [producer.input[0]], ["logits"])]
        if not probabilities:
            return [helper.make_node("Identity", [output], ["logits"])]
        self._own.append(numpy_helper.from_array(np.array(SMALLEST_PROBABILITY, np.float32), "logits/smallest"))
        return [
            helper.make_node("Max", [output, "logits/smallest"], ["logits/positive"]),
            helper.make_node("Log", ["logits/positive"], ["logits"]),
        ]

    def _shown(self) -> tuple[list[onnx.NodeProto], list[onnx.ValueInfoProto]]:
        """Nodes that give each layer's output, channels last, under its name."""
        nodes, infos, pictures, taken = [], [], set[str](), set(TAKEN)
        for node in self._nodes:
            tensor = node.output[0] if node.output else ""
            kind = PICTURES.get(node.op_type) or ALIKE.get(node.op_type)
            if node.op_type in PICTURES or (node.op_type in ALIKE and node.input[0] in pictures):
                pictures.add(tensor)
            elif node.op_type in DENSE and node.input[1] in self._weights:
                kind = "dense"
            elif kind is None or len(self._shapes.get(tensor, [])) != 2:
                continue
            shape = self._shapes.get(tensor, [])[1:]
            if len(shape) not in (1, 3) or not all(isinstance(size, int) for size in shape):
                continue
            name = free_name(node.name.removeprefix(PREFIX) or tensor.removeprefix(PREFIX), taken)
            if len(shape) == 3:
                shape = [*shape[1:], shape[0]]
                nodes.append(helper.make_node("Transpose", [tensor], [name], perm=(0, 2, 3, 1)))
            else:
                nodes.append(helper.make_node("Identity", [tensor], [name]))
            infos.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape]))
            self.layers.append(self._described(node, name, str(kind), [int(size) for size in shape]))
            self._layer_of[tensor] = name
        return nodes, infos

    def _described(self, node: onnx.NodeProto, name: str, kind: str, shape: list[int]) -> dict[str, Any]:
        """As metadata.json has it."""
        weights = [self._weights[each] for each in node.input[1:] if each in self._weights]
        attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        multiplied = int(np.prod(weights[0].dims)) if weights and kind in ("convolution", "dense") else 0
        if multiplied and not attributes.get("transB"):
            self._rename(node, name)
        window = attributes.get("kernel_shape")
        if kind == "convolution" and weights:
            window = list(weights[0].dims[2:])
        sources = [each for each in node.input if each not in self._weights]
        return {
            "name": name,
            "kind": kind,
            "inputs": list(dict.fromkeys(self._source(each) for each in sources)),
            "input_shapes": [self._channels_last(each) for each in sources],
            "output_shape": shape,
            "parameters": sum(int(np.prod(tensor.dims)) for tensor in weights),
            "multiply_adds": multiplied * (shape[0] * shape[1] if kind == "convolution" else 1),
            "kernel": list(window) if window else None,
            "stride": list(attributes.get("strides", [1, 1])) if window else None,
            "padding": _padding(attributes) if window else None,
            "activation": node.op_type.lower() if kind == "activation" else None,
            "receptive_field": None,
        }

    def _rename(self, node: onnx.NodeProto, layer: str) -> None:
        """Give the weights the names by which the service finds them, unless other nodes share them."""
        for place, kind in enumerate(("kernel", "bias"), start=1):
            if place >= len(node.input) or node.input[place] not in self._weights:
                continue
            tensor = self._weights[node.input[place]]
            shared = sum(tensor.name in other.input for other in self._nodes) > 1
            if not shared and tensor.data_type == TensorProto.FLOAT:
                del self._weights[tensor.name]
                tensor.name = node.input[place] = f"{layer}/{kind}"
                self._weights[tensor.name] = tensor

    def _source(self, tensor: str) -> str:
        """The layer whose output `tensor` is, or was made from."""
        while tensor not in self._layer_of:
            node = self._producers.get(tensor)
            if node is None or not node.input:
                return "image"
            tensor = node.input[0]
        return self._layer_of[tensor]

    def _channels_last(self, tensor: str) -> list[int]:
        shape = [size if isinstance(size, int) else 0 for size in self._shapes.get(tensor, [])[1:]]
        return [*shape[1:], shape[0]] if len(shape) == 3 else shape


def _padding(attributes: dict[str, Any]) -> str:
    """Whether a border is added or not; ONNX can add any."""
    automatic = attributes.get("auto_pad", b"NOTSET").startswith(b"SAME")
    return "same" if automatic or any(attributes.get("pads", ())) else "valid"
