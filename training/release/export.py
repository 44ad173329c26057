"""A Keras network as ONNX, layer by layer under its own name, so that the service can show what each one computes.

The graph is written with the `onnx` package directly: converters trace the computation and lose the layers.
Inside, pictures are channel-first, as ONNX wants them; every output is channel-last, as in Keras.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from training.models import SMALLEST, DropConnect, StochasticPooling2D
from training.release import eight_bits
from training.release.eight_bits import OUTLIERS, Range
from training.release.layer_table import input_names
from training.release.out_of_distribution import Typicality, classifier

OPSET = 17


class ExportError(Exception):
    """A layer cannot be written as ONNX, or the written graph computes something else; the message names the layer."""


TYPICALITY = "typicality"
"""The output that is no layer's."""


class _Graph:
    """Nodes and weights written so far. Tensors go by name; a layer's own is `<layer>/out`, channel-first.

    The layers that `ranges` names multiply in int8. With `half`, kernels are stored in half precision.
    """

    def __init__(self, ranges: Mapping[str, Range], half: bool = True) -> None:
        self.half = half
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.ranges = ranges

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def weight(self, values: Any, name: str) -> str:
        self.weights.append(numpy_helper.from_array(_numbers(values), name))
        return name

    def kernel(self, values: Any, name: str) -> str:
        """A kernel, in half precision if so asked: half the file for a change far below bfloat16's own rounding."""
        if not self.half:
            return self.weight(values, name)
        self.weights.append(numpy_helper.from_array(_numbers(values).astype(np.float16), f"{name}/half"))
        return self.node("Cast", [f"{name}/half"], name, to=TensorProto.FLOAT)

    def factors(self, layer: Any, tensor: str, kernel: NDArray[np.float32], axis: int) -> list[str]:
        """What `layer` multiplies: its input and its kernel, with the filters along `axis`; in int8, in eight bits."""
        if layer.name not in self.ranges:
            return [tensor, self.kernel(kernel, f"{layer.name}/kernel")]
        filters, steps = eight_bits.filters(kernel, axis)
        return [
            self._eight_bits(tensor, f"{layer.name}/input", *eight_bits.inputs(self.ranges[layer.name])),
            self._from_eight_bits(
                self.constant(filters, f"{layer.name}/kernel/int8"),
                f"{layer.name}/kernel",
                steps,
                np.zeros(steps.size, np.int8),
                axis=axis,
            ),
        ]

    def _eight_bits(self, tensor: str, name: str, step: Any, zero: Any) -> str:
        scale, point = self.weight(step, f"{name}/quantized/scale"), self.constant(zero, f"{name}/quantized/zero")
        quantized = self.node("QuantizeLinear", [tensor, scale, point], f"{name}/quantized")
        return self._from_eight_bits(quantized, name, step, zero)

    def _from_eight_bits(self, tensor: str, name: str, step: Any, zero: Any, **attributes: int) -> str:
        scale, point = self.weight(step, f"{name}/scale"), self.constant(zero, f"{name}/zero")
        return self.node("DequantizeLinear", [tensor, scale, point], f"{name}/restored", **attributes)

    def constant(self, values: Any, name: str) -> str:
        """Values of whatever type they are."""
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def activation(self, function: Any, tensor: str, name: str) -> str:
        match function.__name__:
            case "linear":
                return tensor
            case "relu" | "sigmoid" | "tanh" as kind:
                return self.node(kind.capitalize(), [tensor], f"{name}/{kind}")
            case "silu":
                gate = self.node("Sigmoid", [tensor], f"{name}/sigmoid")
                return self.node("Mul", [tensor, gate], f"{name}/silu")
        raise ExportError(f"{name}: no ONNX form for the activation {function.__name__}")


def _numbers(values: Any) -> NDArray[np.float32]:
    """A Keras variable, a tensor or plain numbers as an array."""
    return np.asarray(values.numpy() if hasattr(values, "numpy") else values, np.float32)


def _channels(values: Any) -> NDArray[np.float32]:
    """Per-channel values, shaped to go with a channel-first picture."""
    return _numbers(values).reshape(1, -1, 1, 1)


def _padding(layer: Any) -> str:
    return "SAME_UPPER" if layer.padding == "same" else "VALID"


def _rescaling(graph: _Graph, layer: Any, inputs: list[str]) -> str:
    scale, offset = (_channels(each) if np.ndim(each) else each for each in (layer.scale, layer.offset))
    scaled = graph.node("Mul", [*inputs, graph.weight(scale, f"{layer.name}/scale")], f"{layer.name}/scaled")
    return graph.node("Add", [scaled, graph.weight(offset, f"{layer.name}/offset")], f"{layer.name}/shifted")


