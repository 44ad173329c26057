"""What each layer of a network does, in one sentence; and which layers a request means."""

from collections.abc import Callable, Sequence

from app.errors import NotFound, one_of
from app.inference.metadata import Input, Layer, Metadata, ReceptiveField


def image(input: Input) -> Layer:
    """The input of the first layer: the picture as the network receives it, RGB or grey from 0 to 255."""
    return Layer.model_construct(
        name="image",
        kind="input",
        inputs=[],
        input_shapes=[],
        output_shape=[input.size, input.size, input.channels],
        parameters=0,
        multiply_adds=0,
        kernel=None,
        stride=None,
        padding=None,
        activation=None,
        receptive_field=ReceptiveField(size=[1, 1], step=[1, 1], start=[0, 0]),
    )


ACTIVATIONS = {
    "linear": "",
    "relu": "negative values become 0 (ReLU)",
    "silu": "each value x is multiplied by the sigmoid of x, which brings negative values close to 0 (SiLU)",
    "sigmoid": "each value is mapped to a number between 0 and 1 (sigmoid)",
    "tanh": "each value is mapped to a number between -1 and 1 (tanh)",
}


def find(metadata: Metadata, names: Sequence[str]) -> list[Layer]:
    """The layers of those names, in that order; `image` is one. Raises NotFound, listing the names there are."""
    if not names:
        raise NotFound.about("layer", f"{metadata.name} shows no layer but image, the picture that it receives")
    layers = {layer.name: layer for layer in [image(metadata.input), *metadata.layers]}
    if missing := [name for name in names if name not in layers]:
        found = f"{metadata.name} has no layer called {missing[0]!r:.80}"
        raise NotFound.about("layer", f"{found}; expected {one_of(list(layers))}")
    return [layers[name] for name in names]


def explanation(layer: Layer) -> str:
    """How a layer computes its output, in one sentence."""
    return SENTENCES.get(layer.kind, _other)(layer) + "."


def _other(layer: Layer) -> str:
    """A kind that an imported network has and this service has no sentence for."""
    shapes = [" x ".join(map(str, shape)) for shape in (*layer.input_shapes, layer.output_shape)]
    return f"The operation {layer.kind} turns {' and '.join(shapes[:-1])} into {shapes[-1]}"


def _convolution(layer: Layer) -> str:
    rows, columns = layer.kernel or (0, 0)
    channels, filters = layer.input_shapes[0][-1], layer.output_shape[-1]
    where = (
        "over the input, to which a border of zeros is added,"
        if layer.padding == "same"
        else "over the input, without leaving it,"
    )
    bias = _bias(layer, rows * columns * channels * filters)
    return (
        f"Each of {filters} filters, with {rows} x {columns} weights for each of {channels} input channels, slides "
        f"{where} in steps of {_steps(layer)}; at every place it multiplies the values it covers by its weights and "
        f"adds up the products{bias}{_activation(layer)}; the filter is not flipped, so mathematically this is a "
        "correlation"
    )


def _dense(layer: Layer) -> str:
    inputs, outputs = layer.input_shapes[0][-1], layer.output_shape[-1]
    bias = _bias(layer, inputs * outputs)
    return f"Each of {outputs} outputs is a weighted sum of all {inputs} inputs{bias}{_activation(layer)}"


def _bias(layer: Layer, weights: int) -> str:
    return ", then adds a bias" if layer.parameters > weights else ""


def _activation(layer: Layer) -> str:
    words = ACTIVATIONS.get(layer.activation or "linear", layer.activation or "")
    return f", then {words}" if words else ""


def _steps(layer: Layer) -> str:
    rows, columns = layer.stride or (1, 1)
    return str(rows) if rows == columns else f"{rows} down and {columns} across"


def _pooling(what: str) -> Callable[[Layer], str]:
    def sentence(layer: Layer) -> str:
        rows, columns = layer.kernel or (0, 0)
        sizes = [f"{shape[0]} x {shape[1]}" for shape in (layer.input_shapes[0], layer.output_shape)]
        return (
            f"A window of {rows} x {columns} moves over each channel in steps of {_steps(layer)} and keeps its {what}, "
            f"so that a map of {sizes[0]} becomes one of {sizes[1]}"
        )

    return sentence


def _sentence_case(words: str) -> str:
    return words[:1].upper() + words[1:]


SENTENCES: dict[str, Callable[[Layer], str]] = {
    "rescaling": lambda layer: "Every value is multiplied by one constant, and then another constant is added",
    "normalization": lambda layer: (
        "From each colour channel, its mean over the training pictures is subtracted; the result is divided by the "
        "channel's standard deviation over the training pictures"
    ),
    "convolution": _convolution,
    "batch normalization": lambda layer: (
        "Each channel is shifted and scaled by constants, so that over the training pictures its mean becomes 0 and "
        "its variance 1; then a learned offset is added"
    ),
    "activation": lambda layer: _sentence_case(ACTIVATIONS.get(layer.activation or "", "")),
    "max pooling": _pooling("largest value"),
    "average pooling": _pooling("mean"),
    "stochastic pooling": _pooling(
        "weighted mean: each value's weight is its share of the window's sum (during training one value was drawn at "
        "random, with these shares as probabilities)"
    ),
    "global max pooling": lambda layer: "Each channel is reduced to its largest value, wherever in the map it occurs",
    "global average pooling": lambda layer: "Each channel is reduced to its mean over the whole map",
    "flatten": lambda layer: (
        f"All values are put into one list of {layer.output_shape[0]}: row by row, and at each place all channels"
    ),
    "dense": _dense,
    "dropout": lambda layer: (
        "Nothing changes when the network is used; only during training was a random share of the values set to 0, so "
        "that the network learned not to rely on any single value"
    ),
    "add": lambda layer: f"The outputs of {' and '.join(layer.inputs)} are added value by value",
    "multiply": lambda layer: f"The outputs of {' and '.join(layer.inputs)} are multiplied value by value",
    "softmax": lambda layer: (
        "The exponential of each score is divided by the sum of the exponentials of all scores, which gives "
        "probabilities that add up to 1"
    ),
}
