"""An ONNX file: read, and checked for what cannot be imported."""

from pathlib import Path

import onnx
from onnx import TensorProto, compose

from training.foreign.network import LARGEST, SIDES, Foreign, ImportFailure, Layout, Preprocessing
from training.foreign.onnx_graph import PREFIX, OnnxGraph, dimensions
from training.foreign.onnx_original import Original

OLDEST_OPSET = 9


def read(path: Path, labels: int, preprocessing: Preprocessing, layout: Layout | None) -> Foreign:
    """The network in the file, for so many labels. Raises ImportFailure."""
    model = _loaded(path)
    entry = _only_input(path, model)
    layout, size, channels = _shape(path, entry, layout)
    output = _output(path, model, labels)
    entry.type.tensor_type.shape.dim[0].dim_param = "N"
    original = Original(path, model, entry, output, preprocessing, layout, channels)
    probabilities = original.gives_probabilities(size)
    graph = OnnxGraph(compose.add_prefix(model, PREFIX), PREFIX + entry.name)
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


def _shape(path: Path, entry: onnx.ValueInfoProto, layout: Layout | None) -> tuple[Layout, int, int]:
    """The layout, the pixels along each side, and the channels."""
    shape = dimensions(entry)
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
    shapes = {entry.name: dimensions(entry) for entry in model.graph.output}
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