def _normalization(graph: _Graph, layer: Any, inputs: list[str]) -> str:
    mean = graph.weight(_channels(layer.mean), f"{layer.name}/mean")
    deviation = graph.weight(np.sqrt(_channels(layer.variance)), f"{layer.name}/deviation")
    return graph.node(
        "Div", [graph.node("Sub", [*inputs, mean], f"{layer.name}/centred"), deviation], layer.name + "/z"
    )


def _convolution(graph: _Graph, layer: Any, inputs: list[str]) -> str:
    factors = graph.factors(layer, inputs[0], _numbers(layer.kernel).transpose(3, 2, 0, 1), axis=0)
    bias = [graph.weight(layer.bias, f"{layer.name}/bias")] if layer.use_bias else []
    convolved = graph.node(
        "Conv",
        [*factors, *bias],
        f"{layer.name}/convolution",
        auto_pad=_padding(layer),
        strides=layer.strides,
        dilations=layer.dilation_rate,
    )
    return graph.activation(layer.activation, convolved, layer.name)


def _depthwise(graph: _Graph, layer: Any, inputs: list[str]) -> str:
    """Each channel is convolved by itself, with `depth_multiplier` filters."""
    rows, columns, channels, multiplier = layer.kernel.shape
    kernel = _numbers(layer.kernel).transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, rows, columns)
    bias = [graph.weight(layer.bias, f"{layer.name}/bias")] if layer.use_bias else []
    convolved = graph.node(
        "Conv",
        [inputs[0], graph.kernel(kernel, f"{layer.name}/depthwise"), *bias],
        f"{layer.name}/convolution",
        auto_pad=_padding(layer),
        strides=layer.strides,
        dilations=layer.dilation_rate,
        group=channels,
    )
    return graph.activation(layer.activation, convolved, layer.name)


def _relu(graph: _Graph, layer: Any, inputs: list[str]) -> str:
    if layer.threshold:
        raise ExportError(f"{layer.name}: no ONNX form for a ReLU with a threshold")
    name = f"{layer.name}/relu"
    positive = graph.node("LeakyRelu", inputs, name, alpha=float(layer.negative_slope))
    if layer.max_value is None:
        return positive
    return graph.node("Min", [positive, graph.weight(layer.max_value, f"{layer.name}/most")], f"{layer.name}/clipped")


def _zero_padding(graph: _Graph, layer: Any, inputs: list[str]) -> str:
    (top, bottom), (left, right) = layer.padding
    pads = graph.constant(np.array([0, 0, top, left, 0, 0, bottom, right], np.int64), f"{layer.name}/pads")
    return graph.node("Pad", [*inputs, pads], f"{layer.name}/padded")


def _concatenate(graph: _Graph, layer: Any, inputs: list[str]) -> str:
    rank = len(layer.output.shape)
    if layer.axis not in (-1, rank - 1):
        raise ExportError(f"{layer.name}: no ONNX form for Concatenate along axis {layer.axis}; expected the channels")
    return graph.node("Concat", inputs, f"{layer.name}/joined", axis=1)


def _passed_on(graph: _Graph, layer: Any, inputs: list[str]) -> str:
    """What a layer gives that does nothing once training is over."""
    return inputs[0]


def _dense(graph: _Graph, layer: Any, inputs: list[str]) -> str:
    factors = graph.factors(layer, inputs[0], _numbers(layer.kernel), axis=1)
    bias = [graph.weight(layer.bias, f"{layer.name}/bias")] if layer.use_bias else []
    product = graph.node("Gemm", [*factors, *bias], f"{layer.name}/product")
    return graph.activation(layer.activation, product, layer.name)


def _batch_normalization(graph: _Graph, layer: Any, inputs: list[str]) -> str:
    parameters = {
        "gamma": layer.gamma if layer.scale else np.ones(layer.moving_mean.shape),
        "beta": layer.beta if layer.center else np.zeros(layer.moving_mean.shape),
        "mean": layer.moving_mean,
        "variance": layer.moving_variance,
    }
    names = [graph.weight(values, f"{layer.name}/{name}") for name, values in parameters.items()]
    return graph.node("BatchNormalization", [*inputs, *names], f"{layer.name}/normalized", epsilon=layer.epsilon)


def _pooling(kind: str, output: str = "pooled") -> Callable[[_Graph, Any, list[str]], str]:
    def emit(graph: _Graph, layer: Any, inputs: list[str]) -> str:
        return graph.node(
            kind,
            inputs,
            f"{layer.name}/{output}",
            kernel_shape=layer.pool_size,
            strides=layer.strides,
            auto_pad=_padding(layer),
        )

    return emit


