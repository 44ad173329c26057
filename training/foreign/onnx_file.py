"""An ONNX classifier: checked, with its preprocessing put before it and its layers' outputs made visible."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino as ov
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper, shape_inference

from training.foreign.network import LARGEST, SIDES, Foreign, Images, ImportFailure, Layout, Preprocessing
from training.release.calibrate import softmax

OLDEST_OPSET = 9
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


def read(path: Path, labels: int, preprocessing: Preprocessing, layout: Layout | None) -> Foreign:
    """The network in the file, for so many labels. Raises ImportFailure."""
    model = _loaded(path)
    entry = _only_input(path, model)
    layout, size, channels = _shape(path, entry, layout)
    output = _output(path, model, labels)
    entry.type.tensor_type.shape.dim[0].dim_param = "N"
    original = _Original(path, model, entry, output, preprocessing, layout, channels)
    probabilities = original.gives_probabilities(size)
    graph = _Graph(compose.add_prefix(model, PREFIX), PREFIX + entry.name)
    proto = graph.rewritten(PREFIX + output, size, channels, labels, preprocessing, layout, probabilities)
    return Foreign(proto, graph.layers, size, channels, layout, original)


def _loaded(path: Path) -> onnx.ModelProto:
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise ImportFailure(f"{path}: {size:,} bytes; expected at most {LARGEST:,}")
        model = onnx.load(path, load_external_data=False)
    except OSError as error:
        raise ImportFailure(f"{path}: cannot be read ({error.strerror})") from error
    except ImportFailure:
        raise
    except Exception as error:  # protobuf raises its own
        raise ImportFailure(f"{path}: not an ONNX file ({_line(error)})") from error
    outside = [t.name for t in model.graph.initializer if t.data_location == TensorProto.EXTERNAL]
    if outside:
        raise ImportFailure(f"{path}: the weights {outside[0]!r} are in another file; expected all in this one")
    foreign = sorted({f"{n.domain}.{n.op_type}" for n in model.graph.node if n.domain not in ("", "ai.onnx")})
    if foreign:
        raise ImportFailure(f"{path}: the operators {', '.join(foreign)} are not ONNX's own; expected ai.onnx only")
    version = max((opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")), default=0)
    if version < OLDEST_OPSET:
        raise ImportFailure(f"{path}: opset {version}; expected at least {OLDEST_OPSET}")
    try:
        onnx.checker.check_model(model)
    except Exception as error:
        raise ImportFailure(f"{path}: not a valid ONNX model ({_line(error)})") from error
    return model


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _only_input(path: Path, model: onnx.ModelProto) -> onnx.ValueInfoProto:
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [entry for entry in model.graph.input if entry.name not in weights]
    if len(inputs) != 1:
        found = ", ".join(repr(entry.name) for entry in inputs) or "none"
        raise ImportFailure(f"{path}: the inputs are {found}; expected one, a batch of pictures")
    kind = inputs[0].type.tensor_type.elem_type
    if kind not in (TensorProto.FLOAT, TensorProto.UINT8):
        name = TensorProto.DataType.Name(kind).lower()
        raise ImportFailure(f"{path}: the input {inputs[0].name!r} is {name}; expected float or uint8")
    return inputs[0]


def _dimensions(entry: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_value or dim.dim_param or "?" for dim in entry.type.tensor_type.shape.dim]


def _shape(path: Path, entry: onnx.ValueInfoProto, layout: Layout | None) -> tuple[Layout, int, int]:
    """The layout, the pixels along each side, and the channels."""
    shape = _dimensions(entry)
    described = f"{path}: the input {entry.name!r} is ({', '.join(map(str, shape))})"
    expected = "(batch, side, side, channels) or (batch, channels, side, side) with 1 or 3 channels"
    if len(shape) != 4:
        raise ImportFailure(f"{described}; expected {expected}")
    fitting: list[Layout] = []
    if shape[1] in (1, 3):
        fitting.append("nchw")
    if shape[3] in (1, 3):
        fitting.append("nhwc")
    if layout:
        fitting = [each for each in fitting if each == layout]
    if len(fitting) != 1:
        said = f"--layout {layout}" if layout else "--layout nchw or nhwc" if fitting else ""
        raise ImportFailure(f"{described}; expected {expected}{f', {said}' if said else ''}")
    channels, rows, columns = (shape[place] for place in ((1, 2, 3) if fitting[0] == "nchw" else (3, 1, 2)))
    if isinstance(rows, str) or isinstance(columns, str):
        raise ImportFailure(f"{described}: its size is dynamic; expected a fixed one from {SIDES[0]} to {SIDES[-1]}")
    if rows != columns or rows not in SIDES:
        raise ImportFailure(f"{described}; expected a square of {SIDES[0]} to {SIDES[-1]} pixels along each side")
    return fitting[0], rows, int(channels)


def _output(path: Path, model: onnx.ModelProto, labels: int) -> str:
    """The name of the output that scores the labels."""
    shapes = {entry.name: _dimensions(entry) for entry in model.graph.output}
    fitting = [name for name, shape in shapes.items() if len(shape) == 2 and shape[1] == labels]
    if len(fitting) != 1:
        found = ", ".join(f"{name!r} ({', '.join(map(str, shape))})" for name, shape in shapes.items())
        raise ImportFailure(f"{path}: the outputs are {found}; expected one of (batch, {labels}), a score per label")
    producer = next((node for node in model.graph.node if fitting[0] in node.output), None)
    if producer is not None and producer.op_type == "Sigmoid":
        raise ImportFailure(
            f"{path}: {fitting[0]!r} ends in Sigmoid, a yes or no per label; expected one label a picture"
        )
    return str(fitting[0])


class _Original:
    """The file as it is, given preprocessed pictures: what it is compared with. Gives probabilities."""

    def __init__(
        self,
        path: Path,
        model: onnx.ModelProto,
        entry: onnx.ValueInfoProto,
        output: str,
        preprocessing: Preprocessing,
        layout: Layout,
        channels: int,
    ) -> None:
        self._factors, self._layout = preprocessing.factors(channels), layout
        self._floats = entry.type.tensor_type.elem_type == TensorProto.FLOAT
        self._path, self._probabilities = path, False
        core = ov.Core()
        try:
            read = core.read_model(model.SerializeToString())
            read = ov.Model([read.output(output)], read.get_parameters(), "original")
            settings = {"INFERENCE_PRECISION_HINT": "f32"}
            self._request = core.compile_model(read, "CPU", settings).create_infer_request()
        except RuntimeError as error:
            last = str(error).strip().splitlines()[-1]
            raise ImportFailure(f"{path}: the engine cannot load it ({last:.200})") from error

    def gives_probabilities(self, size: int) -> bool:
        """Whether what comes out for random pictures are probabilities; logits otherwise."""
        channels = len(self._factors[0])
        pictures = np.random.default_rng(0).integers(0, 256, (4, size, size, channels)).astype(np.uint8)
        found = self._raw(pictures)
        self._probabilities = bool((found >= 0).all() and np.allclose(found.sum(axis=1), 1, atol=1e-3))
        return self._probabilities

    def __call__(self, images: Images) -> NDArray[np.float64]:
        found = self._raw(images)
        return found.astype(np.float64) if self._probabilities else softmax(found)

    def _raw(self, images: Images) -> NDArray[np.float32]:
        values: NDArray[Any] = images
        if self._floats:
            values = images * self._factors[0] + self._factors[1]
        if self._layout == "nchw":
            values = values.transpose(0, 3, 1, 2)
        try:
            self._request.infer([np.ascontiguousarray(values)])
        except RuntimeError as error:
            last = str(error).strip().splitlines()[-1]
            raise ImportFailure(
                f"{self._path}: cannot answer {len(images)} pictures at once ({last:.200}); expected a free batch size"
            ) from error
        return np.array(self._request.get_output_tensor(0).data)


class _Graph:
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
        self._shapes = {entry.name: _dimensions(entry) for entry in values}
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
        nodes, infos, pictures, taken = [], [], set[str](), {"image", "logits", "typicality"}
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
            name = _free_name(node.name.removeprefix(PREFIX) or tensor.removeprefix(PREFIX), taken)
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


def _free_name(wanted: str, taken: set[str]) -> str:
    """`wanted` in letters that a layer's name may have, and not one that is taken."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", wanted).strip("_")[:90] or "layer"
    name, number = plain, 2
    while name in taken:
        name, number = f"{plain}_{number}", number + 1
    taken.add(name)
    return name


def free_names(wanted: Iterable[str]) -> list[str]:
    """Each as a layer may be called, all different."""
    taken = {"image", "logits", "typicality", "preprocess"}
    return [_free_name(name, taken) for name in wanted]