def _stochastic_pooling(graph: _Graph, layer: Any, inputs: list[str]) -> str:
    """The mean of the squares over the mean; that of a window of zeros is kept off 0."""
    squares = graph.node("Mul", inputs * 2, f"{layer.name}/squares")
    mean_square = _pooling("AveragePool", "mean_square")(graph, layer, [squares])
    mean = _pooling("AveragePool", "mean")(graph, layer, inputs)
    divisor = graph.node("Max", [mean, graph.weight(SMALLEST, f"{layer.name}/smallest")], f"{layer.name}/divisor")
    return graph.node("Div", [mean_square, divisor], f"{layer.name}/pooled")


def _global_pooling(kind: str) -> Callable[[_Graph, Any, list[str]], str]:
    def emit(graph: _Graph, layer: Any, inputs: list[str]) -> str:
        pooled = graph.node(kind, inputs, f"{layer.name}/pooled")
        return pooled if layer.keepdims else graph.node("Flatten", [pooled], f"{layer.name}/flat")

    return emit


def _flatten(graph: _Graph, layer: Any, inputs: list[str]) -> str:
    """Keras reads a picture row by row, all channels of a pixel together."""
    last = graph.node("Transpose", inputs, f"{layer.name}/channels_last", perm=(0, 2, 3, 1))
    return graph.node("Flatten", [last], f"{layer.name}/flat")


EMITTERS: dict[type, Callable[[_Graph, Any, list[str]], str]] = {
    keras.layers.Rescaling: _rescaling,
    keras.layers.Normalization: _normalization,
    keras.layers.Conv2D: _convolution,
    keras.layers.Dense: _dense,
    DropConnect: _dense,  # drops nothing once training is over
    keras.layers.BatchNormalization: _batch_normalization,
    keras.layers.MaxPooling2D: _pooling("MaxPool"),
    keras.layers.AveragePooling2D: _pooling("AveragePool"),
    StochasticPooling2D: _stochastic_pooling,
    keras.layers.GlobalMaxPooling2D: _global_pooling("GlobalMaxPool"),
    keras.layers.GlobalAveragePooling2D: _global_pooling("GlobalAveragePool"),
    keras.layers.Flatten: _flatten,
    keras.layers.DepthwiseConv2D: _depthwise,
    keras.layers.ReLU: _relu,
    keras.layers.ZeroPadding2D: _zero_padding,
    keras.layers.Concatenate: _concatenate,
    keras.layers.Dropout: _passed_on,
    keras.layers.SpatialDropout2D: _passed_on,
    keras.layers.GaussianNoise: _passed_on,
    keras.layers.Activation: lambda graph, layer, inputs: graph.activation(layer.activation, inputs[0], layer.name),
    keras.layers.Add: lambda graph, layer, inputs: graph.node("Add", inputs, f"{layer.name}/sum"),
    keras.layers.Multiply: lambda graph, layer, inputs: graph.node("Mul", inputs, f"{layer.name}/product"),
    keras.layers.Softmax: lambda graph, layer, inputs: graph.node("Softmax", inputs, f"{layer.name}/softmax"),
}


def to_onnx(
    model: keras.Model,
    typicality: Typicality | None = None,
    ranges: Mapping[str, Range] | None = None,
    *,
    half: bool = True,
) -> onnx.ModelProto:
    """`model` as ONNX: input `image` (N, 32, 32, 3) uint8; outputs `logits` first, then each other layer's by its name.

    With `typicality`, as `out_of_distribution.fitted` gives it, `typicality` (N,) is an output too. With `ranges`, as
    `input_ranges` gives them, the layers they name multiply in int8, and of the layers' outputs only `logits` is there.
    Kernels are stored in half precision, or with `half=False` in float32.
    Raises ExportError, naming the layer, for one that `EMITTERS` does not know.
    """
    graph = _Graph(ranges or {}, half)
    numbers = graph.node("Cast", ["image"], "image/float", to=TensorProto.FLOAT)
    tensors = {"image": graph.node("Transpose", [numbers], "image/channels_first", perm=(0, 3, 1, 2))}
    outputs = []
    for layer in model.layers[1:]:
        if type(layer) not in EMITTERS:
            raise ExportError(f"{layer.name}: no ONNX form for the layer {type(layer).__name__}")
        tensors[layer.name] = EMITTERS[type(layer)](graph, layer, [tensors[name] for name in input_names(layer)])
        if ranges is not None and layer.name != "logits":
            continue
        if len(layer.output.shape) == 4:
            graph.node("Transpose", [tensors[layer.name]], layer.name, perm=(0, 2, 3, 1))
        else:
            graph.node("Identity", [tensors[layer.name]], layer.name)
        outputs.append(helper.make_tensor_value_info(layer.name, TensorProto.FLOAT, ["N", *layer.output.shape[1:]]))
    outputs.sort(key=lambda output: output.name != "logits")
    if typicality is not None:
        (features,) = input_names(classifier(model))
        _typicality(graph, tensors[features], tensors["logits"], typicality)
        outputs.append(helper.make_tensor_value_info(TYPICALITY, TensorProto.FLOAT, ["N"]))
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", *model.input.shape[1:]])
    proto = helper.make_model(
        helper.make_graph(graph.nodes, model.name, [image], outputs, graph.weights),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=9,
        producer_name="convoscope",
    )
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _typicality(graph: _Graph, features: str, logits: str, typicality: Typicality) -> None:
    """That of `features` (N, C) and `logits` (N, L); where all features are 0, their part is 0."""
    length = graph.node("ReduceL2", [features], f"{TYPICALITY}/length", axes=[1], keepdims=1)
    divisor = graph.node("Max", [length, graph.weight(1e-6, f"{TYPICALITY}/smallest")], f"{TYPICALITY}/divisor")
    scaled = graph.node("Div", [features, divisor], f"{TYPICALITY}/scaled")
    direction = graph.weight(typicality.direction, f"{TYPICALITY}/direction")
    product = graph.node("MatMul", [scaled, direction], f"{TYPICALITY}/product")
    energy, level = _energy(graph, logits), graph.weight(typicality.level, f"{TYPICALITY}/level")
    above = graph.node("Sub", [energy, level], f"{TYPICALITY}/above")
    weight = graph.weight(typicality.energy, f"{TYPICALITY}/weight")
    graph.node("Add", [product, graph.node("Mul", [above, weight], f"{TYPICALITY}/weighted")], TYPICALITY)


def _energy(graph: _Graph, logits: str) -> str:
    """The logarithm of the sum of the exponentials, (N,). OpenVINO 2026.4 takes ReduceLogSumExp over all axes."""

    def named(part: str) -> str:
        return f"{TYPICALITY}/energy/{part}"

    axis = graph.constant(np.array([1]), named("axis"))
    largest = graph.node("ReduceMax", [logits], named("largest"), axes=[1], keepdims=1)
    shares = graph.node("Exp", [graph.node("Sub", [logits, largest], named("below"))], named("shares"))
    logarithm = graph.node("Log", [graph.node("ReduceSum", [shares, axis], named("sum"), keepdims=1)], named("log"))
    column = graph.node("Add", [largest, logarithm], named("column"))
    return graph.node("Squeeze", [column, axis], named("energy"))


def input_ranges(model: keras.Model, images: NDArray[np.uint8], outliers: float = OUTLIERS) -> dict[str, Range]:
    """What each layer with a kernel is given by `images` (N, 32, 32, 3) uint8, but for `outliers` at either end.

    Without the first layer and the last: the one sees the picture itself and the other says the answer; both are cheap,
    and lose most to eight bits.
    """
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)][1:-1]
    if not layers:
        return {}
    inputs = keras.Model(model.input, [layer.input for layer in layers])
    ends = []
    for start in range(0, len(images), 100):  # all at once would not fit the memory
        found = inputs.predict_on_batch(images[start : start + 100])
        found = found if isinstance(found, list) else [found]
        ends.append([np.quantile(values, [outliers, 1 - outliers]) for values in found])
    low_and_high = np.mean(ends, axis=0).tolist()
    return {layer.name: (low, high) for layer, (low, high) in zip(layers, low_and_high, strict=True)}


def verify(proto: onnx.ModelProto, model: keras.Model, images: NDArray[np.uint8], tolerance: float = 0.01) -> None:
    """Run `images` (N, 32, 32, 3) through both and compare every layer.

    Raises ExportError for a layer that differs by more than `tolerance` of its largest value.
    """
    names = [output.name for output in proto.graph.output if output.name != TYPICALITY]
    compare(
        names, activations(model, names, images), ReferenceEvaluator(proto).run(names, {"image": images}), tolerance
    )


def activations(model: keras.Model, names: Sequence[str], images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """What the layers called `names` make of `images` (N, H, W, 3) uint8, by Keras."""
    found = keras.Model(model.input, [model.get_layer(name).output for name in names]).predict(images, verbose=0)
    return found if isinstance(found, list) else [found]


def compare(
    names: Sequence[str],
    expected: Sequence[NDArray[np.float32]],
    found: Sequence[NDArray[np.float32]],
    tolerance: float = 0.01,
) -> None:
    """Raises ExportError for the first layer of `names` that differs by more than `tolerance` of its largest value."""
    for name, one, other in zip(names, expected, found, strict=True):
        difference = np.abs(one - other).max() / max(np.abs(one).max(), 1e-9)
        if one.shape != other.shape or not difference <= tolerance:
            raise ExportError(f"{name}: ONNX and Keras differ by {difference:.3g} of its largest value")
